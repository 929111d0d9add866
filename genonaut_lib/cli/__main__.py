"""`python -m genonaut_lib.cli`: the command line of this very interpreter, which the scheduler starts."""

from __future__ import annotations

from genonaut_lib.cli import main

main()
