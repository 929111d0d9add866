"""The index under everybody at once: writers, sealing, builds and readers, each as fast as it can.

`SOAK_OPERATIONS` says how much is written in all, `FUZZ_SEED` what. What is read is compared with the
plain statements in the same snapshot; what writers of different items do must never clash.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from psycopg import errors

from genonaut_lib.db.pool import open_session
from genonaut_lib.errors import BitmapsBusy
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.migration import bitmap_build, bitmap_seal
from genonaut_lib.settings import Settings
from tests.gallery.bitmapped import KNOBS, SMALL, Plain, asked, compare, snapshot
from tests.gallery.built import DAYS, TAGS, Built, Template
from tests.gallery.oracle import Row
from tests.gallery.stirring import Op, drawn, writing

OPERATIONS = int(os.environ.get("SOAK_OPERATIONS", "400"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
WRITERS = 4
READERS = 4
STILL_ITEMS = 36_000
"""Items besides, which fill two chunks and begin a third one."""
SHARED = tuple(uuid.uuid5(uuid.NAMESPACE_DNS, f"shared {number}") for number in range(80))
OWN = tuple(
    tuple(uuid.uuid5(uuid.NAMESPACE_DNS, f"own {writer} {number}") for number in range(3)) for writer in range(WRITERS)
)
"""Tags that one writer alone gives to items, deletes and makes anew: deleting a tag concerns all who carry it."""
CLASHES = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)


@dataclass
class Soak:
    """A gallery of several chunks, whether its writers are done, and how often it was read and sealed."""

    gallery: Built
    done: threading.Event = field(default_factory=threading.Event)
    read: int = 0
    sealed: int = 0

    @property
    def settings(self) -> Settings:
        return self.gallery.settings

    def write(self, number: int) -> list[str]:
        """Do one writer's part; return the clashes it met."""
        assert self.settings.database_url is not None
        dice, address = random.Random(f"{SEED} {number}"), self.settings.database_url.get_secret_value()
        tags = {"carried": (*SHARED, *TAGS[:3], *OWN[number]), "doomed": OWN[number], "most_tags": 75}
        with writing(address, share=(number, WRITERS), lock_timeout_ms=60_000, **tags) as writer:
            if number % 2:
                writer.connection.execute("set default_transaction_isolation = 'repeatable read'")
            for _ in range(OPERATIONS // WRITERS):
                if not self.done.is_set():
                    writer.run(self.next_of(dice))
        clashes = [error for error in writer.refusals if isinstance(error, CLASHES)]
        return [f"{type(error).__name__}: {error} {error.diag.context}" for error in clashes]

    def next_of(self, dice: random.Random) -> Op:
        """Return what comes next: as often as not one new item with many tags."""
        return (
            drawn(dice)
            if dice.random() < 0.5
            else Op("insert", dice.randrange(999), dice.randrange(999), 75 + 76 * dice.randrange(12))
        )

    def again(self, work: Callable[[], object]) -> int:
        """Repeat some work until the writers are done; return how often it was done."""
        times = 0
        while not self.done.is_set():
            work()
            times += 1
        return times

    def seal(self) -> None:
        # A build that ranks every item on a busy machine may hold the index for longer than a seal waits.
        with contextlib.suppress(BitmapsBusy):
            bitmap_seal.seal(self.settings, items=50, force=True)
            self.sealed += 1

    def build(self) -> None:
        bitmap_build.build(self.settings, workers=1)

    async def ask(self, number: int, shared: Bitmaps, items: list[Row]) -> None:
        """Ask until the writers are done: most readers share one memory, one has none, one forgets."""
        dice = random.Random(f"{SEED} reader {number}")
        async with open_session(self.settings) as session:
            while not self.done.is_set():
                reader = {0: Bitmaps(SMALL), 1: Bitmaps(KNOBS)}.get(number, shared)
                async with snapshot(session):
                    for _ in range(3):
                        await compare(reader, Plain(session), asked(dice, items), facets=dice.random() < 0.2)
                        self.read += 1

    async def last_look(self) -> None:
        """Ask once more when all is quiet, before what is still marked is sealed and after."""
        dice, session = random.Random(SEED), self.gallery.session
        for _ in range(2):
            async with snapshot(session):
                for _ in range(20):
                    await compare(Bitmaps(KNOBS), Plain(session), asked(dice, self.gallery.oracle.rows[::200]))
            bitmap_seal.seal(self.settings, items=50, force=True)

    async def readers(self) -> None:
        shared = Bitmaps(KNOBS)
        async with asyncio.TaskGroup() as group:
            for number in range(READERS):
                group.create_task(self.ask(number, shared, self.gallery.oracle.rows[::200]))


@pytest.fixture
def soak(template: Template) -> Iterator[Soak]:
    """A gallery of three chunks with its index."""
    with template.copy() as gallery:
        enlarge(gallery)
        bitmap_build.build(gallery.settings, workers=1, least_share=0)
        gallery.look_again()
        yield Soak(gallery)


def enlarge(gallery: Built) -> None:
    """Add the still items, many of them at the same moment, with some of the tags that queries name."""
    new_tags = """
        insert into tags (id, tag_no, name, slug, label)
        select n.id, (select coalesce(max(tag_no), 0) from tags) + row_number() over (), n.id, n.id, n.id
        from unnest(%s::uuid[]) n (id)
    """
    items = """
        insert into content_items_all (id, source_type, title, content_type, content_data, prompt, creator_id,
                                       is_private, created_at)
        select 100000 + n, case when n %% 3 = 0 then 'auto' else 'items' end, 'still', 'text', '', 'cat', u.id,
               n %% 11 = 0, %s + (n %% 1000) * interval '37 seconds'
        from generate_series(1, %s) n
        join (select id, row_number() over (order by username) - 1 as place from users) u
          on u.place = n %% (select count(*) from users)
    """
    links = """
        insert into content_tags (content_id, content_source, tag_id)
        select i.id, case i.source_type when 'auto' then 'auto' else 'regular' end, t.id
        from content_items_all i
        join unnest(%s::uuid[]) with ordinality t (id, place) on i.id %% (t.place + 2) = 0
        where i.id > 100000
    """
    gallery.connection.execute(new_tags, [[*SHARED, *(tag for tags in OWN for tag in tags)]])
    gallery.connection.execute(items, [DAYS[0] - timedelta(hours=3), STILL_ITEMS])
    gallery.connection.execute(links, [list(TAGS[:6])])
    gallery.connection.execute("analyze")


@pytest.mark.timeout(7200)
def test_everybody_at_once_reads_the_truth_and_no_writers_clash(soak: Soak) -> None:
    """Not one page, total or facet differs from the plain statement's; not one writer waits in vain or starts anew."""
    with ThreadPoolExecutor(WRITERS + 2) as threads, asyncio.Runner() as runner:
        try:
            sealed, built = threads.submit(soak.again, soak.seal), threads.submit(soak.again, soak.build)
            writers = [threads.submit(soak.write, number) for number in range(WRITERS)]
            threading.Thread(target=wait_for, args=(writers, soak.done)).start()
            runner.run(soak.readers())
        finally:
            soak.done.set()
    assert [clash for writer in writers for clash in writer.result()] == []
    sealed.result()
    assert min(soak.sealed, built.result(), soak.read) > 0
    soak.gallery.run(soak.last_look())


def wait_for(futures: list[Future[list[str]]], done: threading.Event) -> None:
    """Say that all is done once each of them is, however it ended."""
    for future in futures:
        with contextlib.suppress(Exception):
            future.result()
    done.set()
