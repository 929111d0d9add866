"""Statements about items that are known by their ids: a page of them, those that a search finds, and their keys."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, any_, bindparam, func, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer

from genonaut_lib.gallery.clauses import ITEM, Shape, beyond, searched, shape_of, values_of, word
from genonaut_lib.gallery.compiling import text_of
from genonaut_lib.gallery.query import EVERYTHING, GalleryQuery
from genonaut_lib.gallery.statement import COLUMNS, paged
from genonaut_lib.vocabulary import ContentSource

Ids = Mapping[ContentSource, Sequence[int]]


def rest_of(query: GalleryQuery) -> Shape:
    """Return what is left to ask of items that meet the filter: search, order and position."""
    return replace(
        shape_of(query), scope=EVERYTHING, has_viewer=False, singles=0, families=0, excludes=False,
    )  # fmt: skip


def order_of(query: GalleryQuery) -> Shape:
    """Return what is left to ask of items that lie beyond the position besides: the order."""
    return replace(rest_of(query), searches=False, from_source=None, from_null=False)


def values_with(query: GalleryQuery, ids: Ids, **others: Any) -> dict[str, Any]:
    """Return the values that these statements bind: the ids, the query's own, and others in their stead."""
    return values_of(query) | {_name(source): list(ids.get(source, ())) for source in ContentSource} | others


@functools.cache
def page_text(rest: Shape) -> bytes:
    """Return the text of the statement that yields a page of handed on items, as `statement.page_text` yields it."""
    return text_of(paged(rest, [_rows(rest, source) for source in rest.sources]))


@functools.cache
def count_text(rest: Shape) -> bytes:
    """Return the text of the statement that counts the handed on items that a search finds, source by source."""
    counts = [select(func.count()).where(*_handed(source), *searched(rest)) for source in rest.sources]
    return text_of(union_all(*counts))


@functools.cache
def found_text(rest: Shape) -> bytes:
    """Return the text of the statement whose rows are (partition key, id) of those items that a search finds."""
    return text_of(
        union_all(
            *(select(ITEM.source_type, ITEM.id).where(*_handed(source), *searched(rest)) for source in rest.sources)
        )
    )


@functools.cache
def keys_text() -> bytes:
    """Return the text of the statement whose rows are (created_at, partition key, id) of handed on items."""
    columns = (ITEM.created_at, ITEM.source_type, ITEM.id)
    return text_of(union_all(*(select(*columns).where(*_handed(source)) for source in ContentSource)))


def _rows(rest: Shape, source: ContentSource) -> Select[Any]:
    return select(*(ITEM[name] for name in COLUMNS)).where(*_handed(source), *searched(rest), *beyond(rest, source))


def _handed(source: ContentSource) -> list[ColumnElement[bool]]:
    ids = bindparam(_name(source), type_=ARRAY(Integer))
    return [ITEM.source_type == word(source.partition), ITEM.id == any_(ids)]


def _name(source: ContentSource) -> str:
    return f"{source.junction}_ids"
