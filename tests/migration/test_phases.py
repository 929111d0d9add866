"""Every phase through its whole life, on a database with clean and dirty content in both sources."""

from __future__ import annotations

import uuid

import pytest
from psycopg.errors import ForeignKeyViolation

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, CheckFailed, ConfirmationMissing, GateClosed, PlanChanged
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases import PHASES, Context, Phase
from genonaut_lib.migration.phases.backfill_tag_uuids import BackfillTagUuids
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.plan import Plan
from genonaut_lib.migration.runner import apply_plan, undo_phase, verify_phase
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery

REVERSIBLE = [name for name in PHASES if name != "drop_legacy_tags"]


def confirmed(phase: Phase) -> Phase:
    return DropLegacyTags(confirm=CONFIRMATION) if phase.name == "drop_legacy_tags" else phase


def apply(context: Context, name: str) -> None:
    phase = confirmed(PHASES[name])
    apply_plan(phase, context, phase.plan(context))
    assert verify_phase(phase, context).passed


def apply_before(context: Context, name: str) -> None:
    """Apply and verify every phase that comes before `name`."""
    for earlier in PHASES:
        if earlier == name:
            return
        apply(context, earlier)


def apply_all(context: Context) -> None:
    """Apply and verify every phase."""
    for name in PHASES:
        apply(context, name)


def fill(gallery: Gallery) -> None:
    for source in ContentSource:
        gallery.legacy_item(["anime", "devel::lang:perl"], source)
        gallery.legacy_item(["Anime", " anime ", "anime", str(tag_id("anime"))], source)
        gallery.legacy_item([42, None, "", "x" * 250, str(uuid.UUID(int=7)), {"a": 1}], source)
        gallery.legacy_item([], source)
        gallery.legacy_item(None, source)
        gallery.legacy_item("anime", source)
        gallery.legacy_item({"anime": True}, source)


def base_tables(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Everything an application could read of the content tables, and their columns."""
    content = {
        source.table: connection.execute(
            f"select to_jsonb(c) from {source.table} c order by id"  # type: ignore[arg-type]
        ).fetchall()
        for source in ContentSource
    }
    columns = "select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns"
    where = " where table_name in ('content_items', 'content_items_auto') order by 1, 2"
    indexes = "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2"
    triggers = (
        "select tgrelid::regclass::text, tgname from pg_trigger join pg_class c on c.oid = tgrelid"
        " where not tgisinternal and relnamespace = 'public'::regnamespace order by 1, 2"
    )
    catalogue = {
        "columns": connection.execute((columns + where).encode()).fetchall(),
        "indexes": connection.execute(indexes).fetchall(),
        "triggers": connection.execute(triggers).fetchall(),
    }
    return content | catalogue


@pytest.mark.parametrize("name", REVERSIBLE)
@pytest.mark.before
def test_apply_undo_apply_leaves_no_trace_of_the_first_round(name: str, context: Context, gallery: Gallery) -> None:
    """Undo restores the tables, indexes and triggers to what they were; the phase can then run again."""
    before = base_tables(context.connection)
    apply(context, name)
    undo_phase(PHASES[name], context)
    assert base_tables(context.connection) == before
    apply(context, name)


@pytest.mark.parametrize("name", list(PHASES))
@pytest.mark.before
def test_a_plan_is_empty_once_it_was_applied(name: str, context: Context, gallery: Gallery) -> None:
    """What was done is not planned again, and applying the empty plan changes nothing."""
    apply(context, name)
    if name != "seed_tags":
        assert PHASES[name].plan(context).actions == ()
    apply(context, name)


@pytest.mark.parametrize("name", list(PHASES))
@pytest.mark.before
def test_planning_changes_nothing(name: str, context: Context, gallery: Gallery) -> None:
    """A dry run leaves tables, indexes, triggers, ledger and revision as they were."""
    connection = context.connection
    ledger = "select (select count(*) from workbench.verifications), (select count(*) from workbench.backfills)"
    before = base_tables(connection), revisions.current(connection), connection.execute(ledger).fetchall()
    PHASES[name].check(context)
    PHASES[name].plan(context)
    assert (base_tables(connection), revisions.current(connection), connection.execute(ledger).fetchall()) == before


@pytest.mark.parametrize("name", [name for name in PHASES if name not in ("seed_tags", "verify_content_tags")])
def test_a_phase_refuses_to_run_before_its_turn(name: str, context: Context, gallery: Gallery) -> None:
    """The precondition names what is missing; nothing was changed."""
    fill(gallery)
    phase = confirmed(PHASES[name])
    with pytest.raises(CheckFailed, match="revision"):
        apply_plan(phase, context, phase.plan(context))
    assert revisions.current(context.connection) == revisions.LEDGER


@pytest.mark.before("drop_legacy_tags")
def test_the_mapping_merges_spellings_and_quarantines_the_rest(context: Context, gallery: Gallery) -> None:
    """Case, blank and UUID variants become one tag; everything else is kept with its place and reason."""
    tags = [row[0] for row in context.connection.execute("select tags from content_items order by id").fetchall()]
    anime, perl = tag_id("anime"), tag_id("devel::lang:perl")
    assert tags == [[anime, perl], [anime], [], [], [], [], []]
    reasons = context.connection.execute(
        "select content_id, position, reason from workbench.unmapped_tags"
        " where content_source = 'regular' order by 1, 2"
    ).fetchall()
    assert [(position, reason) for _, position, reason in reasons] == [
        (1, "not_a_string"), (2, "not_a_string"), (3, "blank"), (4, "too_long"), (5, "unknown_uuid"),
        (6, "not_a_string"), (1, "not_an_array"), (1, "not_an_array"),
    ]  # fmt: skip


def test_a_facet_becomes_the_parent_of_its_tags(context: Context, gallery: Gallery) -> None:
    """`devel::lang:perl` has the parent `devel`, which became a tag though no item carries it."""
    gallery.legacy_item(["devel::lang:perl"])
    apply(context, "seed_tags")
    rows = context.connection.execute(
        "select c.name, p.name from tag_parents tp join tags c on c.id = tp.tag_id join tags p on p.id = tp.parent_id"
    ).fetchall()
    assert rows == [("devel::lang:perl", "devel")]


def test_tag_numbers_are_dense(context: Context, gallery: Gallery) -> None:
    """Bitmaps are indexed by tag_no: it runs from 1 without a hole, also after a second seeding."""
    gallery.legacy_item(["b", "a"])
    apply(context, "seed_tags")
    gallery.legacy_item(["c", "a"])
    apply(context, "seed_tags")
    rows = context.connection.execute("select tag_no, name from tags order by tag_no").fetchall()
    assert rows == [(1, "a"), (2, "b"), (3, "c")]


def test_two_names_with_one_slug_stay_two_tags(context: Context, gallery: Gallery) -> None:
    """The name that is its own slug keeps it; the other gets the head of its id."""
    gallery.legacy_item(["a b", "a-b"])
    apply(context, "seed_tags")
    rows = dict(context.connection.execute("select name, slug from tags").fetchall())
    assert rows["a-b"] == "a-b"
    assert rows["a b"] == f"a-b-{str(tag_id('a b'))[:8]}"


def test_names_written_after_seeding_are_quarantined_not_lost(context: Context, gallery: Gallery) -> None:
    """Where the policy says so, a name that no seeding saw becomes no tag, and the backfill tells."""
    gallery.legacy_item(["anime"])
    apply(context, "seed_tags")
    late = gallery.legacy_item(["latecomer", "anime"])
    apply(context, "expand_tag_columns")
    phase = BackfillTagUuids(dirty="unknown_name=quarantine")
    apply_plan(phase, context, phase.plan(context))
    assert verify_phase(phase, context).passed
    rows = context.connection.execute("select content_id, element, reason from workbench.unmapped_tags").fetchall()
    assert rows == [(late, "latecomer", "unknown_name")]


def test_writes_of_the_new_column_keep_the_old_names_true(context: Context, gallery: Gallery) -> None:
    """Going back after the application wrote ids finds the names those ids mean."""
    gallery.legacy_item(["anime"])
    apply(context, "seed_tags")
    apply(context, "expand_tag_columns")
    written = gallery.item([tag_id("anime")])
    context.connection.execute("update content_items set tags = '{}' where id <> %s", [written])
    PHASES["expand_tag_columns"].undo(context)
    rows = context.connection.execute("select tags from content_items order by id").fetchall()
    assert rows == [([],), (["anime"],)]


def test_a_row_written_during_the_backfill_keeps_what_was_written(context: Context, gallery: Gallery) -> None:
    """The backfill fills rows that wait for it and leaves the others alone, doubles and all."""
    item, waiting = gallery.legacy_item(["anime", "portrait"]), gallery.legacy_item(["anime"])
    apply(context, "seed_tags")
    apply(context, "expand_tag_columns")
    written = [tag_id("portrait"), tag_id("portrait")]
    context.connection.execute("update content_items set tags = %s where id = %s", [written, item])
    apply(context, "backfill_tag_uuids")
    rows = context.connection.execute("select id, tags, tags_old from content_items order by id").fetchall()
    assert rows == [(item, written, ["portrait", "portrait"]), (waiting, [tag_id("anime")], ["anime"])]


@pytest.mark.before("drop_legacy_tags")
def test_dropping_the_names_needs_the_typed_confirmation(context: Context, gallery: Gallery) -> None:
    """The point of no return is passed by nobody who did not type so."""
    phase = DropLegacyTags(confirm="yes")
    with pytest.raises(ConfirmationMissing, match="cannot be undone"):
        apply_plan(phase, context, phase.plan(context))


@pytest.mark.before("create_content_tags")
def test_dropped_names_cannot_be_undone_while_there_is_content(context: Context, gallery: Gallery) -> None:
    """Undo says so instead of making up an empty column."""
    with pytest.raises(CannotUndo, match="backup"):
        PHASES["drop_legacy_tags"].undo(context)


@pytest.mark.before("drop_legacy_tags")
def test_an_undone_phase_closes_its_gate(context: Context, gallery: Gallery) -> None:
    """A verification from before the undo opens nothing afterwards."""
    undo_phase(PHASES["backfill_tag_uuids"], context)
    with pytest.raises(GateClosed, match="undone"):
        revisions.upgrade(context.settings, "head")


@pytest.mark.parametrize("name", ["seed_tags", "backfill_tag_uuids", "create_content_tags", "backfill_content_tags"])
@pytest.mark.before("end")
def test_a_phase_is_not_undone_from_under_a_later_one(name: str, context: Context, gallery: Gallery) -> None:
    """Going back goes step by step; nothing is half undone by asking in the wrong order."""
    with pytest.raises(CannotUndo, match="later phase"):
        undo_phase(PHASES[name], context)
    assert revisions.current(context.connection) == revisions.HEAD


@pytest.mark.before("verify_content_tags")
def test_a_junction_made_anew_is_filled_anew(context: Context, gallery: Gallery) -> None:
    """The checkpoints of a dropped junction go with it."""
    undo_phase(PHASES["create_content_tags"], context)
    for name in ("create_content_tags", "backfill_content_tags", "verify_content_tags"):
        apply(context, name)
    row = context.connection.execute("select count(*) from content_tags").fetchone()
    assert row == (6,)


def test_the_whole_migration_can_be_run_again_on_its_own_result(context: Context, gallery: Gallery) -> None:
    """Every phase finds itself done, passes its checks and its verification, and plans no schema change."""
    fill(gallery)
    for _ in range(2):
        for name in PHASES:
            apply(context, name)
    assert all(not phase.plan(context).actions for phase in PHASES.values())


def test_an_application_role_can_read_and_write_through_every_phase(context: Context, gallery: Gallery) -> None:
    """A role with rights on the old tables alone keeps writing, and reads what the migration made."""
    connection = context.connection
    role = f"app_{uuid.uuid4().hex[:8]}"
    gallery.legacy_item(["a"])
    creator = gallery.user()
    for grant in ("select, insert, update, delete on all tables", "usage on all sequences"):
        connection.execute(f"create role {role}" if grant.startswith("select") else "select 1")  # type: ignore[arg-type]
        connection.execute(f"grant {grant} in schema public to {role}")  # type: ignore[arg-type]
    try:
        for name in PHASES:
            apply(context, name)
            connection.execute(f"set role {role}")  # type: ignore[arg-type]
            gallery.connection.execute(
                "insert into content_items (title, content_type, content_data, prompt, creator_id)"
                " values ('x', 'text', '', '', %s)",
                [creator],
            )
            connection.execute("reset role")
        connection.execute(f"set role {role}")  # type: ignore[arg-type]
        rows = connection.execute("select count(*) from content_items_all, tags, (select from content_tags) links")
        assert rows.fetchone() == (1 + len(PHASES),)
    finally:
        connection.execute("reset role")
        connection.execute(f"drop owned by {role}")  # type: ignore[arg-type]
        connection.execute(f"drop role {role}")  # type: ignore[arg-type]


@pytest.mark.before("attach_partitions")
def test_undoing_the_junction_closes_the_gate_of_the_partitions(context: Context, gallery: Gallery) -> None:
    """A junction that was emptied is not attached upon, whatever it was verified for before."""
    undo_phase(PHASES["backfill_content_tags"], context)
    with pytest.raises(CheckFailed, match="junction"):
        apply(context, "attach_partitions")
    with pytest.raises(GateClosed):
        revisions.upgrade(context.settings, "head")


def test_an_id_that_no_tag_has_is_refused_where_it_is_written(context: Context, gallery: Gallery) -> None:
    """Between the swap and the junction's foreign key, the mirror stands in for it."""
    gallery.legacy_item(["a"])
    apply_before(context, "backfill_tag_uuids")
    with pytest.raises(ForeignKeyViolation, match="no tag has"):
        gallery.item([uuid.UUID(int=7)])


@pytest.mark.before("attach_partitions")
def test_emptying_a_table_empties_its_side_of_the_junction(context: Context, gallery: Gallery) -> None:
    """TRUNCATE leaves no orphans either."""
    context.connection.execute("truncate content_items")
    rows = context.connection.execute("select distinct content_source from content_tags").fetchall()
    assert rows == [("auto",)]


def test_a_plan_with_new_statements_is_not_applied_unseen(context: Context, gallery: Gallery) -> None:
    """Apply refuses what was never shown."""
    with pytest.raises(PlanChanged, match="create:tags"):
        apply_plan(PHASES["seed_tags"], context, Plan("seed_tags", ()))


@pytest.mark.parametrize("source", list(ContentSource))
def test_triggers_carry_every_write_of_the_array_into_the_junction(
    source: ContentSource, context: Context, gallery: Gallery
) -> None:
    """Insert, retag and delete are followed; equal ids of the other source are untouched."""
    other = next(found for found in ContentSource if found is not source)
    gallery.legacy_item(["a", "b", "c"], other)
    apply_before(context, "attach_partitions")
    a, b, c = tag_id("a"), tag_id("b"), tag_id("c")
    item = gallery.item([a, b, a], source)
    links = "select tag_id from content_tags where content_source = %s and content_id = %s order by 1"

    def linked(where: ContentSource) -> set[uuid.UUID]:
        return {row[0] for row in context.connection.execute(links, [where.junction, item]).fetchall()}

    assert linked(source) == {a, b}
    context.connection.execute(f"update {source.table} set tags = %s where id = %s", [[b, c], item])  # type: ignore[arg-type]
    assert linked(source) == {b, c}
    context.connection.execute(f"delete from {source.table} where id = %s", [item])  # type: ignore[arg-type]
    assert linked(source) == set()
    assert linked(other) == {a, b, c}


def test_ids_given_out_after_attaching_meet_no_old_id(context: Context, gallery: Gallery) -> None:
    """Writing through the parent or a partition draws from one sequence, above every old id, given by whomever."""
    gallery.legacy_item(["a"], ContentSource.AUTO, id=50)
    gallery.legacy_item(["a"], ContentSource.REGULAR)
    apply_before(context, "attach_partitions")
    apply(context, "attach_partitions")
    first = gallery.item([tag_id("a")], ContentSource.REGULAR)
    second = gallery.item([tag_id("a")], ContentSource.AUTO)
    assert (first, second) == (51, 52)


@pytest.mark.before("attach_partitions")
def test_attaching_rewrites_no_table(context: Context, gallery: Gallery) -> None:
    """The file behind each table is the same before and after."""
    files = "select pg_relation_filenode('content_items'), pg_relation_filenode('content_items_auto')"
    before = context.connection.execute(files).fetchone()
    apply(context, "attach_partitions")
    assert context.connection.execute(files).fetchone() == before
