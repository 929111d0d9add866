"""The junction compared with the arrays it was filled from, pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genonaut_lib.db.statements import block
from genonaut_lib.migration.comparison import Comparison
from genonaut_lib.migration.plan import Verification
from genonaut_lib.migration.verify import Findings, compare
from genonaut_lib.vocabulary import ContentSource

if TYPE_CHECKING:  # the phases import this module
    from genonaut_lib.migration.phases.base import Context

FILE = "verify_content_tags"
TASKS = ("backfill_content_tags", "load_content_tags")
"""The backfills that fill the junction, online and in bulk."""


def comparison(phase: str) -> Comparison:
    """Return the comparison of arrays and junction as `phase` runs it; phases do not share their chunks."""
    return Comparison(phase, TASKS, *(block(FILE, name) for name in ("sums", "sums_once", "keys")))


def compare_junction(context: Context, phase: str = "verify_content_tags") -> Findings:
    """Return every difference between arrays and junction, orphans included, in both sources."""
    return compare(context.settings, comparison(phase), context.report)


def verify_junction(context: Context, phase: str) -> Verification:
    """Return the finding of `compare_junction` with relationships and tags in use by source."""
    found = compare_junction(context, phase)
    figures: dict[str, int | str] = {}
    for source in ContentSource:
        row = context.connection.execute(block(FILE, "tags_used").sql(), {"source": source.junction}).fetchone()
        assert row is not None
        figures[f"relationships {source.junction}"] = found.pairs(source)
        figures[f"tags used {source.junction}"] = int(row[0])
    return found.verification(figures)
