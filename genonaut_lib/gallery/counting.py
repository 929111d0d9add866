"""The statements that count what a filter matches: by the tags' postings wherever these can tell.

Postings are short rows of one range of an index; items are wide rows all over their table. So where a
filter says nothing of an item but its tags and who may see it, no item is read: postings are counted,
and those of items that the viewer may not see are left out, which an index lists. This rests on every
row of the junction having its item, as the junction's triggers see to and its verification proves.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Executable, FromClause, Select, any_, bindparam, func, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.types import Uuid

from genonaut_lib.db.schema import content_items, content_items_all, content_items_auto, content_tags
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.clauses import Shape, carries, groups_of, shape_of, shared, word
from genonaut_lib.gallery.order import NEWEST
from genonaut_lib.gallery.query import Creators, GalleryQuery
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.vocabulary import ContentSource

COUNTED_BY = ("self_join", "group_having", "two_phase_single", "two_phase_dual")
"""Strategies that find every matching item before they read any; the first where nothing is known of costs."""

_PARTITION = {ContentSource.REGULAR: content_items, ContentSource.AUTO: content_items_auto}
_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy types its dialects loosely


def counting_strategy(choice: Choice | None, query: GalleryQuery) -> str:
    """Return the strategy by whose narrowing a query's items are counted.

    Strategies that find every item do for a page what they do for a count, so what the planner thinks
    they cost holds here too. A walk stops when the page is full: its cost says nothing of a count.
    """
    considered = choice.considered if choice is not None and len(query.groups) > 1 else {}
    costs = {name: considered[name] for name in COUNTED_BY if name in considered}
    return min(costs, key=costs.__getitem__, default=COUNTED_BY[0])


def filter_of(query: GalleryQuery) -> Shape:
    """Return the shape of a query without its page: what is counted has neither order nor position."""
    return replace(shape_of(query), sort=NEWEST, backwards=False, from_source=None, from_null=False)


@functools.lru_cache(maxsize=1024)
def counting_text(shape: Shape, strategy: str) -> bytes:
    """Return the text of the statement whose rows are (partition key, number of items), one for each source."""
    return _text(union_all(*(_number(shape, strategy, source) for source in shape.sources)))


@functools.lru_cache(maxsize=1024)
def estimating_text(shape: Shape) -> bytes:
    """Return the text that asks PostgreSQL for its plan of a filter's items, as one JSON document."""
    return b"explain (format json) " + _text(union_all(*(_items(shape, source) for source in shape.sources)))


def _number(shape: Shape, strategy: str, source: ContentSource) -> Select[Any]:
    if shape.searches or shape.scope.of(source) is Creators.MINE:
        return _items(shape, source).add_columns(func.count())
    if not (shape.singles + shape.families or shape.excludes):
        return _difference(shape, source)
    ids = _candidates(shape, strategy, source)
    left_out = [*_unseen(shape, source), *_unwanted(shape, source)]
    absent = [~_there(ids, content_id, clauses) for content_id, *clauses in left_out]
    return select().add_columns(word(source.partition), func.count()).select_from(ids).where(*absent)


def _difference(shape: Shape, source: ContentSource) -> Select[Any]:
    """Return all items of a source less those left out, which no two reasons leave out twice: no join at all."""
    everything = select(func.count()).select_from(_PARTITION[source]).scalar_subquery()
    left_out = [
        select(func.count()).select_from(id_.table).where(*clauses).scalar_subquery()
        for id_, *clauses in _unseen(shape, source)
    ]
    number: ColumnElement[Any] = functools.reduce(operator.sub, left_out, everything)
    return select().add_columns(word(source.partition), number)


def _items(shape: Shape, source: ContentSource) -> Select[Any]:
    """Return the partition key of each item that matches: few, since one creator made them or they hold the words."""
    tagged = [carries(source, clause, probed=False) for clause in groups_of(shape)]
    rows = select(word(source.partition)).select_from(content_items_all)
    return rows.where(*shared(shape, source, walks=False), *tagged)


def _candidates(shape: Shape, strategy: str, source: ContentSource) -> FromClause:
    """Return the `content_id` of each item that carries the tags, once, whoever may see it."""
    if not shape.singles + shape.families:
        return select(_PARTITION[source].c.id.label("content_id")).subquery("items")
    matched = STRATEGIES[strategy].narrow(shape, source).matched
    assert matched is not None, f"{strategy} does not find every item and cannot count"
    return matched


Clauses = list[Any]
"""The column that holds an item's id, and what else is said of its row."""


def _unseen(shape: Shape, source: ContentSource) -> Iterator[Clauses]:
    """Yield the items that are left out for their creator: others' private ones, and one's own of the community's.

    An item is left out for one of the two at most, since a source of the community's has a viewer.
    """
    hidden = _PARTITION[source].alias("hidden").c
    viewer: ColumnElement[Any] = bindparam("viewer", type_=Uuid)
    yield [hidden.id, hidden.is_private, *([hidden.creator_id != viewer] if shape.has_viewer else [])]
    if shape.scope.of(source) is Creators.COMMUNITY:
        own = _PARTITION[source].alias("own").c
        yield [own.id, own.creator_id == viewer]


def _unwanted(shape: Shape, source: ContentSource) -> Iterator[Clauses]:
    """Yield the items that carry an excluded tag."""
    if shape.excludes:
        link = content_tags.alias("unwanted").c
        tagged = link.tag_id == any_(bindparam("exclude", type_=ARRAY(Uuid)))
        yield [link.content_id, link.content_source == word(source.junction), tagged]


def _there(ids: FromClause, content_id: ColumnElement[Any], clauses: Clauses) -> ColumnElement[bool]:
    return select(content_id).where(content_id == ids.c.content_id, *clauses).correlate(ids).exists()


def _text(statement: Executable) -> bytes:
    return str(statement.compile(dialect=_DIALECT)).encode()  # type: ignore[attr-defined]
