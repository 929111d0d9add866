"""The order of a gallery: what it is sorted by, and a place in it.

Pages run by (sort value, source, id), all three in one direction, so that no two items share a place
and none is shown twice or skipped. Items without a sort value come last in either direction. Sources
compare by their partition key.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from genonaut_lib.vocabulary import ContentSource


class SortField(enum.StrEnum):
    """What a gallery may be sorted by: columns of the content tables."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    QUALITY_SCORE = "quality_score"
    TITLE = "title"
    ID = "id"

    @property
    def is_nullable(self) -> bool:
        """Whether an item may have no value here."""
        return self is SortField.QUALITY_SCORE


SortValue = datetime | float | str | int | None


@dataclass(frozen=True)
class Sort:
    """A field and a direction."""

    field: SortField = SortField.CREATED_AT
    descending: bool = True


NEWEST = Sort()
OLDEST = Sort(descending=False)


@dataclass(frozen=True)
class Position:
    """The place of one item: its sort value (None where it has none), source and id."""

    value: SortValue
    source: ContentSource
    id: int
