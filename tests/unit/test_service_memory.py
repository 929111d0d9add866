"""What a process of the service remembers, and for how long."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping

import pytest

from genonaut_lib.errors import QueryTimedOut
from genonaut_lib.gallery.holdings import Holdings
from genonaut_lib.service import stats_memory
from genonaut_lib.service.fleeting import Fleeting
from genonaut_lib.service.stats_memory import StatsMemory
from genonaut_lib.service.tag_names import TagNames

ADA, GRACE = uuid.UUID(int=1), uuid.UUID(int=2)


class Counting:
    """Counts how often it was asked to count; waits while `held` is closed, and fails while `fails`."""

    def __init__(self) -> None:
        self.times = 0
        self.held = asyncio.Event()
        self.held.set()
        self.fails = False

    async def __call__(self, viewer: uuid.UUID | None) -> Holdings:
        self.times += 1
        number = self.times
        await self.held.wait()
        if self.fails:
            raise QueryTimedOut
        return Holdings(number, 0, 0, 0)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for a test."""
    with asyncio.Runner() as found:
        yield found


def test_a_viewer_is_counted_for_once_however_many_ask(runner: asyncio.Runner) -> None:
    """At the same time, and while the counts are fresh; another viewer is another question."""

    async def asked() -> int:
        counting = Counting()
        memory = StatsMemory(counting, 60)
        await asyncio.gather(*(memory.current(ADA) for _ in range(5)), *(memory.soon(ADA) for _ in range(5)))
        await memory.current(ADA)
        await memory.current(GRACE)
        return counting.times

    assert runner.run(asked()) == 2


def test_counts_are_made_anew_once_they_are_old(runner: asyncio.Runner) -> None:
    """With nothing to be remembered, each time."""

    async def asked() -> list[int]:
        memory = StatsMemory(Counting(), 0)
        return [(await memory.current(None)).holdings.user_regular for _ in range(3)]

    assert runner.run(asked()) == [1, 2, 3]


def test_a_page_does_not_wait_for_newer_counts(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows the last ones while newer are being made, and these once they are."""
    monkeypatch.setattr(stats_memory, "SHOWN_TIMES", 10_000)

    async def asked() -> list[int]:
        counting = Counting()
        memory = StatsMemory(counting, 0.05)
        shown = [await memory.soon(ADA)]
        counting.held.clear()
        await asyncio.sleep(0.1)
        shown.append(await memory.soon(ADA))
        counting.held.set()
        shown.append(await memory.current(ADA))
        return [found.holdings.user_regular for found in shown if found is not None]

    assert runner.run(asked()) == [1, 1, 2]


def test_a_page_goes_out_without_counts_that_take_long(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown is None; counting goes on, and closing ends it."""
    monkeypatch.setattr(stats_memory, "FIRST_WAIT_S", 0.01)

    async def asked() -> object:
        counting = Counting()
        counting.held.clear()
        memory = StatsMemory(counting, 60)
        found = await memory.soon(ADA)
        await memory.close()
        return found

    assert runner.run(asked()) is None


def test_counts_that_fail_are_said_and_tried_again(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    """A page goes out without them; who asks for them alone is refused."""

    async def asked() -> object:
        counting = Counting()
        counting.fails = True
        memory = StatsMemory(counting, 60)
        assert await memory.soon(ADA) is None
        with pytest.raises(QueryTimedOut):
            await memory.current(ADA)
        counting.fails = False
        return (await memory.current(ADA)).holdings.user_regular

    with caplog.at_level(logging.WARNING, logger="genonaut.service"):
        assert runner.run(asked()) == 3
    assert "could not be counted" in caplog.text


def test_names_are_read_once_while_they_are_fresh(runner: asyncio.Runner) -> None:
    """Those that are missing, all at once; a tag that is no more has none, and is passed over."""
    asked: list[set[uuid.UUID]] = []

    async def read(tags: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
        asked.append(set(tags))
        return {tag: name for tag, name in ((ADA, "b"), (GRACE, "a")) if tag in tags}

    names, gone = TagNames(read, 60), uuid.UUID(int=3)
    assert runner.run(names.of_rows([[ADA], []])) == [["b"], []]
    assert runner.run(names.of_rows([[ADA, GRACE, gone], [GRACE]])) == [["a", "b"], ["a"]]
    assert runner.run(names.of_rows([[GRACE, ADA]])) == [["a", "b"]]
    assert asked == [{ADA}, {GRACE, gone}]


def test_a_short_memory_forgets_by_time_and_by_number() -> None:
    """All at once, so that nothing in it is older than it may be."""
    nothing, little = Fleeting[str, int](0, 10), Fleeting[str, int](60, 2)
    nothing.current()["a"] = 1
    assert nothing.current() == {}
    little.current().update(a=1)
    assert little.current() == {"a": 1}
    little.current().update(b=2)
    assert little.current() == {}
