"""The named SQL blocks; `genonaut_lib.db.statements` reads them."""
