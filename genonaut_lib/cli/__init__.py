"""The command line: `genonaut`. Parses, calls the library once, shows the answer."""

from __future__ import annotations

import sys

from genonaut_lib.cli.app import app, run_guarded

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line and leave with its exit code; see `run_guarded`."""
    sys.exit(run_guarded(sys.argv[1:]))
