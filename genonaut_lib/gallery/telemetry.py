"""One structured record for a query: what was chosen, what was expected, what came of it.

Records go through the standard logging module, logger `genonaut.gallery`, level INFO: the message is
JSON, and the record itself carries the same mapping as `record.gallery`. Neither tags nor words
searched for nor viewers are in it, not even hashed: a tag's id is a hash of its name already, and
names are few enough to try them all.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.counts import NOT_COUNTED, Total
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.planner_settings import TelemetrySettings

LOG = logging.getLogger("genonaut.gallery")
_DRAW = random.SystemRandom().random


@dataclass(frozen=True)
class Answered:
    """One query that was answered: its page took `milliseconds` and has `rows` rows."""

    query: GalleryQuery
    choice: Choice
    rows: int
    milliseconds: float
    total: Total = NOT_COUNTED
    statistics: Statistics | None = None


def record_of(answered: Answered, knobs: TelemetrySettings, now: datetime) -> dict[str, Any]:
    """Return the record, fit for JSON; unknown is None. `now` bears a time zone."""
    record = {"event": "gallery_query", **_query(answered.query), **_actual(answered)}
    if knobs.log_strategy_choice:
        record |= _choice(answered.choice)
    if knobs.log_estimates:
        record |= _estimates(answered, now)
    return record


class Telemetry:
    """Writes records of a part of the queries, as the knobs say; `draw` gives numbers from 0 up to 1."""

    def __init__(self, knobs: TelemetrySettings, *, draw: Callable[[], float] = _DRAW) -> None:
        self._knobs = knobs
        self._draw = draw

    def is_wanted(self) -> bool:
        """Draw whether this query is written down; never where nothing of it would be, or nobody listens."""
        anything = self._knobs.log_strategy_choice or self._knobs.log_estimates
        return anything and LOG.isEnabledFor(logging.INFO) and self._draw() < self._knobs.sample_rate

    def note(self, answered: Answered, now: datetime) -> None:
        """Write one query's record, if it is drawn."""
        if self.is_wanted():
            record = record_of(answered, self._knobs, now)
            LOG.info("%s", json.dumps(record, allow_nan=False), extra={"gallery": record})


def _query(query: GalleryQuery) -> dict[str, Any]:
    return {
        "k": len(query.groups),
        "tags": len(query.tags) + len(query.families),
        "excluded": len(query.exclude),
        "match": query.match.value,
        "sources": [source.junction for source in query.sources],
        "creators": [query.scope.of(source).value for source in query.sources],
        "has_viewer": query.viewer is not None,
        "has_search": bool(query.search),
        "sort": f"{query.sort.field.value} {'desc' if query.sort.descending else 'asc'}",
        "page": query.page,
        "page_size": query.page_size,
        "by_cursor": query.position is not None,
    }


def _actual(answered: Answered) -> dict[str, Any]:
    total = answered.total
    return {
        "actual_rows": answered.rows, "actual_ms": round(answered.milliseconds, 3),
        "count": total.kind.value, "total": total.value,
    }  # fmt: skip


def _choice(choice: Choice) -> dict[str, Any]:
    return {"strategy": choice.strategy, "reason": choice.reason, "rarest_count": choice.rarest_count}


def _estimates(answered: Answered, now: datetime) -> dict[str, Any]:
    choice, estimate = answered.choice, answered.choice.estimate
    made = answered.statistics.refreshed_at if answered.statistics else None
    return {
        "estimated_rows": _rounded(choice.estimated_rows),
        "estimated_low": _rounded(estimate.low if estimate else None),
        "estimated_high": _rounded(estimate.high if estimate else None),
        "estimated_ms": _rounded(choice.estimated_ms),
        "seed_rows": _rounded(choice.seed_rows),
        "considered_ms": {name: round(value, 3) for name, value in choice.considered.items()},
        "unknown": list(estimate.unknown) if estimate else [],
        "statistics_age_s": round((now - made).total_seconds(), 1) if made else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
