"""The chain of sealed records: a manifest of each run, in files and in the ledger, and its audit."""
