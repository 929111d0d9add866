"""PostgreSQL's table locks: which modes exclude each other, and what that holds up in people's words.

Source: PostgreSQL documentation, "Explicit Locking", table "Conflicting Lock Modes".
"""

from __future__ import annotations

import re

MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
"""Weakest first, as the documentation orders them."""

_FIRST_CONFLICT = {
    "ACCESS SHARE": "ACCESS EXCLUSIVE",
    "ROW SHARE": "EXCLUSIVE",
    "ROW EXCLUSIVE": "SHARE",
    "SHARE UPDATE EXCLUSIVE": "SHARE UPDATE EXCLUSIVE",
    "SHARE": "ROW EXCLUSIVE",
    "SHARE ROW EXCLUSIVE": "ROW EXCLUSIVE",
    "EXCLUSIVE": "ROW SHARE",
    "ACCESS EXCLUSIVE": "ACCESS SHARE",
}
"""A mode conflicts with this one and every stronger one; SHARE alone does not conflict with itself."""

_WHO_TAKES = {
    "reads": "ACCESS SHARE",
    "SELECT FOR UPDATE": "ROW SHARE",
    "writes": "ROW EXCLUSIVE",
    "VACUUM": "SHARE UPDATE EXCLUSIVE",
    "DDL": "ACCESS EXCLUSIVE",
}
"""What people run on a table, by the mode it takes."""

NOT_IN_USE = "(not in use yet)"
"""How a lock's text says that nobody but the migration knows the table."""

_MODE = re.compile("|".join(sorted(MODES, key=len, reverse=True)))


def conflicts(one: str, other: str) -> bool:
    """Return whether two sessions cannot hold these modes on one table at a time."""
    if one == other == "SHARE":
        return False
    return MODES.index(other) >= MODES.index(_FIRST_CONFLICT[one])


def strongest(lock: str) -> str | None:
    """Return the strongest mode named in a lock's text, None for a text that names none."""
    return max(_MODE.findall(lock), key=MODES.index, default=None)


def blocks(lock: str) -> str:
    """Return what a lock holds up, in words: `writes, VACUUM and DDL; reads go on`."""
    mode = strongest(lock)
    if mode is None or NOT_IN_USE in lock:
        return "nothing"
    held = [work for work, taken in _WHO_TAKES.items() if conflicts(mode, taken)]
    if "reads" in held:
        return "reads and writes"
    if "writes" in held:
        return f"{_listed(held)}; reads go on"
    return f"only {_listed(held)}"


def _listed(words: list[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
