"""How PostgreSQL answers a page: by plan, not by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.order import OLDEST, Position
from genonaut_lib.gallery.query import GalleryQuery, Group, TagMatch
from genonaut_lib.gallery.statement import page_text
from genonaut_lib.vocabulary import ContentSource
from tests.factories import FIRST_DAY
from tests.gallery.built import TAGS, Built, Template

ITEMS = 20_000
SIZE = 25
BY_DATE = {
    "idx_content_items_created_id_desc", "idx_content_items_created_at_desc",
    "idx_content_items_auto_created_id_desc", "idx_content_items_auto_created_at_desc",
}  # fmt: skip
KEYSET = {name for name in BY_DATE if name.endswith("id_desc")}
MIDDLE = {source: Position(FIRST_DAY, source, 1_000_000) for source in ContentSource}
"""Items are spread evenly before and after it; half the gallery lies on either side."""

FILL = """
    insert into {table} (id, title, content_type, content_data, creator_id, created_at, prompt, tags)
    select i, 'item ' || i, 'text', '', (select id from users limit 1),
           timestamptz '2025-01-01 00:00+00' + (i - 110000) * interval '1 minute', '', '{{}}'
    from generate_series(100001, 100000 + {items}) i;
    insert into content_tags select i, '{source}', '{tag}' from generate_series(100001, 100000 + {items}) i;
    insert into content_tags select i, '{source}', '{rare}' from generate_series(100001, 100000 + {items}, 500) i;
"""


@pytest.fixture(scope="module")
def large(template: Template) -> Iterator[Built]:
    """A gallery large enough for an index to pay, half of it in either source."""
    with template.copy() as copy:
        for source in ContentSource:
            names = {"table": source.table, "source": source.junction, "tag": TAGS[0], "rare": TAGS[3]}
            copy.connection.execute(FILL.format(items=ITEMS // 2, **names).encode())
        copy.connection.execute("vacuum (analyze)")
        yield copy


def plan(
    large: Built, query: GalleryQuery, strategy: str = "time_walk", ranked: tuple[Group, ...] | None = None
) -> dict[str, Any]:
    """Carry a page's statement out and return PostgreSQL's account of it."""
    text = b"explain (analyze, timing off, format json) " + page_text(shape_of(query), strategy)
    return large.connection.execute(text, values_of(query, ranked)).fetchone()[0][0]["Plan"]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from nodes(inner)


def rows_read(node: dict[str, Any]) -> int:
    """Return how many rows a scan looked at, those it threw away included."""
    return node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))


def scans(found: dict[str, Any], *tables: str) -> list[dict[str, Any]]:
    return [node for node in nodes(found) if node.get("Relation Name") in tables]


def content_scans(found: dict[str, Any]) -> list[dict[str, Any]]:
    return scans(found, "content_items", "content_items_auto")


def where(query: GalleryQuery, source: ContentSource, *, back: bool) -> GalleryQuery:
    return replace(query, **{"before" if back else "after": MIDDLE[source]})


def by_date() -> list[GalleryQuery]:
    """Return pages by date: the first, after and before a position of either source, newest and oldest first."""
    starts = [GalleryQuery(page_size=SIZE), GalleryQuery(page_size=SIZE, sort=OLDEST)]
    moved = [where(query, source, back=back) for query in starts for source in ContentSource for back in (True, False)]
    return starts + moved


@pytest.mark.parametrize("tags", [(), TAGS[:1]], ids=["no tag", "a popular tag"])
@pytest.mark.parametrize("place", range(len(by_date())))
def test_a_page_by_date_walks_an_index_and_stops_early(place: int, tags: tuple, large: Built) -> None:
    """No branch reads, let alone sorts, more than a page needs, whichever direction and source it starts from.

    The legacy index on the date alone may serve as well: rows of one date are sorted then, as they come.
    """
    found = plan(large, replace(by_date()[place], tags=tags))
    walks = content_scans(found)
    assert len(walks) == 2
    assert {node.get("Index Name") for node in walks} <= BY_DATE
    assert all(rows_read(node) <= 2 * SIZE for node in walks)
    assert not [node for node in nodes(found) if node["Node Type"] == "Sort" and len(content_scans(node)) == 1]


@pytest.mark.parametrize("query", by_date()[:2], ids=["newest", "oldest"])
def test_the_first_page_by_date_walks_the_keyset_index(query: GalleryQuery, large: Built) -> None:
    """What most readers ask for needs no sort in either branch."""
    found = plan(large, query)
    assert {node.get("Index Name") for node in content_scans(found)} == KEYSET
    assert not [node for node in nodes(found) if "Sort" in node["Node Type"] and len(content_scans(node)) == 1]


def test_a_page_after_a_position_begins_there(large: Built) -> None:
    """The position is a bound of the index scan in both branches, not a filter on rows already read."""
    for source in ContentSource:
        found = plan(large, where(GalleryQuery(page_size=SIZE), source, back=False))
        assert all("created_at" in node["Index Cond"] for node in content_scans(found))


def test_a_page_by_number_reads_no_further_than_itself(large: Built) -> None:
    """Page ten reads ten pages of each branch."""
    found = plan(large, GalleryQuery(page_size=SIZE, page=10))
    assert all(rows_read(node) <= 10 * SIZE + 2 for node in content_scans(found))


@pytest.mark.parametrize("strategy", ["time_walk", "self_join", "materialized_view"])
@pytest.mark.parametrize("page", [1, 10])
def test_tags_and_creators_are_looked_up_for_the_rows_of_the_page_only(page: int, strategy: str, large: Built) -> None:
    """Neither rows that were skipped nor those of the losing branch cost a look."""
    query = GalleryQuery(TAGS[:1], page_size=SIZE, page=page, stale=True)
    found = plan(large, query, strategy)
    lookups = [node["Actual Loops"] for node in outer_subplans(found)]
    assert len(lookups) == 2
    assert max(lookups) <= SIZE + 1


def outer_subplans(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the look-ups of the statement's own select list."""
    return [node for node in found.get("Plans", ()) if node.get("Parent Relationship") == "SubPlan"]


@pytest.mark.parametrize("strategy", ["self_join", "group_having", "two_phase_single", "two_phase_dual"])
def test_a_rare_tag_reads_its_own_items_only(strategy: str, large: Built) -> None:
    """Content is fetched by id, an item at a time, and never scanned for the few that match."""
    query = GalleryQuery((TAGS[0], TAGS[3]), match=TagMatch.ALL, page_size=SIZE)
    found = plan(large, query, strategy, ranked=(TAGS[3:4], TAGS[:1]))
    carriers = len([row for row in large.look_again().rows if TAGS[3] in row.tags])
    assert sum(rows_read(node) for node in content_scans(found)) <= carriers
