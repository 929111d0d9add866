"""The tag bitmap index built and read back plainly: item by item, obviously right and slow.

`build` writes an epoch and lets it serve; `expected` reads from content and junction what an index must
say, and `sealed` reads what the tables say. None of it shares code with what builds, seals or reads the index
in earnest, but for the sizes of the layout.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.bitmaps.layout import BLOCK, CHUNK, SPAN
from genonaut_lib.migration.phases.create_tag_bitmaps import arm
from genonaut_lib.settings import DatabaseSettings
from tests.factories import Gallery

Key = tuple[str, int]
PSEUDO = {"items": -1, "auto": -2}
PUBLIC = -3
ITEMS = """
    select source_type, id, created_at::text, creator_id, is_private from content_items_all
    order by created_at, source_type, id
"""
TAGS = """
    select case content_source when 'regular' then 'items' else 'auto' end, content_id, array_agg(t.tag_no)
    from content_tags k join tags t on t.id = k.tag_id group by 1, 2
"""


@dataclass(frozen=True)
class Item:
    """What the index says of an item: numbers of tags (those below 0 are source and publicity), and its creator."""

    tag_nos: frozenset[int]
    creator: uuid.UUID


def build(connection: Connection, least_items: int = 1) -> None:
    """Build an epoch of all items and let it serve; tags that fewer items carry get no bitmaps. Marks are forgotten."""
    arm(connection, DatabaseSettings())
    with connection.transaction():
        ((epoch,),) = connection.execute("update workbench.bitmap_state set epochs = epochs + 1 returning epochs")
        rows = connection.execute(ITEMS).fetchall()
        _write_tags(connection, epoch, least_items)
        items = expected(connection, epoch)
        _write_items(connection, epoch, rows, items)
        end = rows[-1] if rows else ("", 0, None)
        connection.execute(
            "update workbench.bitmap_state set serving = %s, version = version + 1, chunks = %s, ranks = %s,"
            " end_at = %s::timestamptz, end_source = %s, end_id = %s, built_at = now(), sealed_at = now(),"
            " rare_most = %s",
            [epoch, -(-len(rows) // CHUNK), len(rows), end[2], *(end[:2] if rows else (None, None)), least_items - 1],
        )
        connection.execute("delete from workbench.bitmap_marks")


def begin_building(connection: Connection) -> None:
    """Say that another epoch is being built, of what is committed now; nothing of it is written."""
    connection.execute(
        "update workbench.bitmap_state set epochs = epochs + 1, building = epochs + 1, building_since = now(),"
        " building_snapshot = pg_current_snapshot()"
    )


def expected(connection: Connection, epoch: int | None = None) -> dict[Key, Item]:
    """Return what an index must say of every item that is there; tags without bitmaps are left out."""
    chosen = epoch or serving(connection)
    found = connection.execute("select tag_no from workbench.bitmap_tags where epoch = %s", [chosen]).fetchall()
    known = {row[0] for row in found}
    tags: dict[Key, set[int]] = defaultdict(set)
    for source, content_id, tag_nos in connection.execute(TAGS):
        tags[source, content_id] = known & set(tag_nos)
    return {
        (source, content_id): Item(
            frozenset(tags[source, content_id] | {PSEUDO[source]} | (set() if private else {PUBLIC})), creator
        )
        for source, content_id, _, creator, private in connection.execute(ITEMS)
    }


def sealed(connection: Connection) -> dict[Key, Item]:
    """Return what the serving epoch says of every item it knows; fail where its tables contradict one another."""
    epoch = serving(connection)
    members, bits, creators = (read(connection, epoch) for read in (_members, _bits, _creators))
    live = {rank: key for rank, key in members.items() if bits.get(rank)}
    assert set(bits) <= set(live), "bits where no item is"
    assert set(creators) == set(live), "creators of other items"
    assert _places(connection, epoch) == {key: rank for rank, key in live.items()}
    for rank, key in live.items():
        assert bits[rank] & set(PSEUDO.values()) == {PSEUDO[key[0]]}, f"{key} is of another source"
    return {key: Item(frozenset(bits[rank]), creators[rank]) for rank, key in live.items()}


def ranks(connection: Connection) -> dict[Key, int]:
    """Return where each item is sealed."""
    return _places(connection, serving(connection))


def marked(connection: Connection) -> dict[Key, int]:
    """Return how many marks each marked item has."""
    found = connection.execute("select source_type, content_id, count(*) from workbench.bitmap_marks group by 1, 2")
    return {(source, content_id): count for source, content_id, count in found}


def require_exact(connection: Connection) -> None:
    """Fail unless what is not marked is sealed as it is, in the order of its keys, and nothing else is."""
    in_doubt = set(marked(connection))
    said, there = sealed(connection), expected(connection)
    assert {key: item for key, item in said.items() if key not in in_doubt} == {
        key: item for key, item in there.items() if key not in in_doubt
    }
    places = ranks(connection)
    in_order = [places[key] for key in there if key not in in_doubt]
    assert in_order == sorted(in_order)


def serving(connection: Connection) -> int:
    """Return the epoch that serves."""
    ((epoch,),) = connection.execute("select serving from workbench.bitmap_state")
    assert epoch is not None
    return int(epoch)


def generate(connection: Connection, items: int, first: int = 0) -> None:
    """Insert public items, every third an automatic one, a second apart, with two of the tags there are by number."""
    creator = Gallery(connection).user("crowd")
    columns = "(title, content_type, content_data, prompt, creator_id, created_at, source_type)"
    for source, remainders in (("items", [0, 1]), ("auto", [2])):
        connection.execute(
            f"insert into content_items_all {columns} select 'item ' || n, 'text', '', '', %s,"  # type: ignore[arg-type]
            " timestamptz '2025-03-01 00:00:00Z' + make_interval(secs => n), %s"
            " from generate_series(%s::integer, %s::integer) n where n %% 3 = any (%s)",
            [creator, source, first, first + items - 1, remainders],
        )
    connection.execute(
        "insert into content_tags (content_id, content_source, tag_id)"
        " select c.id, case c.source_type when 'items' then 'regular' else 'auto' end, t.id"
        " from content_items_all c join (select id, row_number() over (order by tag_no) - 1 as no,"
        "                                count(*) over () as tags from tags) t"
        " on t.no in (c.id %% t.tags, (c.id / 7) %% t.tags) where c.creator_id = %s on conflict do nothing",
        [creator],
    )


def _write_tags(connection: Connection, epoch: int, least_items: int) -> None:
    connection.execute(
        "insert into workbench.bitmap_tags select %s, t.tag_no from content_tags k join tags t on t.id = k.tag_id"
        " group by t.tag_no having count(*) >= %s",
        [epoch, least_items],
    )


def _write_items(connection: Connection, epoch: int, rows: list[Any], items: Mapping[Key, Item]) -> None:
    carriers: dict[tuple[int, int], list[int]] = defaultdict(list)
    places: dict[tuple[str, int], list[int | None]] = defaultdict(lambda: [None] * BLOCK)
    owned: dict[tuple[uuid.UUID, int], bytes] = defaultdict(bytes)
    for rank, (source, content_id, _, creator, _) in enumerate(rows):
        for tag_no in items[source, content_id].tag_nos:
            carriers[tag_no, rank // CHUNK].append(rank % CHUNK)
        places[source, content_id // BLOCK][content_id % BLOCK] = rank
        owned[creator, rank // (SPAN * CHUNK)] += (rank % (SPAN * CHUNK)).to_bytes(2, "big")
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into workbench.tag_bitmaps values (%s, %s, %s, %s, %s::text::bit(15872))",
            [(epoch, *key, len(found), _text(found)) for key, found in carriers.items()],
        )
        cursor.executemany(
            "insert into workbench.bitmap_places values (%s, %s, %s, %s)",
            [(epoch, *key, found) for key, found in places.items()],
        )
        cursor.executemany(
            "insert into workbench.bitmap_creators values (%s, %s, %s, %s)",
            [(epoch, *key, found) for key, found in owned.items()],
        )
        for chunk in range(-(-len(rows) // CHUNK)):
            part = rows[chunk * CHUNK : (chunk + 1) * CHUNK]
            members = b"".join(_member(row[0], row[1]).to_bytes(4, "big", signed=True) for row in part)
            cursor.execute(
                "insert into workbench.bitmap_chunks select %s, %s, version + 1, %s::timestamptz, %s, %s, %s"
                " from workbench.bitmap_state",
                [epoch, chunk, part[0][2], part[0][0], part[0][1], members],
            )


def _member(source: str, content_id: int) -> int:
    return content_id if source == "items" else -content_id - 1


def _text(positions: list[int]) -> str:
    marks = ["0"] * CHUNK
    for position in positions:
        marks[position] = "1"
    return "".join(marks)


def _members(connection: Connection, epoch: int) -> dict[int, Key]:
    rows = connection.execute("select chunk, members from workbench.bitmap_chunks where epoch = %s", [epoch]).fetchall()
    found = {}
    for chunk, members in rows:
        for position in range(len(members) // 4):
            number = int.from_bytes(members[4 * position : 4 * position + 4], "big", signed=True)
            found[chunk * CHUNK + position] = ("items", number) if number >= 0 else ("auto", -number - 1)
    ((chunks, ranks),) = connection.execute("select chunks, ranks from workbench.bitmap_state")
    assert (chunks, ranks, sorted(found)) == (len(rows), len(found), list(range(ranks)))
    return found


def _bits(connection: Connection, epoch: int) -> dict[int, set[int]]:
    statement = "select tag_no, chunk, cardinality, bits::text from workbench.tag_bitmaps where epoch = %s"
    found: dict[int, set[int]] = defaultdict(set)
    for tag_no, chunk, cardinality, bits in connection.execute(statement, [epoch]):
        assert cardinality == bits.count("1") > 0
        place = bits.find("1")
        while place >= 0:
            found[chunk * CHUNK + place].add(tag_no)
            place = bits.find("1", place + 1)
    return found


def _creators(connection: Connection, epoch: int) -> dict[int, uuid.UUID]:
    statement = "select creator_id, span, positions from workbench.bitmap_creators where epoch = %s"
    found: dict[int, uuid.UUID] = {}
    for creator, span, positions in connection.execute(statement, [epoch]):
        numbers = [int.from_bytes(positions[at : at + 2], "big") for at in range(0, len(positions), 2)]
        assert numbers
        assert numbers == sorted(set(numbers))
        mine = {span * SPAN * CHUNK + number: creator for number in numbers}
        assert not mine.keys() & found.keys(), "an item has two creators"
        found |= mine
    return found


def _places(connection: Connection, epoch: int) -> dict[Key, int]:
    statement = "select source_type, block, ranks from workbench.bitmap_places where epoch = %s"
    found = {}
    for source, block, ranks in connection.execute(statement, [epoch]):
        assert len(ranks) == BLOCK
        found |= {(source, block * BLOCK + place): rank for place, rank in enumerate(ranks) if rank is not None}
    return found
