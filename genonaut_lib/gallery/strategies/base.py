"""What a strategy is: how it narrows a source's items to those that carry the wanted tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement, FromClause

from genonaut_lib.db.schema import content_items_all
from genonaut_lib.gallery.clauses import Shape
from genonaut_lib.vocabulary import ContentSource

NEEDS_TAGS = "it narrows by tags, and the query names none"


@dataclass(frozen=True)
class Narrowing:
    """How a source's items are narrowed by tags.

    `matched` yields the `content_id` of each matching item exactly once and is joined with the items;
    `clauses` are conditions on the items. `walks` says that items are taken in page order until the
    page is full. `items` is what is read, with the columns of the content tables.
    """

    matched: FromClause | None = None
    clauses: tuple[ColumnElement[bool], ...] = ()
    walks: bool = False
    items: FromClause = content_items_all


class Approach(Protocol):
    """One way to answer a query, by a statement or without one. Approaches differ in time, never in rows.

    A stale one answers only queries that allow that.
    """

    @property
    def name(self) -> str:
        """What it is called in the register, in params files and by a caller who forces it."""

    @property
    def stale(self) -> bool:
        """Whether its answers may be as old as the materialised view."""

    def fits(self, shape: Shape) -> str | None:
        """Return why it has nothing to offer a shape, in words; None where it has.

        A planner leaves it out then. Its answer is right all the same, for whoever forces it.
        """


class Strategy(Approach, Protocol):
    """An approach that is one shape of statement."""

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return how items of a source are narrowed; the shape has at least one group of tags."""


def needs_groups(shape: Shape, least: int = 1) -> str | None:
    """Return why a strategy that begins with `least` groups of tags has nothing to offer; None where it has."""
    groups = shape.singles + shape.families
    if groups >= least:
        return None
    return f"it begins with {least} groups of tags, and the query names {groups}" if groups else NEEDS_TAGS
