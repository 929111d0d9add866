"""Sizes and times in the words people read, the same in notebooks and in the terminal."""

from __future__ import annotations

from genonaut_lib.migration.estimate import Estimate

UNKNOWN = "unknown"
COSTS = ("rows", "WAL", "disk", "duration")
"""The columns of an estimate."""
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TIMES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def bytes_text(size: float | None) -> str:
    """Return a size as `1.4 GB` (powers of ten); an unknown one says so."""
    if size is None:
        return UNKNOWN
    for unit, name in _SIZES:
        if abs(size) >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,.0f} bytes" if size else "0"


def seconds_text(seconds: float | None) -> str:
    """Return a duration as `2.5 h`; an unknown one says so."""
    if seconds is None:
        return UNKNOWN
    for unit, name in _TIMES:
        if seconds >= unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds * 1000:,.0f} ms"


def rows_text(estimate: Estimate) -> str:
    """Return rows, with a tilde before those that were not counted."""
    if estimate.rows is None:
        return UNKNOWN
    return f"{'' if estimate.exact else '~'}{estimate.rows:,}"


def total_texts(total: Estimate) -> tuple[str, str, str, str]:
    """Return WAL, disk and duration of a sum; rows that several actions touch are not added up."""
    return ("", *estimate_texts(total)[1:])


def estimate_texts(estimate: Estimate) -> tuple[str, str, str, str]:
    """Return rows, WAL, disk and duration of an estimate."""
    return (
        rows_text(estimate),
        bytes_text(estimate.wal_bytes),
        bytes_text(estimate.disk_bytes),
        seconds_text(estimate.seconds),
    )
