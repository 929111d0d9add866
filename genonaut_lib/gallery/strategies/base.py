"""What a strategy is: how it narrows a source's items to those that carry the wanted tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement, FromClause

from genonaut_lib.gallery.clauses import Shape
from genonaut_lib.vocabulary import ContentSource


@dataclass(frozen=True)
class Narrowing:
    """How a source's items are narrowed by tags.

    `matched` yields the `content_id` of each matching item exactly once and is joined with the items;
    `clauses` are conditions on the items. `walks` says that items are taken in page order until the
    page is full.
    """

    matched: FromClause | None = None
    clauses: tuple[ColumnElement[bool], ...] = ()
    walks: bool = False


class Strategy(Protocol):
    """One shape of statement. Strategies differ in time, never in rows."""

    name: str

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return how items of a source are narrowed; the shape has at least one group of tags."""
