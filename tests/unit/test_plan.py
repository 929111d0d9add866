"""A plan is a value: what it digests, which statements may share a transaction, what tells that one is done."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from psycopg import sql

from genonaut_lib.db.statements import Block, block
from genonaut_lib.migration.phases import PHASES, SchemaPhase
from genonaut_lib.migration.phases.drop_legacy_tags import DropLegacyTags
from genonaut_lib.migration.plan import Action, Plan, Probe, Verification, action, probe

SCHEMA_PHASES = [phase for phase in PHASES.values() if isinstance(phase, SchemaPhase)]
STEP = action("analyze:tags", block("upkeep", "analyze"), table="tags")
OTHER = action("analyze:users", block("upkeep", "analyze"), table="users")
PLAN = Plan("seed_tags", (STEP, OTHER))


class Answers:
    """Stands for a session whose catalogue gives one answer, and remembers what it was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[object] = []

    def execute(self, statement: object, values: object) -> Answers:
        self.asked.append(values)
        return self

    def fetchone(self) -> tuple[bool]:
        return (self.answer,)


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAN, phase="verify"),
        replace(PLAN, actions=(STEP,)),
        replace(PLAN, actions=(OTHER, STEP)),
        replace(PLAN, actions=()),
        replace(PLAN, actions=(replace(STEP, id="analyze:other"), OTHER)),
        replace(PLAN, actions=(replace(STEP, statement=OTHER.statement), OTHER)),
        replace(PLAN, actions=(replace(STEP, lock="ACCESS EXCLUSIVE"), OTHER)),
        replace(PLAN, actions=(replace(STEP, reversible=False), OTHER)),
    ],
    ids=["phase", "fewer", "order", "none", "id", "statement", "lock", "reversible"],
)
def test_digest_depends_on_phase_ids_statements_and_locks(other: Plan) -> None:
    """Plans that do different things have different digests."""
    assert other.digest != PLAN.digest


def test_digest_does_not_depend_on_facts_or_note() -> None:
    """Rows written between showing and applying a plan do not make it another plan."""
    assert replace(PLAN, facts={"rows": 7}, note="later").digest == PLAN.digest


def test_digest_is_stable_over_equal_plans() -> None:
    """The digest a person confirmed is the digest of the plan made again."""
    again = Plan("seed_tags", (action("analyze:tags", block("upkeep", "analyze"), table="tags"), OTHER))
    assert again.digest == PLAN.digest


def test_digest_is_the_same_in_every_process() -> None:
    """What somebody approves on one machine is what another one applies; nothing in it hangs on a hash seed."""
    code = (
        "from genonaut_lib.migration.phases.drop_legacy_tags import DropLegacyTags as Phase;"
        "from genonaut_lib.migration.plan import Plan; print(Plan('p', tuple(Phase().actions())).digest)"
    )
    seed = {"PYTHONHASHSEED": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **seed}
    )
    assert told.stdout.strip() == Plan("p", tuple(DropLegacyTags().actions())).digest


@pytest.mark.parametrize(
    "text",
    [
        "vacuum (analyze) t",
        "VACUUM t",
        "create index concurrently i on t (a)",
        "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
        "drop index concurrently if exists i",
        "reindex index concurrently i",
        "alter table p detach partition {table} concurrently",
        "ALTER TABLE p DETACH PARTITION t CONCURRENTLY",
    ],
)
def test_statement_refused_inside_a_transaction_is_marked(text: str) -> None:
    """PostgreSQL refuses VACUUM and CONCURRENTLY in a transaction block."""
    assert action("x", Block("f", "n", text), table="t").transactional is False


@pytest.mark.parametrize(
    "text",
    [
        "create index i on t (a)",
        "alter table vacuum add a int",
        "analyze t",
        "drop index i",
        "alter table p detach partition t",
        "alter table p detach partition t finalize",
    ],
)
def test_other_statements_may_share_a_transaction(text: str) -> None:
    """Everything else is undone by a rollback."""
    assert action("x", Block("f", "n", text)).transactional is True


@pytest.mark.parametrize(
    ("text", "lock", "patient"),
    [
        ("vacuum t", "SHARE UPDATE EXCLUSIVE", True),
        ("alter table p detach partition t concurrently", "then ACCESS EXCLUSIVE on the table", False),
        ("alter table t validate constraint c", "SHARE UPDATE EXCLUSIVE", False),
    ],
)
def test_only_what_nobody_waits_behind_may_wait_long(text: str, lock: str, patient: bool) -> None:
    """Detaching ends with an exclusive lock, for which readers and writers would queue."""
    assert action("x", Block("f", "n", text, lock)).patient is patient


def test_action_takes_lock_and_reason_from_the_block() -> None:
    """What a plan shows stands beside the statement in the SQL file."""
    source = block("attach_partitions", "detach")
    found = action("detach:content_items", source, table="content_items")
    assert (found.lock, found.why) == (source.lock, source.why)


def test_text_of_an_action_has_quoted_identifiers() -> None:
    """A plan shows the statement as it is sent."""
    assert STEP.text == 'analyze "tags"'


def test_action_takes_one_probe_or_several() -> None:
    """A single probe needs no tuple around it."""
    one = probe("has_relation", "tags")
    assert action("x", block("upkeep", "vacuum"), done=one, table="tags").done == (one,)


def test_probe_binds_relation_and_further_values() -> None:
    """A probe asks about exactly the things it names."""
    session = Answers(True)
    probe("has_column", "content_items", column="tags").holds(session)
    assert session.asked == [{"relation": "content_items", "column": "tags"}]


@pytest.mark.parametrize(
    ("wanted", "answer", "holds"), [(True, True, True), (True, False, False), (False, False, True)]
)
def test_probe_holds_where_the_catalogue_answers_as_wanted(wanted: bool, answer: bool, holds: bool) -> None:
    """A probe may ask for something to be gone."""
    assert probe("has_relation", "tags", wanted).holds(Answers(answer)) is holds


def test_unknown_question_is_refused_when_the_probe_is_made() -> None:
    """A slip in a question fails before any statement runs."""
    with pytest.raises(KeyError):
        probe("has_relations", "tags")


def test_action_without_probes_is_never_done() -> None:
    """A statement that leaves no trace is repeated."""
    assert STEP.is_done(Answers(True)) is False


def test_any_probe_that_holds_means_done() -> None:
    """One trace of a statement's effect is enough."""
    gone = Probe(block("catalog", "has_relation"), {"relation": "x"}, wanted=False)
    there = replace(gone, wanted=True)
    found = Action("x", sql.SQL("select {}").format(sql.Literal(1)), "none", done=(gone, there))
    assert found.is_done(Answers(True)) is found.is_done(Answers(False)) is True


@pytest.mark.parametrize(("mismatches", "passed"), [(0, True), (1, False)])
def test_verification_passes_without_mismatches_only(mismatches: int, passed: bool) -> None:
    """One difference is a failure."""
    assert Verification("x", 10, mismatches).passed is passed


@pytest.mark.parametrize(("coverage", "passed"), [(100.0, True), (99.999, False), (0.0, False)])
def test_verification_passes_only_when_nothing_was_left_out(coverage: float, passed: bool) -> None:
    """What was not looked at may differ."""
    assert Verification("x", 10, 0, coverage=coverage).passed is passed


@pytest.mark.parametrize("phase", SCHEMA_PHASES, ids=lambda phase: phase.name)
def test_ids_within_a_phase_are_unique(phase: SchemaPhase) -> None:
    """An id names one statement, both ways."""
    for steps in (phase.actions(), phase.undo_actions()):
        ids = [step.id for step in steps]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("phase", SCHEMA_PHASES, ids=lambda phase: phase.name)
def test_every_action_of_a_phase_names_its_lock(phase: SchemaPhase) -> None:
    """Nobody applies a statement without knowing what it holds up."""
    assert not [step.id for step in [*phase.actions(), *phase.undo_actions()] if not step.lock]


@pytest.mark.parametrize("phase", SCHEMA_PHASES, ids=lambda phase: phase.name)
def test_statement_that_cannot_be_repeated_has_a_probe(phase: SchemaPhase) -> None:
    """A killed phase goes on where it stopped: what has no trace in the catalogue is harmless to repeat."""
    repeatable = (
        "delete from",
        "carry_rights",
        "if exists",
        "if not exists",
        "or replace",
        "analyze",
        "vacuum",
        "set default",
        "reset (n_distinct)",
        "set not null",
    )
    steps = [*phase.actions(), *phase.undo_actions()]
    assert not [step.id for step in steps if not step.done and not any(word in step.text for word in repeatable)]


def test_phases_name_their_notebook_by_their_own_name() -> None:
    """Notebook and phase are found by one word; 40 and 50 are named after what they do each time they run."""
    others = [phase.name for phase in PHASES.values() if not phase.notebook.endswith(phase.name)]
    assert others == ["create_tag_bitmaps", "create_gallery_stats"]
