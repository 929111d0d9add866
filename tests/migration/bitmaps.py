"""A gallery with equal ids in both sources and tied dates, and what its bitmaps say, read the plain way."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.bitmaps.layout import CHUNK, MEMBERS, POSITIONS, SPAN, unsigned
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import FIRST_DAY, Gallery

Item = tuple[str, int]
"""The source as content has it, and the id."""
TAGS = {"every": 1, "half": 2, "third": 3, "tenth": 10, "rare": 4_000}
"""Tags on the items whose id a number divides."""
JUNCTION_TO_CONTENT = {source.junction: source.partition for source in ContentSource}


def begin(gallery: Gallery) -> int:
    """Make the tags known before the migration by an item, and return its id; `unused` will stay without any."""
    return gallery.legacy_item([*TAGS, "unused"])


def populate(gallery: Gallery, first: int, last: int) -> None:
    """Insert items with these ids into each source, three neighbours of each source at one moment."""
    creators = [gallery.user(name) for name in ("ada", "grace")]
    for source in ContentSource:
        gallery.connection.execute(
            """
            insert into content_items_all (id, source_type, title, content_type, content_data, prompt, creator_id,
                                           created_at, is_private, tags)
            select n, %(source)s, 't', 'text', '', 'p', (%(creators)s::uuid[])[1 + n %% 2],
                   %(day)s + interval '1 minute' * (n * 7919 %% 10007 / 3), n %% 7 = 0,
                   array(select id from unnest(%(tags)s::uuid[], %(divisors)s::int[]) t (id, d) where n %% d = 0)
            from generate_series(%(first)s::integer, %(last)s) n
            """,
            {
                "source": source.partition,
                "creators": creators,
                "day": FIRST_DAY,
                "tags": [tag_id(name) for name in TAGS],
                "divisors": list(TAGS.values()),
                "first": first,
                "last": last,
            },
        )


@dataclass(frozen=True)
class Sealed:
    """What an epoch's rows say, in items instead of bits."""

    ranked: list[Item]
    tags: dict[int, set[Item]]
    creators: dict[Any, set[Item]]
    places: dict[Item, int]


def sealed(connection: Connection, epoch: int) -> Sealed:
    """Read an epoch bit by bit, with nothing of what wrote it."""
    chunks = rows(connection, "select members from workbench.bitmap_chunks where epoch = %s order by chunk", epoch)
    ranked = [item_of(member) for (data,) in chunks for member in np.frombuffer(data, dtype=MEMBERS).tolist()]
    return Sealed(
        ranked, tags(connection, epoch, ranked), creators(connection, epoch, ranked), places(connection, epoch)
    )


def tags(connection: Connection, epoch: int, ranked: list[Item]) -> dict[int, set[Item]]:
    found: dict[int, set[Item]] = {
        number: set()
        for (number,) in rows(connection, "select tag_no from workbench.bitmap_tags where epoch = %s", epoch)
    }
    question = "select tag_no, chunk, cardinality, bits::text from workbench.tag_bitmaps where epoch = %s"
    for number, chunk, cardinality, text in rows(connection, question, epoch):
        items = {ranked[chunk * CHUNK + place] for place, bit in enumerate(text) if bit == "1"}
        assert len(items) == cardinality > 0
        assert found[number].isdisjoint(items)
        found[number] |= items
    return found


def creators(connection: Connection, epoch: int, ranked: list[Item]) -> dict[Any, set[Item]]:
    found = defaultdict(set)
    question = "select creator_id, span, positions from workbench.bitmap_creators where epoch = %s"
    for creator, span, data in rows(connection, question, epoch):
        positions = np.frombuffer(data, dtype=POSITIONS).tolist()
        assert positions == sorted(set(positions))
        found[creator] |= {ranked[span * SPAN * CHUNK + position] for position in positions}
    return dict(found)


def places(connection: Connection, epoch: int) -> dict[Item, int]:
    question = """
        select source_type, block * 128 + slot - 1, rank from workbench.bitmap_places,
               unnest(ranks) with ordinality as r (rank, slot)
        where epoch = %s and rank is not null
    """
    return {(source, item): rank for source, item, rank in rows(connection, question, epoch)}


def item_of(member: int) -> Item:
    source, item = unsigned(member)
    return source.partition, item


def rows(connection: Connection, question: str, epoch: int) -> list[tuple[Any, ...]]:
    return connection.execute(question.encode(), [epoch]).fetchall()


def expected(connection: Connection) -> Sealed:
    """Read content and junction the way the index should have."""
    order = "select source_type, id, creator_id, is_private from content_items_all order by created_at, source_type, id"
    content = connection.execute(order).fetchall()
    ranked = [(source, item) for source, item, _, _ in content]
    by_tag, by_creator = defaultdict(set), defaultdict(set)
    for source, item, creator, private in content:
        by_tag[-1 if source == "items" else -2].add((source, item))
        by_creator[creator].add((source, item))
        if not private:
            by_tag[-3].add((source, item))
    junction = "select tag_no, content_source, content_id from content_tags join tags on id = tag_id"
    for number, source, item in connection.execute(junction).fetchall():
        by_tag[number].add((JUNCTION_TO_CONTENT[source], item))
    return Sealed(ranked, dict(by_tag), dict(by_creator), {item: rank for rank, item in enumerate(ranked)})


def marked(connection: Connection) -> set[Item]:
    """Items that a reader would look at themselves."""
    return set(connection.execute("select source_type, content_id from workbench.bitmap_marks").fetchall())


def state(connection: Connection) -> dict[str, Any]:
    """The one row of state."""
    row = connection.execute("select to_jsonb(s) from workbench.bitmap_state s").fetchone()
    assert row is not None
    return row[0]


def epochs_with_rows(connection: Connection, tables: tuple[str, ...]) -> set[int]:
    """Epochs that any table has rows of."""
    question = sql.SQL(" union ").join(
        sql.SQL("select epoch from {}").format(sql.Identifier(*table.split("."))) for table in tables
    )
    return {epoch for (epoch,) in connection.execute(question).fetchall()}


BUILDER = """
import time
from genonaut_lib.errors import BitmapsBusy
from genonaut_lib.migration.bitmap_build import build
from genonaut_lib.settings import load_settings
while True:
    try:
        say = lambda p: print(p.source, p.rows_read, flush=True)
        build(load_settings("test"), workers=1, least_share=0, report=say)
        break
    except BitmapsBusy:  # the server has not seen yet that the builder before is dead
        time.sleep(0.1)
"""


def builder() -> subprocess.Popen[str]:
    """Start a build in a process of its own, which says how far it is, line by line."""
    return subprocess.Popen([sys.executable, "-c", BUILDER], stdout=subprocess.PIPE, text=True)
