"""The index against the oracle through whatever may befall it, in any order that hypothesis thinks of.

Every rule is followed by an audit: a reader who has seen everything since the beginning must know every
item as the tables have it. Further readers ask now and then, in snapshots of now and of long ago.
`MACHINE_RUNS` says how many stories are told, `FUZZ_SEED` which ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from genonaut_lib.db.pool import open_session
from genonaut_lib.errors import BitmapsBusy
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.migration import bitmap_build, bitmap_seal
from genonaut_lib.settings import Settings
from tests.gallery import bitmapped
from tests.gallery.bitmapped import KNOBS, SMALL, Seen, audit, between_statements, compare, impatient, seen, snapshot
from tests.gallery.built import Template
from tests.gallery.queries import queries
from tests.gallery.stirring import CHANGES, MOST, Op, Writer, writing

RUNS = int(os.environ.get("MACHINE_RUNS", "12"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SHARDS = 4
STEPS = 25

number = st.integers(0, MOST - 1)
ops = st.builds(Op, st.sampled_from(sorted(CHANGES)), number, number, number)
meanwhile = st.dictionaries(st.integers(0, 60), ops | st.builds(Op, st.just("seal"), number), max_size=4)
"""What others do before the statement of that number."""
shares = st.sampled_from((0.0, 0.2, 0.6, 1.0))
slots = st.integers(0, 1)
READERS = ("long", "fresh", "small", "sleeper")


class Killed(Exception):
    """Stands for the end of the process in the middle of its work."""


class Machine(RuleBasedStateMachine):
    """One gallery and its index, two writers with open transactions, two snapshots kept, four readers."""

    template: ClassVar[Template]

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.gallery = self.stack.enter_context(self.template.copy())
        self.settings: Settings = impatient(self.gallery.settings)
        self.writers = [self.writer() for _ in range(3)]
        self.taken_back: list[Op] = []
        self.views: dict[int, Seen] = {}
        self.readers = {name: Bitmaps(SMALL if name == "small" else KNOBS) for name in READERS}
        self.sessions = [self.session() for _ in range(3)]
        self.now = self.look()

    def writer(self) -> Writer:
        address = self.settings.database_url
        assert address is not None
        return self.stack.enter_context(writing(address.get_secret_value()))

    def session(self) -> psycopg.AsyncConnection:
        opened = contextlib.AsyncExitStack()
        self.stack.callback(lambda: self.gallery.run(opened.aclose()))
        return self.gallery.run(opened.enter_async_context(open_session(self.settings)))

    def teardown(self) -> None:
        self.stack.close()

    def look(self) -> Seen:
        return seen(self.gallery, self.sessions[2])

    def act(self, op: Op) -> None:
        """Let somebody else do something, now and to its end."""
        if op.name == "seal":
            with contextlib.suppress(psycopg.errors.LockNotAvailable, BitmapsBusy):
                bitmap_seal.seal(self.settings, items=1 + op.a % 20, force=True)
        elif not self.writers[0].run(op):
            self.taken_back.append(op)

    @contextlib.contextmanager
    def among_others(self, others: dict[int, Op], killed: int | None) -> Iterator[None]:
        """Let others act between the statements of a block, and end it before one of them."""

        def act(statement: int) -> None:
            if statement in others:
                self.act(others[statement])
            if statement == killed:
                raise Killed

        # A build's sessions have threads of their own, where nothing can be noted.
        with contextlib.suppress(Killed), between_statements(act):
            yield
        note(f"taken back: {self.taken_back}")
        self.now = self.look()

    @rule(op=ops)
    def write(self, op: Op) -> None:
        """Change something at once."""
        self.act(op)
        note(f"taken back: {self.taken_back}")
        self.now = self.look()

    @rule(who=slots, op=ops, isolation=st.sampled_from(("read committed", "repeatable read", "serializable")))
    def write_later(self, who: int, op: Op, isolation: str) -> None:
        """Change something in a transaction that stays open."""
        writer = self.writers[1 + who]
        if writer.connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
            writer.begin(isolation)
        note(f"{op} {'done' if writer.run(op) else 'taken back'}")

    @rule(who=slots, word=st.sampled_from(("commit", "commit", "rollback")))
    def end(self, who: int, word: str) -> None:
        """End that transaction."""
        with contextlib.suppress(psycopg.errors.SerializationFailure):
            if self.writers[1 + who].connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
                self.writers[1 + who].connection.execute(word.encode())
        self.now = self.look()

    @rule(items=st.sampled_from((None, 1, 4, 50)), others=meanwhile, killed=st.none() | st.integers(0, 30))
    def seal(self, items: int | None, others: dict[int, Op], killed: int | None) -> None:
        """Seal what is marked, while others act; perhaps not to the end."""
        with self.among_others(others, killed):
            bitmap_seal.seal(self.settings, items=items, force=True)

    @rule(share=shares, others=meanwhile, killed=st.none() | st.integers(0, 60))
    def rebuild(self, share: float, others: dict[int, Op], killed: int | None) -> None:
        """Build the index anew, while others act; perhaps not to the end."""
        with self.among_others(others, killed):
            bitmap_build.build(self.settings, workers=1, least_share=share)

    @rule(slot=slots)
    def keep(self, slot: int) -> None:
        """Take a snapshot and stay in it."""
        session = self.sessions[slot]
        self.gallery.run(session.execute("rollback" if slot in self.views else "select 1"))
        self.gallery.run(session.execute("begin isolation level repeatable read, read only"))
        self.gallery.run(session.execute("select 1"))
        self.views[slot] = Seen(session, self.now.oracle, self.now.names)

    @rule(data=st.data(), name=st.sampled_from(READERS), facets=st.booleans())
    def ask(self, data: st.DataObject, name: str, facets: bool) -> None:
        """Ask anything, of any reader."""
        query = data.draw(queries(self.now.oracle))
        self.gallery.run(self.in_snapshot(compare(self.reader(name), self.now, query, facets=facets)))

    @precondition(lambda self: self.views)
    @rule(data=st.data(), name=st.sampled_from(READERS))
    def ask_the_past(self, data: st.DataObject, name: str) -> None:
        """Ask anything in a snapshot that was kept."""
        view = self.views[data.draw(st.sampled_from(sorted(self.views)))]
        query = data.draw(queries(view.oracle))
        self.gallery.run(compare(self.reader(name), view, query))

    @rule(name=st.sampled_from(READERS))
    def audit_together(self, name: str) -> None:
        """Let one reader audit all snapshots at the same time: its memory serves every one of them."""

        async def together() -> None:
            reader = self.reader(name)
            await asyncio.gather(*(audit(reader, view, thorough=True) for view in (*self.views.values(), self.now)))

        self.gallery.run(self.in_snapshot(together()))

    def reader(self, name: str) -> Bitmaps:
        if name == "fresh":
            self.readers[name] = Bitmaps(KNOBS)
        return self.readers[name]

    async def in_snapshot(self, work) -> None:
        async with snapshot(self.now.session):
            await work

    @invariant()
    def the_long_lived_reader_knows_everything(self) -> None:
        self.gallery.run(self.in_snapshot(audit(self.readers["long"], self.now)))


@pytest.fixture(scope="module")
def sealed(template: Template) -> Iterator[Template]:
    """The gallery with its index, to be copied."""
    with bitmapped.template(template) as found:
        yield found


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_story_makes_the_index_tell_anything_but_the_truth(shard: int, sealed: Template) -> None:
    """Whatever is written, sealed, built, ended, killed and asked, in whatever order."""
    told = type("Told", (Machine,), {"template": sealed})
    unhurried = settings(
        max_examples=max(1, RUNS // SHARDS), stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink], print_blob=False,
    )  # fmt: skip
    run_state_machine_as_test(seed(SEED * SHARDS + shard)(told), settings=unhurried)
