"""Every moment of a sealing, a build and a reading: what happens between any two statements changes no answer."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.errors import BitmapsBusy, BitmapsUnavailable
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.migration import bitmap_build, bitmap_seal
from genonaut_lib.settings import Settings
from tests.gallery import bitmapped
from tests.gallery.bitmapped import KNOBS, asked, audit, between_reads, between_statements, compare, impatient, seen
from tests.gallery.bitmapped import snapshot as in_snapshot
from tests.gallery.built import Built, Template
from tests.gallery.stirring import Op, Writer, drawn, writing

MOMENTS = int(os.environ.get("MOMENTS", "10"))
"""How many moments are tried of each kind, drawn at random; a large number means every one."""
SHORT_WAIT_MS = 200
"""How long a seal waits for a build that stands still because of it."""


class Killed(Exception):
    """Stands for the end of the process in the middle of its work."""


@dataclass
class Index:
    """A gallery with its index, somebody who changes it, and a reader who has seen everything."""

    gallery: Built
    settings: Settings
    writer: Writer
    slow: Writer
    second: AsyncConnection
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    long: Bitmaps = field(default_factory=lambda: Bitmaps(KNOBS))

    def stir(self, changes: int = 3) -> None:
        done = [self.writer.run(drawn(self.dice)) for _ in range(changes)]
        assert any(done), self.writer.refusals

    def seal(self, items: int | None = None) -> None:
        bitmap_seal.seal(self.settings, items=items, force=True)

    def build(self) -> None:
        bitmap_build.build(self.settings, workers=1, least_share=self.dice.choice((0.0, 0.3)))

    def audit(self, session: AsyncConnection | None = None) -> None:
        """Let the long-lived reader and one without memories tell all they know."""
        self.gallery.run(self.audited(session or self.gallery.session))

    async def audited(self, session: AsyncConnection) -> None:
        now = seen(self.gallery, session)
        async with in_snapshot(session):
            for reader in (self.long, Bitmaps(KNOBS)):
                await audit(reader, now)


@pytest.fixture(scope="module")
def sealed(template: Template) -> Iterator[Template]:
    """The gallery with its index, to be copied."""
    with bitmapped.template(template) as found:
        yield found


@pytest.fixture
def index(sealed: Template, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """A gallery with its index."""
    monkeypatch.setattr(bitmap_seal, "LOCK_WAIT_MS", SHORT_WAIT_MS)
    with sealed.copy() as gallery, contextlib.ExitStack() as stack:
        settings = impatient(gallery.settings)
        assert settings.database_url is not None
        address = settings.database_url.get_secret_value()
        writers = [stack.enter_context(writing(address)) for _ in range(2)]
        opened = contextlib.AsyncExitStack()
        stack.callback(lambda: gallery.run(opened.aclose()))
        yield Index(gallery, settings, *writers, gallery.run(opened.enter_async_context(open_session(settings))))


def sealing(index: Index) -> None:
    index.seal()


def sealing_in_batches(index: Index) -> None:
    index.seal(items=8)


def building(index: Index) -> None:
    index.build()


WORK = (sealing, sealing_in_batches, building)


def moments_of(index: Index, work: Callable[[Index], None]) -> list[int]:
    """Do the work once and return some of the numbers of its statements."""
    numbers: list[int] = []
    index.stir()
    with between_statements(numbers.append):
        work(index)
    return sorted(index.dice.sample(numbers, min(len(numbers), MOMENTS)))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("work", WORK)
def test_what_is_written_at_any_moment_of_the_work_is_told_at_once_and_later(
    work: Callable[[Index], None], index: Index
) -> None:
    """Between any two statements somebody writes, and everybody reads; nobody reads anything but the truth."""
    for moment in moments_of(index, work):
        index.stir()

        def act(statement: int, moment: int = moment) -> None:
            if statement == moment:
                index.stir(2)
                index.audit()

        with between_statements(act):
            work(index)
        index.audit()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("work", WORK)
def test_work_that_ends_at_any_moment_leaves_the_truth_behind(work: Callable[[Index], None], index: Index) -> None:
    """Killed between any two statements, and begun anew: what was is read as before, and nothing is lost."""
    for moment in moments_of(index, work):
        index.stir()

        def kill(statement: int, moment: int = moment) -> None:
            if statement == moment:
                raise Killed

        with contextlib.suppress(Killed), between_statements(kill):
            work(index)
        index.audit()
    work(index)
    index.audit()


@pytest.mark.timeout(3600)
def test_a_seal_at_any_moment_of_a_build_loses_no_change(index: Index) -> None:
    """What is sealed into the old epoch while the new one is built is not lost when the new one serves."""
    for moment in moments_of(index, building):
        index.stir()

        def act(statement: int, moment: int = moment) -> None:
            if statement == moment:
                index.stir(2)
                with contextlib.suppress(psycopg.errors.LockNotAvailable, BitmapsBusy):
                    index.seal()
                index.stir(1)

        with between_statements(act):
            index.build()
        index.audit()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("work", [*WORK, None])
def test_a_reading_is_of_one_snapshot_whatever_happens_between_its_statements(
    work: Callable[[Index], None] | None, index: Index
) -> None:
    """While one task reads, the index is changed and another task reads anew with the same memory: both are right."""
    for moment in range(MOMENTS):
        index.stir()
        index.gallery.run(read_among_others(index, moment, work))


async def read_among_others(index: Index, moment: int, work: Callable[[Index], None] | None) -> None:
    before = seen(index.gallery, index.second)
    queries = [GalleryQuery(), *(asked(index.dice, before.oracle.rows) for _ in range(2))]

    async def act(statement: int) -> None:
        if statement == moment:
            index.stir(2)
            if work is not None:
                work(index)
            await index.audited(index.gallery.session)

    async with in_snapshot(index.second):
        with between_reads(act):
            for query in queries:
                await compare(index.long, before, query)


def test_what_a_later_snapshot_read_of_a_tag_without_bitmaps_is_not_told_in_an_earlier_one(index: Index) -> None:
    """Such a tag's items are read as they are in a snapshot, and remembered; no version tells the two apart."""
    bitmap_build.build(index.settings, workers=1, least_share=1)
    for _ in range(MOMENTS):
        index.gallery.run(look_back(index))


async def look_back(index: Index) -> None:
    # A reader who remembers such a tag from before reads it no more in the later snapshot.
    reader, before, session = Bitmaps(KNOBS), seen(index.gallery, index.second), index.gallery.session
    async with in_snapshot(index.second):
        assert index.writer.run(Op(index.dice.choice(("tag_many", "untag")), index.dice.randrange(99), 19, 5))
        async with in_snapshot(session):
            await audit(reader, seen(index.gallery, session), thorough=True)
        await audit(reader, before, thorough=True)


@pytest.mark.parametrize("word", ["commit", "rollback"])
def test_what_was_written_long_before_its_transaction_ended_is_told_then(word: str, index: Index) -> None:
    """A transaction's number says nothing of when it ends: others began later, ended earlier, and were read."""
    for moment in range(MOMENTS):
        index.slow.begin("repeatable read" if moment % 3 else "read committed")
        assert index.slow.run(Op(("hide", "tag_many", "move", "insert")[moment % 4], moment, moment, moment + 5))
        index.stir()
        index.audit()
        index.slow.connection.execute(word.encode())
        index.audit()


@pytest.mark.parametrize("table", ["content_items_all", "content_items", "content_items_auto", "content_tags"])
def test_an_emptied_table_ends_the_service_until_the_next_build(table: str, index: Index) -> None:
    """TRUNCATE names no items, so nothing could be marked; not even a reader with memories answers."""
    index.audit()
    index.gallery.connection.execute(f"truncate {table} cascade".encode())
    for reader in (index.long, Bitmaps(KNOBS)):
        with pytest.raises(BitmapsUnavailable):
            index.gallery.run(unserved(reader, index.second))
    index.build()
    index.audit()


async def unserved(reader: Bitmaps, session: AsyncConnection) -> None:
    async with in_snapshot(session):
        await reader.page(session, GalleryQuery(), total=True)
