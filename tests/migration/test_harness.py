"""One harness for every registered phase: stopped after each step, written upon, taken back, applied again.

What is left after an undo is compared with a twin: a copy of the same database in which nothing was
ever migrated and the same application wrote the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import pytest

from genonaut_lib.errors import CannotUndo, CheckFailed, ConfirmationMissing, GateClosed
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.migration.phases import PHASES, Context, Phase, SchemaPhase
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.plan import Verification
from genonaut_lib.migration.runner import apply_plan, undo_phase
from tests.migration.harness import Application, Databases, Kill, picture, schema_of
from tests.migration.test_phases import apply, confirmed

EMPTIED_BY_UNDO = {
    "backfill_tag_uuids": {"content_items": {"tags"}, "content_items_auto": {"tags"}},
    "backfill_content_tags": {"content_tags": {"content_id", "content_source", "tag_id"}},
}
"""What undoing a backfill empties of what the application wrote as well, since nobody can tell it from
what the backfill wrote. Nothing is lost: the names, or the arrays, which are compared, say the same."""

SCHEMA_PHASES = [name for name, phase in PHASES.items() if isinstance(phase, SchemaPhase)]
IRREVERSIBLE = [
    name
    for name, phase in PHASES.items()
    if isinstance(phase, SchemaPhase) and not all(step.reversible for step in phase.actions())
]
REVERSIBLE = [name for name in PHASES if name not in IRREVERSIBLE]


@pytest.fixture(scope="module")
def databases(admin_url: str) -> Iterator[Databases]:
    """The state before each phase, once for all tests of this module."""
    made = Databases(admin_url)
    try:
        made.build()
        yield made
    finally:
        for name in list(made.made):
            made.drop(name)


@dataclass
class Case:
    """A phase between two databases: `gallery` is migrated, `twin` never is; an application writes into both."""

    phase: Phase
    databases: Databases
    copy: str
    gallery: Context
    twin: Context
    turns: int = 0
    ids: dict[str, int] = field(default_factory=dict)

    def write(self) -> None:
        """Write into the gallery as it stands, and the same, with the same ids, into the twin."""
        for one in (self.gallery, self.twin):
            Application(one.connection, self.ids).write(self.turns)
        self.turns += 1

    def apply_until(self, step: int) -> bool:
        """Apply and kill it after a step; return whether it got to its end before that."""
        return stopped_apply(self.databases, self.copy, self.phase, step)

    def undo_until(self, step: int) -> bool:
        """Undo and kill it after a step; return whether it got to its end before that."""
        kill = Kill(step)
        with self.databases.context(self.copy, kill.step) as context, kill.armed():
            undo_phase(self.phase, context)
        return not kill.struck

    def undo(self) -> None:
        undo_phase(self.phase, self.gallery)

    def something_left(self) -> bool:
        """Whether a killed undo has something left to do; one of a data phase begins anew in any case."""
        connection = self.gallery.connection
        if not isinstance(self.phase, SchemaPhase):
            return True
        return self.phase.begun(connection) or revisions.at_least(connection, self.phase.revision)

    def beyond_return(self) -> bool:
        """Whether a statement that cannot be taken back was carried out."""
        actions = self.phase.actions() if isinstance(self.phase, SchemaPhase) else []
        return any(step.is_done(self.gallery.connection) for step in actions if not step.reversible)

    def assert_undone(self) -> None:
        """Rows and schema objects one by one, so that a difference names itself."""
        emptied = EMPTIED_BY_UNDO.get(self.phase.name, {})
        pictures = [picture(one.connection).without(emptied) for one in (self.gallery, self.twin)]
        found, wanted = (one.unordered() if self.phase.name == "cut_over" else one for one in pictures)
        for table in wanted.rows:
            assert found.rows[table] == wanted.rows[table]
        for kind in wanted.schema:
            assert found.schema[kind] == wanted.schema[kind]
        assert found == wanted

    def assert_undo_refused(self) -> None:
        before = picture(self.gallery.connection)
        with pytest.raises(CannotUndo):
            self.undo()
        assert picture(self.gallery.connection) == before

    def assert_applied(self) -> None:
        """Apply to the end and verify; every schema object is what an unbroken apply makes."""
        apply(self.gallery, self.phase.name)
        assert schema_of(self.gallery.connection) == self.databases.schema_after(self.phase.name)


def stopped_apply(databases: Databases, copy: str, phase: Phase, after: int) -> bool:
    """Apply a phase on a session of its own, kill it after some steps; return whether it got to its end."""
    kill = Kill(after)
    with databases.context(copy, kill.step) as context, kill.armed():
        apply_plan(phase, context, phase.plan(context))
    return not kill.struck


@contextmanager
def case(name: str, databases: Databases) -> Iterator[Case]:
    """Yield a phase with two copies of the state before it."""
    phase, state = confirmed(PHASES[name]), databases.before[name]
    with (
        databases.copy(state) as copy,
        databases.copy(state) as other,
        databases.context(copy) as gallery,
        databases.context(other) as twin,
    ):
        yield Case(phase, databases, copy, gallery, twin)


@contextmanager
def after_step(step: int) -> Iterator[None]:
    """Say in a failure after which step the kill struck."""
    try:
        yield
    except Exception as failure:
        failure.add_note(f"killed after step {step}")
        raise


@pytest.mark.parametrize("name", REVERSIBLE)
def test_every_step_can_be_written_upon_and_taken_back(name: str, databases: Databases) -> None:
    """Kill the apply after step k, write, undo: as if it had never begun. Write, and it can be applied whole."""
    with case(name, databases) as found:
        for step in count(1):
            whole = found.apply_until(step)
            with after_step(step):
                found.write()
                found.undo()
                found.assert_undone()
                found.write()
                found.assert_applied()
            if whole:
                break
            found.undo()


@pytest.mark.parametrize("name", IRREVERSIBLE)
def test_what_cannot_be_undone_can_be_up_to_the_point_of_no_return(name: str, databases: Databases) -> None:
    """Before it, undo takes every step back; from it on, undo is refused and changes nothing. Apply goes on."""
    for step in count(1):
        with case(name, databases) as found:
            whole = found.apply_until(step)
            found.write()
            with after_step(step):
                if found.beyond_return():
                    found.assert_undo_refused()
                else:
                    found.undo()
                    found.assert_undone()
                found.write()
                found.assert_applied()
        if whole:
            break


@pytest.mark.parametrize("name", REVERSIBLE)
def test_an_undo_can_be_killed_and_begun_again_or_turned_back(name: str, databases: Databases) -> None:
    """Kill the undo after step k, write, undo: as if the phase had never been. Kill it again, apply: it is whole."""
    with case(name, databases) as found:
        found.assert_applied()
        for step in count(1):
            found.write()
            whole = found.undo_until(step)
            with after_step(step):
                found.write()
                if found.something_left():
                    found.undo()
                found.assert_undone()
                found.assert_applied()
                found.undo_until(step)
                found.assert_applied()
            if whole:
                break


def test_a_half_done_backfill_whose_undo_was_killed_begins_anew(databases: Databases) -> None:
    """The checkpoints stand for rows that the undo emptied again; going on from them would leave those empty."""
    with case("backfill_tag_uuids", databases) as found:
        assert not found.apply_until(4)
        assert not found.undo_until(1)
        found.assert_applied()


@pytest.mark.parametrize("name", SCHEMA_PHASES)
def test_a_phase_that_was_not_begun_is_not_undone(name: str, databases: Databases) -> None:
    """Before its first step there is nothing to take back, and the record says nothing of an undo."""
    with databases.context(databases.before[name]) as gallery:
        before = ledger.last_verification(gallery.connection, name)
        with pytest.raises(CannotUndo, match="not applied"):
            undo_phase(PHASES[name], gallery)
        assert ledger.last_verification(gallery.connection, name) == before


@pytest.mark.parametrize("name", SCHEMA_PHASES[1:])
def test_a_half_applied_phase_keeps_what_it_stands_on(name: str, databases: Databases) -> None:
    """The phase before it is not undone from under it, neither by the command nor by plain alembic."""
    below = PHASES[SCHEMA_PHASES[SCHEMA_PHASES.index(name) - 1]]
    with databases.copy(databases.before[name]) as copy:
        assert not stopped_apply(databases, copy, confirmed(PHASES[name]), 1)
        with databases.context(copy) as gallery:
            before = picture(gallery.connection)
            with pytest.raises(CannotUndo, match=f"{name} was begun"):
                undo_phase(below, gallery)
            assert isinstance(below, SchemaPhase)
            with pytest.raises(CannotUndo, match=f"{name} was begun"):
                revisions.downgrade(gallery.settings, below.before)
            assert picture(gallery.connection) == before


def test_a_half_applied_drop_still_wants_its_gate_and_its_confirmation(databases: Databases) -> None:
    """What a killed start confirmed and was verified for does not carry over to the next start."""
    phase = DropLegacyTags()
    with databases.copy(databases.before[phase.name]) as copy, databases.context(copy) as gallery:
        for step in count(1):
            if stopped_apply(databases, copy, confirmed(phase), step):
                break
            before = picture(gallery.connection)
            assert_refused_unconfirmed(phase, gallery)
            ledger.record_undo(gallery.connection, "backfill_tag_uuids", None)
            assert_refused_unverified(phase, gallery)
            assert picture(gallery.connection) == before
            ledger.record_verification(gallery.connection, Verification("backfill_tag_uuids", 1, 0), None)


def assert_refused_unconfirmed(phase: DropLegacyTags, gallery: Context) -> None:
    with pytest.raises(ConfirmationMissing):
        apply_plan(phase, gallery, phase.plan(gallery))
    with pytest.raises(ConfirmationMissing):
        revisions.upgrade(gallery.settings, "head")


def assert_refused_unverified(phase: DropLegacyTags, gallery: Context) -> None:
    with pytest.raises(CheckFailed, match="UUID backfill verified"):
        apply_plan(confirmed(phase), gallery, phase.plan(gallery))
    with pytest.raises(GateClosed, match="12_backfill_tag_uuids"):
        revisions.upgrade(gallery.settings, "head", CONFIRMATION)
