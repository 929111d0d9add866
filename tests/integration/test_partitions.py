"""Attaching only what is proved, and detaching that can be killed."""

from __future__ import annotations

import threading

import psycopg
import pytest

from genonaut_lib.errors import ProofMissing
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.plan import Action, probe
from genonaut_lib.migration.runner import apply_plan, undo_phase, verify_phase
from genonaut_lib.settings import Settings
from tests.factories import Gallery
from tests.integration.test_locks import OpenSession, held, is_valid
from tests.migration.test_phases import apply, apply_before
from tests.waiting import eventually

PHASE = PHASES["attach_partitions"]
TABLE = "content_items"
PROOF = "content_items_source_type_check"
KEYSET = "idx_content_items_created_id_desc"
READ_PARENT = "select count(*) from content_items_all"
ATTACHED = probe("is_partition", TABLE, parent="content_items_all")
PENDING = probe("is_detach_pending", TABLE, parent="content_items_all")


def steps(*prefixes: str) -> list[Action]:
    return [step for step in PHASE.actions() if step.id.startswith(prefixes)]


def run(context: Context, actions: list[Action]) -> list[str]:
    return revisions.run_actions(context.connection, actions, context.settings.database)


@pytest.fixture
def prepared(context: Context, gallery: Gallery) -> Context:
    """A gallery with content, right before its tables are attached."""
    gallery.legacy_item(["a"])
    apply_before(context, "attach_partitions")
    run(context, steps("add:", "validate:", "create:", "share:"))
    return context


@pytest.mark.parametrize(
    ("spoil", "missing"),
    [
        (f"alter table {TABLE} drop constraint {PROOF}", "a validated CHECK .source_type = 'items'. on content_items"),
        (f"alter table {TABLE} alter column source_type drop not null", "NOT NULL on content_items.source_type"),
        ("drop index items_uidx_id_src", "a valid index on content_items like content_items_all_uidx_id_src"),
        (
            f"update pg_index set indisvalid = false where indexrelid = '{KEYSET}'::regclass",
            "a valid index on content_items like idx_content_items_all_created_id_desc",
        ),
        (
            f"drop index {KEYSET}; create index {KEYSET} on {TABLE} (created_at, id)",
            "a valid index on content_items like idx_content_items_all_created_id_desc",
        ),
        (
            f"drop index {KEYSET}; create index {KEYSET} on {TABLE} (updated_at desc, id desc)",
            "a valid index on content_items like idx_content_items_all_created_id_desc",
        ),
    ],
    ids=["check", "not null", "index", "invalid index", "another order", "another column"],
)
def test_what_is_not_proved_is_not_attached(spoil: str, missing: str, prepared: Context) -> None:
    """Without its proof ATTACH would scan the table, or build an index, while nobody can read it."""
    prepared.connection.execute(spoil)  # type: ignore[arg-type]
    with pytest.raises(ProofMissing, match=f"attach:content_items was not begun. Missing: {missing}"):
        run(prepared, steps("attach:"))
    assert not ATTACHED.holds(prepared.connection)


def test_a_check_that_is_not_validated_proves_nothing(prepared: Context) -> None:
    """NOT VALID says nothing of the rows that were there before."""
    prepared.connection.execute(f"alter table {TABLE} drop constraint {PROOF}")  # type: ignore[arg-type]
    run(prepared, steps(f"add:{PROOF}"))
    with pytest.raises(ProofMissing, match="a validated CHECK"):
        run(prepared, steps("attach:"))


def test_a_check_on_another_value_proves_nothing(prepared: Context) -> None:
    """A constraint is judged by what it says, not by its name."""
    connection = prepared.connection
    connection.execute(f"alter table {TABLE} drop constraint {PROOF}")  # type: ignore[arg-type]
    weaker = f"alter table {TABLE} add constraint {PROOF} check (source_type in ('items', 'auto'))"
    connection.execute(weaker)  # type: ignore[arg-type]
    with pytest.raises(ProofMissing, match="a validated CHECK"):
        run(prepared, steps("attach:"))


def test_an_index_of_the_right_name_and_another_shape_is_refused(context: Context, gallery: Gallery) -> None:
    """The whole phase stops before the attachment and says what to drop."""
    gallery.legacy_item(["a"])
    apply_before(context, "attach_partitions")
    context.connection.execute(f"create index {KEYSET} on {TABLE} (id)")  # type: ignore[arg-type]
    with pytest.raises(ProofMissing, match=r"idx_content_items_all_created_id_desc.*Drop an index"):
        apply_plan(PHASE, context, PHASE.plan(context))
    context.connection.execute(f"drop index {KEYSET}")  # type: ignore[arg-type]
    apply(context, "attach_partitions")


def test_an_invalid_index_is_built_again_before_attaching(prepared: Context) -> None:
    """What a killed build left is dropped and made good by the next start."""
    invalid = f"update pg_index set indisvalid = false where indexrelid = '{KEYSET}'::regclass"
    prepared.connection.execute(invalid)  # type: ignore[arg-type]
    apply(prepared, "attach_partitions")
    assert is_valid(prepared.connection, KEYSET)


def test_attaching_scans_nothing_and_builds_nothing(prepared: Context) -> None:
    """PostgreSQL says itself that it believed the proofs, and both tables keep the indexes they have."""
    heard: list[str] = []
    connection = prepared.connection
    files = (
        "select indexrelid, pg_relation_filenode(indexrelid) from pg_index where indrelid = 'content_items'::regclass"
    )
    before = connection.execute(files).fetchall()
    connection.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
    connection.execute("set client_min_messages = debug1")
    run(prepared, steps("attach:"))
    connection.execute("reset client_min_messages")
    assert sum("is implied by existing constraints" in line for line in heard) == 2
    assert connection.execute(files).fetchall() == before


def test_a_killed_detach_is_finished_by_the_next_start(
    context: Context, gallery: Gallery, second_session: OpenSession, settings: Settings
) -> None:
    """A partition left between attached and detached verifies as neither, and undoing again ends it."""
    gallery.legacy_item(["a"])
    apply_before(context, "attach_partitions")
    apply(context, "attach_partitions")
    slow = settings.database.model_copy(update={"lock_timeout_ms": 30_000})
    patient = Context(second_session(), settings.model_copy(update={"database": slow}))
    ended: list[BaseException] = []

    def undo() -> None:
        try:
            undo_phase(PHASE, patient)
        except psycopg.Error as error:
            ended.append(error)

    with held(second_session(), READ_PARENT):
        thread = threading.Thread(target=undo)
        thread.start()
        eventually(lambda: PENDING.holds(context.connection))
        context.connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query like 'alter table content_items_all detach%concurrently' and datname = current_database()"
        )
        thread.join()
    assert [isinstance(error, psycopg.OperationalError) for error in ended] == [True]
    assert PENDING.holds(context.connection)
    assert "attach:content_items" in verify_phase(PHASE, context).samples
    undo_phase(PHASE, context)
    assert context.connection.execute("select to_regclass('content_items_all')").fetchone() == (None,)
    apply(context, "attach_partitions")


def test_detaching_beside_a_reader_of_the_parent_ends_with_it(
    context: Context, gallery: Gallery, second_session: OpenSession
) -> None:
    """The statement that gave up half-way is not an error: the next action ends what it began."""
    gallery.legacy_item(["a"])
    apply_before(context, "attach_partitions")
    apply(context, "attach_partitions")
    with held(second_session(), READ_PARENT, seconds=2):
        undo_phase(PHASE, context)
    assert context.connection.execute("select to_regclass('content_items_all')").fetchone() == (None,)
