"""Verifying the chain of records: the lines of a folder, the files of its records, the rows of the ledger."""
