"""Every strategy against the oracle: the same rows in the same order, for whatever a query can say.

`FUZZ_QUERIES` says how many random queries are asked in all, `FUZZ_SEED` which ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.page import Page, read_page
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.statement import count_text
from genonaut_lib.gallery.strategies import STRATEGIES
from tests.gallery.built import Built, Template
from tests.gallery.oracle import Expected
from tests.gallery.queries import queries
from tests.gallery.served import Served, served_with_bitmaps, with_knobs

QUERIES = int(os.environ.get("FUZZ_QUERIES", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SHARDS = 10
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def fuzzed(still: Built, shard: int, share: int, check) -> None:
    """Ask a shard's part of the random queries; `share` of them in all are asked."""
    unhurried = settings(
        max_examples=max(1, share // SHARDS), deadline=None, database=None,
        suppress_health_check=SLOW, phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    seed(SEED * SHARDS + shard)(unhurried(given(queries(still.oracle))(check)))()


def shown(page: Page) -> list[tuple[object, ...]]:
    """Return what is compared of each row besides its place."""
    return [(key, row["creator_username"], row["tags"]) for key, row in zip(page.keys, page.rows, strict=True)]


def must_show(expected: Expected) -> list[tuple[object, ...]]:
    return [(row.key, row.username, sorted(row.tags)) for row in expected.rows]


def sides(query: GalleryQuery, expected: Expected) -> tuple[bool, bool]:
    """Return whether there is a way back and a way on, as a page must say."""
    if not query.sources:
        return False, False
    if query.before is not None:
        return expected.more, True
    came_from_a_page = query.after is not None or (query.page > 1 and bool(expected.rows))
    return came_from_a_page, expected.more


async def pages(still: Built, query: GalleryQuery, ranked: tuple) -> dict[str, Page]:
    """Return the page by every strategy that may answer the query."""
    names = [name for name, strategy in STRATEGIES.items() if query.stale or not strategy.stale]
    return {name: await read_page(still.session, query, name, ranked) for name in names}


def rarest_first(still: Built, query: GalleryQuery) -> tuple:
    carriers = [set(row.tags) for row in still.oracle.rows]
    return tuple(sorted(query.groups, key=lambda group: sum(bool(tags & set(group)) for tags in carriers)))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_strategy_shows_what_the_oracle_shows(shard: int, still: Built) -> None:
    """Rows, order, tags, and whether there is more, for random queries."""

    def check(query: GalleryQuery) -> None:
        expected = still.oracle.page(query)
        for name, page in still.run(pages(still, query, rarest_first(still, query))).items():
            assert shown(page) == must_show(expected), name
            assert (page.has_previous, page.has_next) == sides(query, expected), name

    fuzzed(still, shard, QUERIES, check)


async def counts(still: Built, query: GalleryQuery) -> dict[str, dict[str, int]]:
    found = {}
    for name in STRATEGIES:
        cursor = await still.session.execute(count_text(shape_of(query), name), values_of(query))
        found[name] = dict(await cursor.fetchall())
    return found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_strategy_counts_what_the_oracle_counts(shard: int, still: Built) -> None:
    """The number of rows of each source, wherever the page lies and however it is sorted."""

    def check(query: GalleryQuery) -> None:
        if query.sources:
            expected = still.oracle.counts(query)
            assert still.run(counts(still, query)) == dict.fromkeys(STRATEGIES, expected)

    fuzzed(still, shard, QUERIES // 5, check)


@pytest.fixture(scope="module")
def served(template: Template) -> Iterator[Served]:
    """A gallery whose bitmaps are sealed in part: some tags have none, and some items changed since."""
    with template.copy() as built:
        settings = with_knobs(built.settings, "planner", max_tags=1_000)
        with served_with_bitmaps(built, settings) as found:
            yield found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("strategy", ["bitmap", None])
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_gallery_with_bitmaps_answers_as_the_oracle_does(shard: int, strategy: str | None, served: Served) -> None:
    """Rows and total in one answer, by the bitmaps and by whatever the planner takes."""

    def check(query: GalleryQuery) -> None:
        query = replace(query, stale=False)
        expected, total = served.built.oracle.page(query), sum(served.built.oracle.counts(query).values())
        found = served.page(query, CountMode.EXACT, strategy)
        assert shown(found.page) == must_show(expected), found.choice
        assert (found.page.has_previous, found.page.has_next) == sides(query, expected), found.choice
        assert (found.total.kind, found.total.value) == (CountMode.EXACT, total), found.choice

    fuzzed(served.built, shard, QUERIES // 2, check)
