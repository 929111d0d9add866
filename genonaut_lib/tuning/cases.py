"""The canonical questions of the gallery, chosen from the tags this database really has."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CheckFailed
from genonaut_lib.migration import revisions

PAGE_SIZE = 25
DEEP_PAGE = 50
"""The seed's deep page; a smaller gallery is asked for its last whole one."""


@dataclass(frozen=True)
class Case:
    """One question: tag ids, any or all of them, whose items, and which page (from 1)."""

    name: str
    tags: tuple[uuid.UUID, ...]
    match: str
    mine: bool
    page: int
    viewer: uuid.UUID

    def as_json(self) -> dict[str, Any]:
        """Return the case as plain values, ids as text."""
        plain = asdict(self)
        return {**plain, "tags": [str(tag) for tag in self.tags], "viewer": str(self.viewer)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Case:
        """Return the case that `as_json` made."""
        tags = tuple(uuid.UUID(tag) for tag in plain["tags"])
        return cls(**{**plain, "tags": tags, "viewer": uuid.UUID(plain["viewer"])})


def canonical_cases(connection: Connection) -> list[Case]:
    """Return the nine canonical cases; raise CheckFailed when the tags were not seeded or are too few.

    A popular tag is the most used one, a middling one is on about a tenth of the items, a rare one
    on about one in five hundred.
    """
    if not revisions.at_least(connection, revisions.SEED_TAGS):
        raise CheckFailed("The tags of this gallery are not seeded yet.", hint="Run 10_seed_tags first.")
    uses = connection.execute(block("measurements", "tag_uses").sql()).fetchall()
    items = connection.execute(block("measurements", "item_count").sql()).fetchone()
    viewer = connection.execute(block("measurements", "busiest_creator").sql()).fetchone()
    if len(uses) < 8 or items is None or viewer is None:
        raise CheckFailed("There are fewer than eight tags in use.", hint="Load content and run 10_seed_tags first.")
    ranked = [(tag, count) for tag, _, count in uses]
    popular = [tag for tag, _ in ranked[:5]]
    middling, rare = _nearest_use(ranked, items[0] / 10), _nearest_use(ranked, items[0] / 500)
    # Nine tenths: private items of others are counted here and never shown.
    deep_page = max(2, min(DEEP_PAGE, ranked[0][1] * 9 // 10 // PAGE_SIZE))
    return _cases(popular, middling, rare, (viewer[0], deep_page))


def _cases(popular: list[uuid.UUID], middling: uuid.UUID, rare: uuid.UUID, reader: tuple[uuid.UUID, int]) -> list[Case]:
    viewer, deep_page = reader

    def case(name: str, *tags: uuid.UUID, match: str = "any", mine: bool = False, page: int = 1) -> Case:
        return Case(name, tags, match, mine, page, viewer)

    return [
        case("no tag"),
        case("one popular tag", popular[0]),
        case("one middling tag", middling),
        case("one rare tag", rare),
        case("any of two tags", popular[0], middling),
        case("all of two tags", popular[0], middling, match="all"),
        case("all of five tags", *popular, match="all"),
        case("mine only", mine=True),
        case(f"page {deep_page}", popular[0], page=deep_page),
    ]


def _nearest_use(ranked: list[tuple[uuid.UUID, int]], wanted: float) -> uuid.UUID:
    """Return the tag whose number of uses is nearest to `wanted`; the more used one of two equally near."""
    return min(ranked, key=lambda pair: abs(pair[1] - wanted))[0]
