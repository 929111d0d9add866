"""Pages of a migrated gallery against a brute-force oracle over the same rows."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.page import Page, read_page
from genonaut_lib.gallery.query import EVERYTHING, MINE, Creators, GalleryQuery, Position, Scope, TagMatch
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import FIRST_DAY, Gallery

Migrate = Callable[[], None]
NAMES = ("common", "half", "rare")
TAGS = tuple(tag_id(name) for name in NAMES)
CHANCES = (0.8, 0.5, 0.08)
USERS = ("ada", "grace", "alan")
SCOPES = [Scope(regular, auto) for regular, auto in product(Creators, Creators)]


@dataclass(frozen=True)
class Row:
    """What the oracle knows of an item."""

    created_at: datetime
    partition: str
    id: int
    creator: uuid.UUID
    private: bool
    tags: frozenset[uuid.UUID]

    @property
    def order(self) -> tuple[datetime, str, int]:
        return self.created_at, self.partition, self.id

    @property
    def key(self) -> str:
        return f"{ContentSource.from_partition(self.partition).junction}/{self.id}"


def rows_of(connection: Connection) -> list[Row]:
    """Read both tables, untouched by any statement under test; tags from the arrays, not the junction."""
    rows = []
    for source in ContentSource:
        query = f"select created_at, id, creator_id, is_private, tags from {source.table}"
        for created_at, id_, creator, private, tags in connection.execute(query).fetchall():  # type: ignore[arg-type]
            rows.append(Row(created_at, source.partition, id_, creator, private, frozenset(tags)))
    return rows


def wanted(row: Row, query: GalleryQuery) -> bool:
    creators = query.scope.of(ContentSource.from_partition(row.partition))
    mine = row.creator == query.viewer
    by_creator = {
        Creators.MINE: mine, Creators.COMMUNITY: not mine, Creators.EVERYBODY: True, Creators.NOBODY: False,
    }[creators]  # fmt: skip
    matching = [tag in row.tags for tag in query.tags]
    by_tag = not matching or (all if query.match is TagMatch.ALL else any)(matching)
    return by_creator and by_tag and (mine or not row.private)


def oracle(rows: list[Row], query: GalleryQuery) -> list[str]:
    """Return the keys of every row the query means, all pages in one, newest first."""
    found = sorted((row for row in rows if wanted(row, query)), key=lambda row: row.order, reverse=True)
    if query.after is not None:
        end = (query.after.created_at, query.after.source.partition, query.after.id)
        found = [row for row in found if row.order < end]
    return [row.key for row in found]


def walk(connection: Connection, query: GalleryQuery) -> Iterator[Page]:
    """Yield every page from the query's own to the last."""
    while True:
        page = read_page(connection, query)
        yield page
        if page.next_position is None:
            return
        query = replace(query, after=page.next_position)


def keys(connection: Connection, query: GalleryQuery) -> list[str]:
    return [key for page in walk(connection, query) for key in page.keys]


@pytest.fixture
def filled(connection: Connection, gallery: Gallery, migrate: Migrate) -> Gallery:
    """120 migrated items: equal ids in both sources, seven distinct dates, a quarter of them private."""
    dice = random.Random(11)
    for source in ContentSource:
        for _ in range(60):
            gallery.legacy_item(
                [name for name, chance in zip(NAMES, CHANCES, strict=True) if dice.random() < chance],
                source,
                creator=gallery.user(dice.choice(USERS)),
                is_private=dice.random() < 0.25,
                created_at=FIRST_DAY + timedelta(hours=dice.randrange(7)),
            )
    migrate()
    return gallery


def differing(connection: Connection, queries: list[GalleryQuery]) -> list[GalleryQuery]:
    """Return the queries whose first page is not the oracle's."""
    rows = rows_of(connection)
    return [query for query in queries if read_page(connection, query).keys != oracle(rows, query)[: query.page_size]]


def choices_of_tags() -> list[tuple[uuid.UUID, ...]]:
    return [(), TAGS[:1], TAGS[2:], TAGS[:2], TAGS, (TAGS[0], tag_id("unknown")), (tag_id("unknown"),)]


def test_every_choice_of_tags_shows_what_the_oracle_shows(connection: Connection, filled: Gallery) -> None:
    """Any and all, of none to three tags, known and unknown, with and without a viewer."""
    viewers = [None, filled.user("ada"), uuid.UUID(int=9)]
    queries = [GalleryQuery(*chosen) for chosen in product(choices_of_tags(), TagMatch, viewers)]
    assert differing(connection, queries) == []


def test_every_scope_shows_what_the_oracle_shows(connection: Connection, filled: Gallery) -> None:
    """All sixteen pairs of creators by source, with and without a tag filter."""
    viewer = filled.user("grace")
    queries = [GalleryQuery(tags, TagMatch.ALL, viewer, scope) for scope in SCOPES for tags in ((), TAGS[:2])]
    assert differing(connection, queries) == []


def test_random_queries_from_random_positions_show_what_the_oracle_shows(
    connection: Connection, filled: Gallery
) -> None:
    """Positions on rows and between them, at ties and beyond both ends."""
    dice = random.Random(2)
    viewers = [filled.user(name) for name in USERS]

    def position() -> Position:
        date = FIRST_DAY + timedelta(minutes=dice.randrange(-30, 450, 30))
        return Position(date, dice.choice(list(ContentSource)), dice.randrange(0, 70))

    queries = [
        GalleryQuery(
            tuple(dice.sample(TAGS, dice.randint(0, 3))), dice.choice(list(TagMatch)), dice.choice(viewers),
            dice.choice(SCOPES), dice.choice([1, 7, 25, 1000]), dice.choice([None, position(), position()]),
        )
        for _ in range(150)
    ]  # fmt: skip
    assert differing(connection, queries) == []


@pytest.mark.parametrize("size", [1, 7])
def test_walking_all_pages_yields_every_row_once_in_order(size: int, connection: Connection, filled: Gallery) -> None:
    """Ties in created_at and equal ids in both sources neither hide nor repeat a row."""
    query = GalleryQuery(viewer=filled.user("ada"), page_size=size)
    assert keys(connection, query) == oracle(rows_of(connection), query)


@pytest.mark.parametrize("match", list(TagMatch))
def test_walking_a_filtered_gallery_yields_every_row_once(
    match: TagMatch, connection: Connection, filled: Gallery
) -> None:
    """Page one and page two answer the same question."""
    query = GalleryQuery(TAGS[:2], match, filled.user("alan"), page_size=3)
    assert keys(connection, query) == oracle(rows_of(connection), query)


def test_a_gallery_of_one_date_is_walked_whole(connection: Connection, gallery: Gallery, migrate: Migrate) -> None:
    """Where every created_at is equal, source and id alone carry the order."""
    for source in ContentSource:
        for _ in range(10):
            gallery.legacy_item([], source, created_at=FIRST_DAY)
    migrate()
    expected = [f"{word}/{number}" for word in ("regular", "auto") for number in range(10, 0, -1)]
    assert keys(connection, GalleryQuery(page_size=3)) == expected


def test_a_row_written_during_the_walk_neither_repeats_nor_hides_one(connection: Connection, filled: Gallery) -> None:
    """What OFFSET gets wrong: new rows above the position move nothing below it."""
    query = GalleryQuery(page_size=10)
    before = oracle(rows_of(connection), query)
    seen = []
    for page in walk(connection, query):
        seen += page.keys
        filled.item([], created_at=FIRST_DAY + timedelta(days=1))
    assert seen == before


def test_the_last_full_page_has_no_next_position(connection: Connection, gallery: Gallery, migrate: Migrate) -> None:
    """A page that ends with the last row knows it."""
    for _ in range(4):
        gallery.legacy_item([])
    migrate()
    assert [len(page.rows) for page in walk(connection, GalleryQuery(page_size=2))] == [2, 2]


def test_all_match_ignores_the_same_id_in_the_other_source(
    connection: Connection, gallery: Gallery, migrate: Migrate
) -> None:
    """Item 1 of one source does not lend its tags to item 1 of the other."""
    gallery.legacy_item(["common"], ContentSource.REGULAR, id=1)
    gallery.legacy_item(["half"], ContentSource.AUTO, id=1)
    migrate()
    query = GalleryQuery(TAGS[:2], TagMatch.ALL)
    assert read_page(connection, query).rows == ()
    assert read_page(connection, replace(query, tags=TAGS[1:2])).keys == ["auto/1"]


def test_a_private_item_is_its_creators_alone(connection: Connection, gallery: Gallery, migrate: Migrate) -> None:
    """Neither a stranger nor nobody sees it, in whatever scope."""
    creator = gallery.user("ada")
    gallery.legacy_item(["common"], creator=creator, is_private=True)
    migrate()
    assert read_page(connection, GalleryQuery(TAGS[:1], viewer=creator)).keys == ["regular/1"]
    assert read_page(connection, GalleryQuery(viewer=creator, scope=MINE)).keys == ["regular/1"]
    community = Scope(Creators.COMMUNITY, Creators.COMMUNITY)
    for viewer, scope in ((None, EVERYTHING), (gallery.user("grace"), EVERYTHING), (gallery.user("grace"), community)):
        assert read_page(connection, GalleryQuery(viewer=viewer, scope=scope)).rows == ()


def test_nobodys_items_are_an_empty_page(connection: Connection) -> None:
    """Not even a gallery is needed for it."""
    query = GalleryQuery(scope=Scope(Creators.NOBODY, Creators.NOBODY))
    assert read_page(connection, query) == Page((), None)


def test_an_empty_gallery_is_an_empty_page(connection: Connection, migrate: Migrate) -> None:
    """No row, and no position to go on from."""
    migrate()
    assert read_page(connection, GalleryQuery()) == Page((), None)


def test_a_page_carries_what_a_reader_shows(connection: Connection, gallery: Gallery, migrate: Migrate) -> None:
    """Title, creator's name, tags and metadata arrive as they were written."""
    gallery.legacy_item(["common"], title="100% 'cat'", creator=gallery.user("ada"))
    migrate()
    (row,) = read_page(connection, GalleryQuery()).rows
    found = {name: row[name] for name in ("title", "creator_username", "source_type", "tags", "prompt")}
    assert found == {
        "title": "100% 'cat'", "creator_username": "ada", "source_type": "items", "tags": [TAGS[0]],
        "prompt": "a prompt",
    }  # fmt: skip


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_every_strategy_shows_the_same_rows(strategy: str, connection: Connection, filled: Gallery) -> None:
    """Strategies differ in time, not in rows."""
    rows = rows_of(connection)
    for match in TagMatch:
        query = GalleryQuery(TAGS[:2], match)
        assert read_page(connection, query, strategy).keys == oracle(rows, query)[: query.page_size]


@pytest.mark.parametrize("values", [{"page_size": 0}, {"page_size": 1001}, {"scope": MINE}])
def test_an_impossible_query_is_refused_when_it_is_made(values: dict[str, object]) -> None:
    """A page size out of range, and one's own items without saying who one is."""
    with pytest.raises(InvalidInput):
        GalleryQuery(**values)  # type: ignore[arg-type]
