"""`python -m tests.lint`: prints what the SQL lint finds; exit code 1 when it finds anything."""

from __future__ import annotations

import sys

from genonaut_lib.errors import GenonautError
from tests.lint.report import lint

HINT = "Where one must stand, say so beside it: -- lint: allow <rule> because <reason> (in Python: # lint: ...)"


def main() -> int:
    """Lint the repository and return the exit code."""
    try:
        found = lint()
    except GenonautError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for finding in found:
        sys.stdout.write(f"{finding}\n")
    sys.stdout.write(f"SQL lint: {len(found)} findings. {HINT}\n" if found else "SQL lint: nothing found.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
