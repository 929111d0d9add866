"""Genonaut workbench: from JSONB tag names to a normalised, partitioned, fast gallery."""

__version__ = "0.1.0"
