"""Application instances as threads: what they write into arrays or junction, and what they know they wrote."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import errors, sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.vocabulary import ContentSource, tag_id

NAMES = ("a", "b", "c", "d", "e")
TAGS = [tag_id(name) for name in NAMES]
PATIENCE_S = 30.0
REFUSALS = (errors.ObjectNotInPrerequisiteState, errors.InsufficientPrivilege)
"""What tells an instance that tags are written elsewhere by now: a read-only array, a junction without a right."""
HELD_UP = (errors.DeadlockDetected, errors.LockNotAvailable)

Item = tuple[ContentSource, int]
Tags = frozenset[uuid.UUID]


def write_array(connection: Connection, item: Item, tags: Tags) -> None:
    """Retag as the version before the cut over does."""
    statement = sql.SQL("update {} set tags = %s where id = %s").format(sql.Identifier(item[0].table))
    connection.execute(statement, [sorted(tags), item[1]])


def write_junction(connection: Connection, item: Item, tags: Tags) -> None:
    """Retag as the version after the cut over does."""
    values = {"source": item[0].junction, "id": item[1], "tags": sorted(tags)}
    with connection.transaction():
        connection.execute(
            "delete from content_tags where content_id = %(id)s and content_source = %(source)s"
            " and tag_id <> all (%(tags)s)",
            values,
        )
        connection.execute(
            "insert into content_tags (content_id, content_source, tag_id)"
            " select %(id)s, %(source)s, unnest(%(tags)s::uuid[]) on conflict do nothing",
            values,
        )


def in_arrays(connection: Connection) -> dict[Item, Tags]:
    """Every item's tags as its array says."""
    rows = [
        ((source, item), frozenset(tags))
        for source in ContentSource
        for item, tags in connection.execute(f"select id, tags from {source.table}").fetchall()  # type: ignore[arg-type]
    ]
    return dict(rows)


def in_junction(connection: Connection) -> dict[Item, Tags]:
    """Every item's tags as the junction says."""
    found: dict[Item, set[uuid.UUID]] = {item: set() for item in in_arrays(connection)}
    sources = {source.junction: source for source in ContentSource}
    for item, source, tag in connection.execute("select content_id, content_source, tag_id from content_tags"):
        found[sources[source], item].add(tag)
    return {item: frozenset(tags) for item, tags in found.items()}


@dataclass
class Writer(threading.Thread):
    """An application that retags its own items, and deploys its other version when it is refused.

    `written` is what it knows to be committed; `before` and `after` count its writes by version.
    """

    connection: Connection
    items: list[Item]
    seed: int
    ways: tuple[Callable[[Connection, Item, Tags], None], ...] = (write_array, write_junction)
    written: dict[Item, Tags] = field(default_factory=dict)
    counts: list[int] = field(default_factory=lambda: [0, 0])
    unexpected: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread.__init__(self, daemon=True)
        self.stopped = threading.Event()
        self.dice = random.Random(self.seed)

    __hash__ = object.__hash__

    def run(self) -> None:
        """Write until stopped; anything but a refusal or a held up write is kept for the test to see."""
        version = 0
        try:
            while not self.stopped.is_set():
                version = self.write(version)
        except BaseException as error:
            self.unexpected.append(error)
            raise

    def write(self, version: int) -> int:
        """Retag one item; return the version to go on with."""
        item = self.dice.choice(self.items)
        tags = frozenset(self.dice.sample(TAGS, self.dice.randint(0, len(TAGS))))
        try:
            self.ways[version](self.connection, item, tags)
        except REFUSALS:
            assert version == 0
            return 1
        except HELD_UP:
            return version
        self.written[item] = tags
        self.counts[version] += 1
        return version

    def wait(self, version: int, more: int) -> None:
        """Return once that version wrote so many more times."""
        target, deadline = self.counts[version] + more, time.monotonic() + PATIENCE_S
        while self.counts[version] < target and not self.unexpected:
            assert time.monotonic() < deadline, f"{self.counts} writes, wanted {target} of version {version}"
            time.sleep(0.002)


@contextmanager
def at_work(
    open_session: Callable[[], Connection], items: list[Item], *ways: Callable[[Connection, Item, Tags], None]
) -> Iterator[list[Writer]]:
    """Two writers, each with half of the items, stopped at the end; their errors fail the test."""
    writers = [Writer(open_session(), items[place::2], seed=place, ways=ways) for place in range(2)]
    for writer in writers:
        writer.start()
    try:
        for writer in writers:
            writer.wait(0, 5)
        yield writers
    finally:
        for writer in writers:
            writer.stopped.set()
            writer.join(PATIENCE_S)
    assert [error for writer in writers for error in writer.unexpected] == []


def expected(start: dict[Item, Tags], writers: list[Writer]) -> dict[Item, Tags]:
    """What the items carry once every committed write counts."""
    return start | {item: tags for writer in writers for item, tags in writer.written.items()}
