"""One harness for every registered phase: stopped after each step, written upon, taken back, applied again.

What is left after an undo is compared with a twin: a copy of the same database in which nothing was
ever migrated and the same application wrote the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, CheckFailed, ConfirmationMissing, GateClosed
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.migration.phases import PHASES, Context, Phase, SchemaPhase
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.runner import apply_plan, undo_phase
from tests.migration.harness import Application, Databases, Kill, Picture, picture, schema_of
from tests.migration.test_phases import apply, confirmed

EMPTIED_BY_UNDO = {
    "backfill_tag_uuids": {"content_items": {"tags"}, "content_items_auto": {"tags"}},
    "backfill_content_tags": {"content_tags": {"content_id", "content_source", "tag_id"}},
}
"""What undoing a backfill empties of what the application wrote as well, since nobody can tell it from
what the backfill wrote. Nothing is lost: the names, or the arrays, which are compared, say the same."""

SCHEMA_PHASES = [name for name, phase in PHASES.items() if isinstance(phase, SchemaPhase)]


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


def stopped_apply(databases: Databases, gallery: str, phase: Phase, after: int) -> bool:
    """Apply a phase and kill it after some steps; return whether it got to its end before that."""
    kill = Kill(after)
    with databases.context(gallery, kill.step) as context, kill.armed():
        apply_plan(phase, context, phase.plan(context))
    return not kill.struck


def stopped_undo(databases: Databases, gallery: str, phase: Phase, after: int) -> bool:
    """Undo a phase and kill the undo after some steps; return whether it got to its end before that."""
    kill = Kill(after)
    with databases.context(gallery, kill.step) as context, kill.armed():
        undo_phase(phase, context)
    return not kill.struck


def something_left(phase: Phase, connection: Connection) -> bool:
    """Whether a killed undo has something left to do; one of a data phase begins anew in any case."""
    return not isinstance(phase, SchemaPhase) or phase.begun(connection)


def beyond_return(phase: Phase, connection: Connection) -> bool:
    """Whether a statement that cannot be taken back was carried out."""
    actions = phase.actions() if isinstance(phase, SchemaPhase) else []
    return any(step.is_done(connection) for step in actions if not step.reversible)


def assert_alike(name: str, found: Picture, wanted: Picture) -> None:
    """Rows and schema objects one by one, so that a difference names itself."""
    if name in EMPTIED_BY_UNDO:
        found, wanted = found.without(EMPTIED_BY_UNDO[name]), wanted.without(EMPTIED_BY_UNDO[name])
    for table in wanted.rows:
        assert found.rows[table] == wanted.rows[table]
    for kind in wanted.schema:
        assert found.schema[kind] == wanted.schema[kind]
    assert found == wanted


@contextmanager
def after_step(step: int) -> Iterator[None]:
    """Say in a failure after which step the kill struck."""
    try:
        yield
    except (Exception, pytest.fail.Exception) as failure:
        failure.add_note(f"killed after step {step}")
        raise


def assert_undone(name: str, application: Application, twin: Context) -> None:
    """Give the twin what the application wrote into the gallery, for as long as the comparison takes."""
    with twin.connection.transaction(force_rollback=True):
        application.repeat_on(twin.connection)
        assert_alike(name, picture(application.connection), picture(twin.connection))


def assert_applied(name: str, gallery: Context, databases: Databases) -> None:
    """Apply to the end and verify; every schema object is what an unbroken apply makes."""
    apply(gallery, name)
    assert schema_of(gallery.connection) == databases.schema_after(name)


def assert_kept(phase: Phase, gallery: Context, databases: Databases) -> None:
    """The undo is refused without changing anything; the way forward stays open."""
    before = picture(gallery.connection)
    with pytest.raises(CannotUndo):
        undo_phase(phase, gallery)
    assert picture(gallery.connection) == before
    assert_applied(phase.name, gallery, databases)


@pytest.mark.parametrize("name", list(PHASES))
def test_every_step_can_be_written_upon_and_taken_back(name: str, databases: Databases) -> None:
    """Kill the apply after step k, write, undo: as if it had never begun; then the phase can be applied."""
    phase = confirmed(PHASES[name])
    with databases.copy(databases.before[name]) as other, databases.context(other) as twin:
        for step in count(1):
            with databases.copy(databases.before[name]) as copy:
                whole = stopped_apply(databases, copy, phase, step)
                with databases.context(copy) as gallery, after_step(step):
                    application = Application(gallery.connection)
                    application.write(0)
                    if beyond_return(phase, gallery.connection):
                        assert_kept(phase, gallery, databases)
                    else:
                        undo_phase(phase, gallery)
                        assert_undone(name, application, twin)
                        application.write(1)
                        assert_applied(name, gallery, databases)
            if whole:
                break


@pytest.mark.parametrize("name", [name for name in PHASES if name != "drop_legacy_tags"])
def test_an_undo_can_be_killed_and_begun_again_or_turned_back(name: str, databases: Databases) -> None:
    """Kill the undo after step k, write, undo: as if the phase had never been. Kill it again, apply: as if no undo."""
    phase = PHASES[name]
    with databases.copy(databases.before[name]) as other, databases.context(other) as twin:
        for step in count(1):
            with databases.copy(databases.after(name)) as copy, databases.context(copy) as gallery, after_step(step):
                application = Application(gallery.connection)
                application.write(0)
                whole = stopped_undo(databases, copy, phase, step)
                application.write(1)
                if something_left(phase, gallery.connection):
                    undo_phase(phase, gallery)
                assert_undone(name, application, twin)
                assert_applied(name, gallery, databases)
                stopped_undo(databases, copy, phase, step)
                assert_applied(name, gallery, databases)
            if whole:
                break


@pytest.mark.parametrize("name", SCHEMA_PHASES)
def test_a_phase_that_was_not_begun_is_not_undone(name: str, databases: Databases) -> None:
    """Before its first step there is nothing to take back, and the record says nothing of an undo."""
    with databases.copy(databases.before[name]) as copy, databases.context(copy) as gallery:
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


@pytest.mark.parametrize("step", [1, 4, 8, 9, 10])
def test_a_half_applied_drop_still_wants_its_gate_and_its_confirmation(step: int, databases: Databases) -> None:
    """What a killed start confirmed and was verified for does not carry over to the next start."""
    phase = DropLegacyTags()
    with databases.copy(databases.before[phase.name]) as copy:
        assert not stopped_apply(databases, copy, confirmed(phase), step)
        with databases.context(copy) as gallery:
            before = picture(gallery.connection)
            with pytest.raises(ConfirmationMissing):
                apply_plan(phase, gallery, phase.plan(gallery))
            with pytest.raises(ConfirmationMissing):
                revisions.upgrade(gallery.settings, "head")
            ledger.record_undo(gallery.connection, "backfill_tag_uuids", None)
            with pytest.raises(CheckFailed, match="UUID backfill verified"):
                apply_plan(confirmed(phase), gallery, phase.plan(gallery))
            with pytest.raises(GateClosed, match="12_backfill_tag_uuids"):
                revisions.upgrade(gallery.settings, "head", CONFIRMATION)
            assert picture(gallery.connection) == before
