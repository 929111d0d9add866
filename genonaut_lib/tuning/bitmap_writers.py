"""What writers pay for the tag bitmap index: single-item inserts by several sessions, with it and without it.

Rounds with the triggers armed and disarmed follow one another (with, without, without, with, ...), so
that neither a slow minute of the machine nor the growth of the tables favours either side.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import errors

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CheckFailed
from genonaut_lib.tuning.bitmap_effort import Found, Place, over, spread
from genonaut_lib.tuning.bitmap_upkeep import TITLE, remove
from genonaut_lib.tuning.gallery_bench import viewers
from genonaut_lib.vocabulary import ContentSource

TAGS = 75
TARGET = 0.9
"""Of the rate without the index."""


@dataclass
class Round:
    """What one round of writers did: items, the seconds of all of it, milliseconds of each item, what went wrong."""

    armed: bool
    seconds: float = 0.0
    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    deadlocks: int = 0
    serialization_failures: int = 0


@dataclass(frozen=True)
class _Work:
    """What the sessions of a round write: whose items, with which tags; at `pace` seconds an item, or without one."""

    creator: uuid.UUID
    tags: Sequence[uuid.UUID]
    pace: float
    seconds: float


def measure_writers(place: Place) -> Found:
    """Insert at the wanted rate and then as fast as possible, armed and disarmed in turn."""
    effort, triggers = place.effort, marking_triggers(place.connection)
    creator, tags = viewers(place.connection)[0], _tags(place.connection)
    found = Found(details={"sessions": effort.sessions, "tags": len(tags), "round_s": effort.round_s})
    with _sessions(place) as sessions:
        for name, rate in (("at_rate", effort.rate), ("unbounded", 0.0)):
            pace = effort.sessions / rate if rate else 0.0
            work = _Work(creator, tags, pace, effort.round_s)
            place.say(f"writers {name.replace('_', ' ')}, {2 * effort.rounds} rounds of {effort.round_s:g} s")
            rounds = _rounds(place, sessions, triggers, work)
            _report(found, name, rounds)
    return found


def _rounds(place: Place, sessions: list[Connection], triggers: list[tuple[str, str]], work: _Work) -> list[Round]:
    """Return the rounds, all their items taken out again; one round to warm up is not among them."""
    order = [True, False, False, True] * -(-place.effort.rounds // 2)
    rounds: list[Round] = []
    try:
        for armed in [True, *order[: 2 * place.effort.rounds]]:
            with disarmed(place, [] if armed else triggers):
                rounds.append(_round(sessions, work, armed=armed))
    finally:
        remove(place, [item for one in rounds for item in one.ids])
    return rounds[1:]


def _round(sessions: list[Connection], work: _Work, *, armed: bool) -> Round:
    done, lock = Round(armed), threading.Lock()
    started = time.perf_counter()

    def write(no: int) -> None:
        mine = _write_until(sessions[no], work, started + work.pace * no / len(sessions), started + work.seconds)
        with lock:
            _add(done, mine)

    with ThreadPoolExecutor(len(sessions)) as pool:
        list(pool.map(write, range(len(sessions))))
    done.seconds = time.perf_counter() - started
    return done


def _write_until(connection: Connection, work: _Work, due: float, end: float) -> Round:
    """Write one item after another, each no sooner than it is due; one that comes late does not wait."""
    mine = Round(armed=False)
    while (now := time.perf_counter()) < end:
        if due > now:
            time.sleep(min(due, end) - now)
            continue
        due += work.pace
        _write(connection, work, mine)
    return mine


def _write(connection: Connection, work: _Work, mine: Round) -> None:
    started = time.perf_counter()
    try:
        mine.ids.append(_insert(connection, work))
    except errors.DeadlockDetected:
        mine.deadlocks += 1
    except errors.SerializationFailure:
        mine.serialization_failures += 1
    mine.times.append((time.perf_counter() - started) * 1000)


def _insert(connection: Connection, work: _Work) -> int:
    """Insert an item and its tags in one transaction, two statements, as an application does."""
    source = ContentSource.REGULAR
    with connection.transaction():
        values: dict[str, Any] = {"source": source.partition, "title": TITLE, "creator": work.creator}
        row = connection.execute(block("bitmap_bench", "insert_one").sql(), values).fetchone()
        assert row is not None
        values = {"id": row[0], "source": source.junction, "tags": list(work.tags)}
        connection.execute(block("bitmap_bench", "tag_one").sql(), values)
    return int(row[0])


def _add(whole: Round, part: Round) -> None:
    whole.ids += part.ids
    whole.times += part.times
    whole.deadlocks += part.deadlocks
    whole.serialization_failures += part.serialization_failures


def _report(found: Found, name: str, rounds: list[Round]) -> None:
    sides = {armed: [one for one in rounds if one.armed is armed] for armed in (True, False)}
    rates = {armed: _rate(of_side) for armed, of_side in sides.items()}
    figures = {
        f"{name}_ratio": over(rates[True], rates[False]),
        f"{name}_with_per_second": round(rates[True], 1),
        f"{name}_without_per_second": round(rates[False], 1),
        **spread(f"{name}_with", [time for one in sides[True] for time in one.times]),
        **spread(f"{name}_without", [time for one in sides[False] for time in one.times]),
        f"{name}_deadlocks": sum(one.deadlocks for one in rounds),
        f"{name}_serialization_failures": sum(one.serialization_failures for one in rounds),
    }
    pairs = zip(sides[True], sides[False], strict=True)
    found.figures |= figures
    found.targets[f"{name}_ratio"] = TARGET
    found.details[name] = [{"with": _rate([one]), "without": _rate([other])} for one, other in pairs]


def _rate(rounds: list[Round]) -> float:
    return sum(len(one.ids) for one in rounds) / sum(one.seconds for one in rounds)


@contextmanager
def _sessions(place: Place) -> Iterator[list[Connection]]:
    sessions: list[Connection] = []
    try:
        sessions.extend(engine.connect(place.settings) for _ in range(place.effort.sessions))
        yield sessions
    finally:
        for session in sessions:
            session.close()


@contextmanager
def disarmed(place: Place, triggers: list[tuple[str, str]]) -> Iterator[None]:
    """Switch the given triggers off for a block, which leaves an index that lacks what was written in it."""
    try:
        _switch(place, "disarm", triggers)
        yield
    finally:
        _switch(place, "rearm", triggers)


def _switch(place: Place, name: str, triggers: list[tuple[str, str]]) -> None:
    for table, trigger in triggers:
        statement = block("bitmap_bench", name).sql(table=table, trigger=trigger)
        run_ddl(place.connection, statement, place.settings.database)


def marking_triggers(connection: Connection) -> list[tuple[str, str]]:
    """Return what marks changes, as table and name; raise CheckFailed where nothing does."""
    found = connection.execute(block("bitmap_bench", "marking_triggers").sql()).fetchall()
    if not found:
        raise CheckFailed("No trigger marks what is written.", hint="Run 40_build_tag_bitmaps first.")
    return [(str(table), str(name)) for table, name in found]


def _tags(connection: Connection) -> list[uuid.UUID]:
    rows = connection.execute(block("bitmap_bench", "some_tags").sql(), {"limit": TAGS}).fetchall()
    return sorted(row[0] for row in rows)
