"""What every strategy's statement shares: creator, privacy, exclusion, search, order and keyset.

A statement depends on the *shape* of a query only; it is built and compiled once a shape, and the
values of a query are bound to it by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    UnaryExpression,
    and_,
    any_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG
from sqlalchemy.types import Integer, String, Uuid

from genonaut_lib.db.schema import content_items_all, content_tags
from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.query import Creators, GalleryQuery, Group, Scope
from genonaut_lib.vocabulary import ContentSource

ITEM = content_items_all.c
LINK = content_tags.c
SEARCH_CONFIG = "simple"
"""Words as they are written: no language's stems or stop words, since prompts come in any language."""


@dataclass(frozen=True)
class Shape:
    """What of a query decides its statement; two queries of one shape differ in bound values only.

    `singles` and `families` count the groups of one tag and of several; an item must carry one tag of
    each. `from_source` is the source of the position the page starts from, None for a first or a
    numbered page; `from_null` says that the position has no sort value.
    """

    scope: Scope
    has_viewer: bool
    singles: int
    families: int
    excludes: bool
    searches: bool
    sort: Sort
    backwards: bool
    from_source: ContentSource | None
    from_null: bool

    @property
    def sources(self) -> tuple[ContentSource, ...]:
        """The sources that are read."""
        return self.scope.sources

    @property
    def descending(self) -> bool:
        """The direction in which rows are read: a page before a position is read backwards."""
        return self.sort.descending != self.backwards


def shape_of(query: GalleryQuery) -> Shape:
    """Return the shape of a query."""
    groups, position = query.groups, query.position
    singles = sum(len(group) == 1 for group in groups)
    return Shape(
        scope=query.scope,
        has_viewer=query.viewer is not None,
        singles=singles,
        families=len(groups) - singles,
        excludes=bool(query.exclude),
        searches=bool(query.search),
        sort=query.sort,
        backwards=query.backwards,
        from_source=position.source if position else None,
        from_null=position is not None and position.value is None,
    )


def values_of(query: GalleryQuery, ranked: Sequence[Group] | None = None) -> dict[str, Any]:
    """Return the values a statement of the query's shape binds, by name.

    `ranked` are the query's groups, rarest first, as strategies that begin with a rare tag want them:
    `tag_0` is the rarest tag then, `others_1` are the tags but the rarest, `others_2` but the two rarest.
    """
    groups = query.groups if ranked is None else ranked
    assert ranked is None or sorted(ranked) == sorted(query.groups), "ranked are the groups of another query"
    singles = [group[0] for group in groups if len(group) == 1]
    families = [list(group) for group in groups if len(group) != 1]
    offset = (query.page - 1) * query.page_size
    values: dict[str, Any] = {
        "viewer": query.viewer, "rows": query.page_size + 1, "offset": offset,
        "reach": offset + query.page_size + 1, "exclude": list(query.exclude), "search": query.search,
        "others_0": singles, "others_1": singles[1:], "others_2": singles[2:],
    }  # fmt: skip
    values |= {f"tag_{place}": tag for place, tag in enumerate(singles)}
    values |= {f"family_{place}": family for place, family in enumerate(families)}
    if query.position is not None:
        values |= {"from_value": query.position.value, "from_id": query.position.id}
    return values


def shared(
    shape: Shape, source: ContentSource, *, walks: bool, items: FromClause = content_items_all
) -> list[ColumnElement[bool]]:
    """Return every clause but the tags' and the position's.

    `walks` says that items come in page order and the statement stops early, so that a look into an
    index for each item is what is wanted, and never a pass over all of them. `items` is what is read,
    with the columns of the content tables.
    """
    return [
        items.c.source_type == word(source.partition),
        *visible(shape, items),
        *created_by(shape, source, items),
        *excluded(shape, source, walks=walks, items=items),
        *searched(shape, items),
    ]


def visible(shape: Shape, items: FromClause = content_items_all) -> list[ColumnElement[bool]]:
    """Return the privacy clause: public items, and the viewer's own."""
    public = items.c.is_private == false()
    return [or_(public, items.c.creator_id == _viewer()) if shape.has_viewer else public]


def created_by(
    shape: Shape, source: ContentSource, items: FromClause = content_items_all
) -> list[ColumnElement[bool]]:
    """Return the creator clause of a source: none at all where everybody's items are wanted."""
    creators = shape.scope.of(source)
    if creators is Creators.MINE:
        return [items.c.creator_id == _viewer()]
    return [items.c.creator_id != _viewer()] if creators is Creators.COMMUNITY else []


def excluded(
    shape: Shape, source: ContentSource, *, walks: bool, items: FromClause = content_items_all
) -> list[ColumnElement[bool]]:
    """Return the clause that an item carries none of the excluded tags."""
    if not shape.excludes:
        return []
    unwanted = LINK.tag_id == any_(bindparam("exclude", type_=ARRAY(Uuid)))
    return [~carries(source, unwanted, probed=walks, items=items)]


def searched(shape: Shape, items: FromClause = content_items_all) -> list[ColumnElement[bool]]:
    """Return the search clause, in the very expression that the search index is built over."""
    if not shape.searches:
        return []
    config = cast(literal_column(f"'{SEARCH_CONFIG}'"), REGCONFIG)
    document = func.to_tsvector(config, items.c.title.op("||")(literal_column("' '")).op("||")(items.c.prompt))
    return [document.op("@@")(func.websearch_to_tsquery(config, bindparam("search", type_=String)))]


def groups_of(shape: Shape) -> list[ColumnElement[bool]]:
    """Return, for each group, the clause that a row of the junction is one of its tags."""
    return [
        *(LINK.tag_id == tag_value(place) for place in range(shape.singles)),
        *(LINK.tag_id == any_(family_value(place)) for place in range(shape.families)),
    ]


def carries(
    source: ContentSource,
    tag_clause: ColumnElement[bool],
    *,
    probed: bool,
    items: FromClause = content_items_all,
) -> ColumnElement[bool]:
    """Return the clause that the item has a junction row of this kind.

    `probed` keeps PostgreSQL from making a join of it: the index is looked into once for each item.
    """
    same_item = and_(LINK.content_id == items.c.id, LINK.content_source == word(source.junction))
    rows = select(literal_column("1")).select_from(content_tags).where(same_item, tag_clause)
    return (fenced(rows) if probed else rows).correlate(items).exists()


def fenced(rows: Select[Any]) -> Select[Any]:
    """Return the same rows as a subquery that PostgreSQL plans by itself: OFFSET 0 keeps it apart."""
    return rows.offset(literal_column("0"))


def order_by(shape: Shape, columns: Any, *, across: bool) -> list[UnaryExpression[Any]]:
    """Return the order of rows as they are read; `across` both sources or within one."""
    names = [shape.sort.field.value, *(["source_type"] if across else []), *_id_unless_sorted_by(shape)]
    ordered = [columns[name].desc() if shape.descending else columns[name].asc() for name in names]
    if shape.sort.field.is_nullable:
        ordered[0] = ordered[0].nulls_first() if shape.backwards else ordered[0].nulls_last()
    return ordered


def beyond(shape: Shape, source: ContentSource, items: FromClause = content_items_all) -> list[ColumnElement[bool]]:
    """Return the keyset clause of a source: rows that are read after the position."""
    if shape.from_source is None:
        return []
    past, column = _past(shape, source, items), items.c[shape.sort.field.value]
    if not shape.sort.field.is_nullable:
        return [past]
    if shape.from_null:
        tied = and_(column.is_(None), _tied(shape, source, items))
        return [or_(column.is_not(None), tied) if shape.backwards else tied]
    return [past if shape.backwards else or_(past, column.is_(None))]


def _past(shape: Shape, source: ContentSource, items: FromClause) -> ColumnElement[bool]:
    """Return the clause for rows past a position that has a value, as a range of an index where it can be.

    Within the position's source that is one comparison of (value, id); sorted by id, ids alone.
    """
    column = items.c[shape.sort.field.value]
    value = bindparam("from_value", type_=column.type)
    if source is shape.from_source and shape.sort.field is not SortField.ID:
        own, there = tuple_(column, items.c.id), tuple_(value, bindparam("from_id", type_=Integer))
        return own < there if shape.descending else own > there
    if source is not shape.from_source and _comes_later(shape, source):
        return column <= value if shape.descending else column >= value
    return column < value if shape.descending else column > value


def _tied(shape: Shape, source: ContentSource, items: FromClause) -> ColumnElement[bool]:
    """Return the clause for rows past a position among those that have its sort value."""
    if source is shape.from_source:
        place = bindparam("from_id", type_=Integer)
        return items.c.id < place if shape.descending else items.c.id > place
    return true() if _comes_later(shape, source) else false()


def _comes_later(shape: Shape, source: ContentSource) -> bool:
    """Whether items of this source are read after the position's source, at equal sort values."""
    assert shape.from_source is not None
    lower = source.partition < shape.from_source.partition
    return lower if shape.descending else not lower


def _id_unless_sorted_by(shape: Shape) -> list[str]:
    return [] if shape.sort.field is SortField.ID else ["id"]


def tag_value(place: int) -> ColumnElement[Any]:
    """Return the bound tag of a group of one."""
    return bindparam(f"tag_{place}", type_=Uuid)


def family_value(place: int) -> ColumnElement[Any]:
    """Return the bound tags of a group of several."""
    return bindparam(f"family_{place}", type_=ARRAY(Uuid))


def single_values(after: int = 0) -> ColumnElement[Any]:
    """Return the bound tags of all groups of one but the first `after` (at most two), as an array."""
    return bindparam(f"others_{after}", type_=ARRAY(Uuid))


def _viewer() -> ColumnElement[Any]:
    return bindparam("viewer", type_=Uuid)


def word(spelling: str) -> ColumnElement[str]:
    """A spelling of ContentSource as a constant of the statement: the planner prunes by it."""
    return literal_column(f"'{spelling}'")


def links(source: ContentSource) -> Select[Any]:
    """Return the junction rows of a source, by content id."""
    return select(LINK.content_id).where(LINK.content_source == word(source.junction))
