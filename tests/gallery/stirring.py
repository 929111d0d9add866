"""Changes of a gallery that a few small numbers describe, so that any of them can be drawn, repeated and shrunk.

What an operation works on is chosen among what its own session sees. One that meets what another session
holds is taken back as a whole: nobody waits here, since everybody may be played by one thread.
"""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import errors, sql

from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.gallery.built import DAYS, TAGS, TITLES, USERS, WORDS

MOST = 1_000
"""Numbers of an operation lie below this."""
NEW_TAG = "nobody's"
"""A tag that the gallery begins without; queries ask for it all the same."""
STIRRED_TAGS = (*TAGS, tag_id(NEW_TAG))
REFUSED = (
    errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected,
    errors.UniqueViolation, errors.ForeignKeyViolation,
)  # fmt: skip
"""What may end an operation because of what others do at the same time."""
FIRST_NEW_ID = 1_000
SOURCES = tuple(ContentSource)
DATES = (*DAYS, DAYS[0] - timedelta(days=3), DAYS[2] + timedelta(microseconds=1))
"""Ties and places between; beside these an item may be the newest of all, or as new as the newest."""


@dataclass(frozen=True)
class Op:
    """One change: its name in CHANGES, and numbers that say of what, through which table, and how much."""

    name: str
    a: int = 0
    b: int = 0
    c: int = 0

    @property
    def dice(self) -> random.Random:
        return random.Random(self.a + MOST * (self.b + MOST * self.c))


def drawn(dice: random.Random) -> Op:
    """Return any operation."""
    return Op(dice.choice(list(CHANGES)), *(dice.randrange(MOST) for _ in range(3)))


@dataclass
class Writer:
    """A session that changes the gallery: each operation a transaction, or all of them one."""

    connection: psycopg.Connection[Any]
    share: tuple[int, int] = (0, 1)
    """Of so many writers (the second), this is the one (the first) for ids that leave it as a remainder."""
    carried: tuple[uuid.UUID, ...] = STIRRED_TAGS
    doomed: tuple[uuid.UUID, ...] = STIRRED_TAGS
    """Tags that its items get, and those of them that it deletes and merges."""
    most_tags: int = 5
    lock_timeout_ms: int = 30
    refusals: list[psycopg.Error] = field(default_factory=list)

    def begin(self, isolation: str = "read committed") -> None:
        self.connection.execute(f"begin isolation level {isolation}".encode())

    def run(self, op: Op) -> bool:
        """Do it; return False when it was taken back, because others stood in its way."""
        try:
            with self.connection.transaction():
                self.connection.execute("select set_config('lock_timeout', %s, true)", [f"{self.lock_timeout_ms}ms"])
                CHANGES[op.name](self, op)
        except REFUSED as error:
            self.refusals.append(error)
            return False
        return True

    def do(self, statement: str, *values: Any, **names: str) -> psycopg.Cursor[Any]:
        words = {name: sql.Identifier(word) for name, word in names.items()}
        return self.connection.execute(sql.SQL(statement).format(**words), values)  # type: ignore[arg-type]

    def items(self, op: Op, most: int = 1) -> list[tuple[ContentSource, int]]:
        """Choose up to `most` items among this writer's, of both sources; none when it has none."""
        own = "select source_type, id from content_items_all where id %% %s = %s order by 2, 1"
        found = self.do(own, self.share[1], self.share[0]).fetchall()
        chosen = op.dice.sample(found, min(len(found), most))
        return [(ContentSource.from_partition(part), id_) for part, id_ in chosen]

    def new_id(self, op: Op) -> int:
        """Return an id that no item of either source has now; some of them had an item before."""
        row = self.do("select greatest(max(id), %s) from content_items_all", FIRST_NEW_ID).fetchone()
        assert row is not None
        top: int = row[0] + 1 + op.b % 3
        return top + (self.share[0] - top) % self.share[1]

    def date(self, op: Op) -> datetime:
        newest = self.do("select max(created_at) from content_items_all").fetchone()
        dates = [*DATES]
        if newest is not None and newest[0] is not None:
            dates += [newest[0], *(newest[0] + timedelta(microseconds=late) for late in (1, 1, 1_000))]
        return dates[op.a % len(dates)]

    def user(self, number: int) -> uuid.UUID:
        row = self.do("select id from users where username = %s", USERS[number % len(USERS)]).fetchone()
        assert row is not None
        return row[0]  # type: ignore[no-any-return]

    def tags(self, op: Op) -> list[uuid.UUID]:
        there = {row[0] for row in self.do("select id from tags")}
        known = [tag for tag in self.carried if tag in there]
        return op.dice.sample(known, min(len(known), op.c % (self.most_tags + 1)))

    def insert(self, op: Op, source: ContentSource, *ids: int) -> None:
        """Insert items with tags, in one statement each, into the table of the source or the one of both."""
        table = source.table if op.b % 2 else "content_items_all"
        many = """
            insert into {table} (id, source_type, title, content_type, content_data, prompt, creator_id, is_private,
                                 created_at)
            select unnest(%s::integer[]), %s, %s, 'text', '', %s, %s, %s, %s
        """
        texts = TITLES[op.a % len(TITLES)], WORDS[op.b % len(WORDS)]
        self.do(many, list(ids), source.partition, *texts, self.user(op.a), op.c % 4 == 0, self.date(op), table=table)
        self.link(self.tags(op), *((source, id_) for id_ in ids))

    def link(self, tags: list[uuid.UUID], *items: tuple[ContentSource, int]) -> None:
        many = """
            insert into content_tags (content_id, content_source, tag_id)
            select i.id, i.source, t.id from unnest(%s::integer[], %s::text[]) i (id, source), unnest(%s::uuid[]) t (id)
            on conflict do nothing
        """
        self.do(many, [id_ for _, id_ in items], [source.junction for source, _ in items], tags)

    def change(self, op: Op, what: str, *values: Any, most: int = 1) -> None:
        """Update items, each source through its own table or both at once."""
        items = self.items(op, most)
        for source in SOURCES if op.c % 2 else (None,):
            chosen = [(one, id_) for one, id_ in items if source in (None, one)]
            named = [one.partition for one, _ in chosen], [id_ for _, id_ in chosen]
            where = " where (source_type, id) in (select unnest(%s::text[]), unnest(%s::integer[]))"
            table = "content_items_all" if source is None else source.table
            self.do(f"update {{table}} i set {what}{where}", *values, *named, table=table)


def insert(writer: Writer, op: Op) -> None:
    writer.insert(op, SOURCES[op.c % 2], writer.new_id(op))


def insert_many(writer: Writer, op: Op) -> None:
    first, step = writer.new_id(op), writer.share[1]
    for source in SOURCES:
        writer.insert(op, source, *range(first, first + 5 * step, step))


def upsert(writer: Writer, op: Op) -> None:
    """Insert a new item and, in the same statement, change one that is there."""
    statement = """
        insert into {table} as i (id, title, content_type, content_data, prompt, creator_id, is_private, created_at)
        select unnest(%s::integer[]), 'b', 'text', '', 'a prompt', %s, false, %s
        on conflict (id) do update set is_private = not i.is_private, created_at = excluded.created_at
    """
    for source, id_ in writer.items(op):
        writer.do(statement, [id_, writer.new_id(op)], writer.user(op.b), writer.date(op), table=source.table)


def delete(writer: Writer, op: Op) -> None:
    for source, id_ in writer.items(op):
        both, part = "delete from content_items_all where source_type = %s and id = %s", source.partition
        if op.b % 2:
            writer.do("delete from {table} where id = %s", id_, table=source.table)
        else:
            writer.do(both, part, id_)


def delete_many(writer: Writer, op: Op) -> None:
    items = writer.items(op, 2 + op.b % 6)
    where = "(source_type, id) in (select unnest(%s::text[]), unnest(%s::integer[]))"
    named = [source.partition for source, _ in items], [id_ for _, id_ in items]
    writer.do(f"delete from content_items_all where {where}", *named)


def replace(writer: Writer, op: Op) -> None:
    """Delete an item and insert another one of the same id, perhaps in another place, with other tags."""
    for source, id_ in writer.items(op):
        writer.do("delete from {table} where id = %s", id_, table=source.table)
        writer.insert(op, source, id_)


def revive(writer: Writer, op: Op) -> None:
    """Insert an item with an id of one that was deleted some time ago."""
    source = SOURCES[op.c % 2]
    gaps = "select n from generate_series(1, %s) n where n %% %s = %s and not exists (select from {table} where id = n)"
    found = writer.do(gaps, writer.new_id(op), writer.share[1], writer.share[0], table=source.table).fetchall()
    for (id_,) in found[op.a % len(found) :][:1]:
        writer.insert(op, source, id_)


def tag(writer: Writer, op: Op) -> None:
    writer.link(writer.tags(op), *writer.items(op))


def tag_many(writer: Writer, op: Op) -> None:
    writer.link(writer.tags(op), *writer.items(op, 2 + op.b % 20))


def untag(writer: Writer, op: Op) -> None:
    items = writer.items(op, 1 if op.b % 2 else 12)
    gone = """
        delete from content_tags
        where (content_source, content_id) in (select unnest(%s::text[]), unnest(%s::integer[])) and tag_id = any (%s)
    """
    writer.do(gone, [one.junction for one, _ in items], [id_ for _, id_ in items], writer.tags(op))


def retag(writer: Writer, op: Op) -> None:
    """Give an item one tag in another's stead, by an update of the junction's rows."""
    new = writer.tags(op)[:1]
    update = """
        update content_tags t set tag_id = %s
        where content_source = %s and content_id = %s and tag_id = (
            select tag_id from content_tags l where l.content_source = t.content_source and l.content_id = t.content_id
            order by tag_id limit 1)
        and not exists (select from content_tags l where l.content_source = t.content_source
                        and l.content_id = t.content_id and l.tag_id = %s)
    """
    for source, id_ in writer.items(op) if new else ():
        writer.do(update, new[0], source.junction, id_, new[0])


def hand_over(writer: Writer, op: Op) -> None:
    """Move the tags of one item to another one, by an update of the junction's rows."""
    items = writer.items(op, 2)
    update = """
        update content_tags t set content_source = %s, content_id = %s
        where content_source = %s and content_id = %s and not exists (
            select from content_tags l where l.content_source = %s and l.content_id = %s and l.tag_id = t.tag_id)
    """
    if len(items) == 2:
        keys = [(source.junction, id_) for source, id_ in items]
        writer.do(update, *keys[0], *keys[1], *keys[0])


def merge_tags(writer: Writer, op: Op) -> None:
    """Make one tag of two: what carries the one carries the other, and the one is gone."""
    gone, stays = op.dice.sample(writer.doomed, 2)
    update = """
        update content_tags t set tag_id = s.id from tags s
        where s.id = %s and t.tag_id = %s and not exists (
            select from content_tags l
            where l.content_source = t.content_source and l.content_id = t.content_id and l.tag_id = s.id)
    """
    writer.do(update, stays, gone)
    writer.do("delete from tags where id = %s", gone)


def delete_tag(writer: Writer, op: Op) -> None:
    writer.do("delete from tags where id = %s", writer.doomed[op.a % len(writer.doomed)])


def make_tags(writer: Writer, op: Op) -> None:
    """Make every tag anew that was deleted, under its old id; its number is another one.

    Numbers leave the writer's share as a remainder: one number of two writers would end the transaction of one.
    """
    new = """
        insert into tags (id, tag_no, name, slug, label)
        select n.id, ((select coalesce(max(tag_no), 0) from tags) / m.writers + row_number() over ()) * m.writers
                     + m.share, n.id, n.id, n.id
        from unnest(%s::uuid[]) n (id), (select %s::integer, %s::integer) m (share, writers) on conflict do nothing
    """
    writer.do(new, list(writer.doomed), *writer.share)


def hide(writer: Writer, op: Op) -> None:
    writer.change(op, "is_private = not is_private", most=1 + op.b % 9)


def give(writer: Writer, op: Op) -> None:
    writer.change(op, "creator_id = %s", writer.user(op.a), most=1 + op.b % 4)


def move(writer: Writer, op: Op) -> None:
    """Change when items were made: to newer, older, or another's moment."""
    writer.change(op, "created_at = %s", writer.date(op), most=1 + op.b % 4)


def shift(writer: Writer, op: Op) -> None:
    """Move many items by the same time, so that each takes another's place."""
    writer.change(op, "created_at = created_at + %s", timedelta(hours=op.a % 5 - 2), most=3 + op.b % 20)


def rename(writer: Writer, op: Op) -> None:
    """Change what no bitmap tells; one in two writes the sealed columns as they are."""
    same = ", created_at = created_at, is_private = is_private" if op.b % 2 else ""
    writer.change(op, f"title = %s{same}", TITLES[op.a % len(TITLES)], most=1 + op.b % 4)


def renumber(writer: Writer, op: Op) -> None:
    """Change an item's id; its tags follow."""
    for source, id_ in writer.items(op):
        writer.do("update {table} set id = %s where id = %s", writer.new_id(op), id_, table=source.table)


CHANGES: Mapping[str, Callable[[Writer, Op], None]] = {
    change.__name__: change
    for change in (
        insert, insert_many, upsert, delete, delete_many, replace, revive, tag, tag_many, untag, retag, hand_over,
        merge_tags, delete_tag, make_tags, hide, give, move, shift, rename, renumber,
    )
}  # fmt: skip
"""Every change by name."""


@contextlib.contextmanager
def writing(address: str, **facts: Any) -> Iterator[Writer]:
    """Open a session that writes."""
    with psycopg.connect(address, autocommit=True) as connection:
        yield Writer(connection, **facts)
