"""Random queries over everything a `GalleryQuery` can say, about the gallery of `built.py`."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from genonaut_lib.gallery.order import Position, Sort, SortField
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.vocabulary import ContentSource
from tests.gallery.built import DAYS, OTHER_TITLES, QUALITIES, TAGS, TITLES, UNKNOWN, WORDS
from tests.gallery.oracle import Oracle

SORTS = [Sort(field, descending) for field in SortField for descending in (True, False)]
SCOPES = [Scope(regular, auto) for regular in Creators for auto in Creators]
ANONYMOUS_SCOPES = [
    scope for scope in SCOPES if not {Creators.MINE, Creators.COMMUNITY} & {scope.regular, scope.auto}
]

tag = st.sampled_from(TAGS) | st.sampled_from(TAGS[:4]) | st.sampled_from(UNKNOWN)
tags = st.one_of(st.just(()), st.lists(tag, max_size=3).map(tuple), st.lists(tag, max_size=22).map(tuple))
family = st.lists(tag, max_size=4).map(tuple)
families = st.one_of(st.just(()), st.lists(family, max_size=3).map(tuple))
excluded = st.one_of(st.just(()), st.lists(st.sampled_from((*TAGS[2:4], *UNKNOWN, *TAGS[-5:])), max_size=3).map(tuple))
sizes = st.sampled_from((1, 2, 3, 7, 25, 1000)) | st.integers(1, 1000)

noise = st.sampled_from(("", "", "", "%", "_", "*"))
word = st.builds("{}{}{}".format, noise, st.sampled_from((*WORDS, "Cat", "absent", "c%t", "cat_dog")), noise)
phrase = st.lists(word, min_size=1, max_size=3).map(lambda found: '"' + " ".join(found) + '"')
term = st.builds("{}{}".format, st.sampled_from(("", "", "", "-")), word | phrase)
search = st.one_of(st.just(""), st.just(""), st.lists(term, min_size=1, max_size=3).map(" ".join), noise)

VALUES: dict[SortField, st.SearchStrategy[Any]] = {
    SortField.CREATED_AT: st.builds(lambda day, minutes: day + timedelta(minutes=minutes), st.sampled_from(DAYS), st.sampled_from((-1, 0, 1))),
    SortField.QUALITY_SCORE: st.sampled_from(QUALITIES) | st.floats(-2, 2),
    SortField.TITLE: st.sampled_from((*TITLES, *OTHER_TITLES)),
}  # fmt: skip


@st.composite
def queries(draw: st.DrawFn, oracle: Oracle) -> GalleryQuery:
    """Draw a query; its position, where it has one, lies on a row as often as between two."""
    creators = sorted({row.creator_id for row in oracle.rows})
    viewer = draw(st.none() | st.sampled_from([*creators, uuid.UUID(int=9)]))
    sort = draw(st.sampled_from(SORTS))
    return GalleryQuery(
        tags=draw(tags), match=draw(st.sampled_from(TagMatch)), viewer=viewer,
        scope=draw(st.sampled_from(ANONYMOUS_SCOPES if viewer is None else SCOPES)), page_size=draw(sizes),
        exclude=draw(excluded), families=draw(families), search=draw(search), sort=sort, stale=draw(st.booleans()),
        **draw(places(oracle, sort.field)),
    )  # fmt: skip


@st.composite
def places(draw: st.DrawFn, oracle: Oracle, field: SortField) -> dict[str, Any]:
    """Draw where the page lies: at the start, at a number, after or before a position."""
    kind = draw(st.sampled_from(("start", "number", "after", "after", "before", "before")))
    if kind == "start":
        return {}
    if kind == "number":
        return {"page": draw(st.integers(1, 12))}
    return {kind: draw(on_a_row(oracle, field) | anywhere(field))}


def on_a_row(oracle: Oracle, field: SortField) -> st.SearchStrategy[Position]:
    return st.sampled_from(oracle.rows).map(lambda row: row.position(field))


@st.composite
def anywhere(draw: st.DrawFn, field: SortField) -> Position:
    source, number = draw(st.sampled_from(ContentSource)), draw(st.integers(-1, 95))
    if field is SortField.ID:
        return Position(number, source, number)
    values = VALUES[SortField.CREATED_AT if field is SortField.UPDATED_AT else field]
    return Position(draw(values), source, number)
