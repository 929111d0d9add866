"""Changing the schema: phases, their plans, the backfill engine, verification and the ledger."""
