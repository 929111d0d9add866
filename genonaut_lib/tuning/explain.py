"""Explaining a query of the gallery: its executed plan, kept, and compared with the last one of the same query."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.request import GalleryRequest
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.plan_tree import ExecutedPlan, parse
from genonaut_lib.tuning.reader import Loop

STAMP = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Explained:
    """A query that was executed once under EXPLAIN: what was asked and chosen, and the plan as PostgreSQL wrote it.

    `requested` is the strategy that was asked for, None where the planner was to choose.
    """

    query: GalleryQuery
    requested: str | None
    choice: Choice
    document: tuple[Mapping[str, Any], ...]

    @cached_property
    def plan(self) -> ExecutedPlan:
        """The plan as a tree."""
        return parse(self.document)

    @property
    def query_digest(self) -> str:
        """A digest of the question: the query and the strategy it was to be answered by."""
        plain = {"query": asdict(self.query), "requested": self.requested}
        return hashlib.sha256(json.dumps(plain, default=str, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Archived:
    """Where a plan was kept, its hash, and the hash of the last plan of the same query, None for the first."""

    file: Path
    shape_hash: str
    before: str | None

    @property
    def changed(self) -> bool | None:
        """Whether the plan is another one than last time; None where there was no last time."""
        return None if self.before is None else self.before != self.shape_hash


class Explainer:
    """Explains one request of an environment's gallery for synchronous code, notebooks included.

    Raises what reading the request raises: InvalidInput for anything malformed, UnknownTag.
    """

    def __init__(self, settings: Settings, request: GalleryRequest) -> None:
        self._settings = settings
        with Loop() as loop:
            self.query = loop.run(_query(settings, request))

    def explain(self, strategy: str | None, timeout_s: float) -> Explained:
        """Execute the page once under EXPLAIN, by a strategy or the planner's choice, in a read-only transaction.

        Raises QueryTimedOut for one that took longer than `timeout_s`, InvalidInput for a strategy that
        is unknown or may not answer this query.
        """
        with Loop() as loop:
            return loop.run(_explained(self._settings, self.query, strategy, timeout_s))


async def _query(settings: Settings, request: GalleryRequest) -> GalleryQuery:
    async with Gallery.opened(settings, sessions=1) as gallery:
        return await gallery.query_of(request)


async def _explained(settings: Settings, query: GalleryQuery, strategy: str | None, timeout_s: float) -> Explained:
    async with Gallery.opened(settings, sessions=1) as gallery:
        found = await gallery.explain(query, strategy, limit_ms=int(timeout_s * 1000))
        return Explained(query, strategy, found.choice, found.document)


def archive(found: Explained, folder: Path, now: datetime | None = None) -> Archived:
    """Write a plan below `folder`, one folder a query, and compare it with the newest one there."""
    place = folder / found.query_digest[:16]
    place.mkdir(parents=True, exist_ok=True)
    earlier = sorted(place.glob("*.json"))
    before = json.loads(earlier[-1].read_text(encoding="utf-8"))["shape_hash"] if earlier else None
    moment = now or datetime.now(UTC)
    file = place / f"{moment.strftime(STAMP)}_{len(earlier):06}_{uuid.uuid4().hex[:6]}.json"
    file.write_text(json.dumps(_record(found, moment), indent=1, default=str), encoding="utf-8")
    return Archived(file, found.plan.shape_hash, before)


def _record(found: Explained, moment: datetime) -> dict[str, Any]:
    return {
        "shape_hash": found.plan.shape_hash,
        "at": moment.isoformat(),
        "query": asdict(found.query),
        "requested": found.requested,
        "strategy": found.choice.strategy,
        "reason": found.choice.reason,
        "execution_ms": found.plan.execution_ms,
        "document": found.document,
    }
