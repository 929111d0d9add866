"""The roll back to every phase from which nothing is lost, compared with a gallery that never went further."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from psycopg import conninfo, sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, CheckFailed
from genonaut_lib.migration import adoption, ledger, revisions
from genonaut_lib.migration.phases import BY_NOTEBOOK, PHASES, Context
from genonaut_lib.migration.phases.roll_back import LEGACY, RollBack
from genonaut_lib.migration.phases.truth import junction_is_truth
from genonaut_lib.migration.plan import Outcome, Verification
from genonaut_lib.migration.runner import apply_plan, undo_phase, verify_phase
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.databases import database
from tests.factories import Gallery
from tests.migration.application import NAMES, Item, Tags, in_arrays, in_junction, write_array, write_junction
from tests.migration.test_cut_over import until_done
from tests.migration.test_phases import apply, base_tables

EARLY = [LEGACY, "seed_tags", "expand_tag_columns", "backfill_tag_uuids"]
BEFORE_NO_RETURN = EARLY[:-1]
AFTER_NO_RETURN = list(PHASES)[list(PHASES).index("drop_legacy_tags") : -1]
USER = uuid.UUID(int=1)


def roll_back_to(target: str) -> RollBack:
    phase = BY_NOTEBOOK["90_roll_back"]
    assert isinstance(phase, RollBack)
    return replace(phase, target=target)


def roll_back(context: Context, target: str) -> Outcome:
    phase = roll_back_to(target)
    outcome = apply_plan(phase, context, phase.plan(context))
    found = verify_phase(phase, context)
    assert found.passed, found.samples
    return outcome


@dataclass
class Application:
    """Writes content as whatever version of the application fits the database; the calls are the same for all."""

    connection: Connection
    calls: int = 0

    @property
    def kind(self) -> str:
        """The type of `tags`: names or ids."""
        row = self.connection.execute(
            "select data_type from information_schema.columns"
            " where (table_name, column_name) = ('content_items', 'tags')"
        ).fetchone()
        assert row is not None
        return str(row[0])

    def work(self) -> None:
        """In each source insert an item, retag an old one, rename one, delete one."""
        self.calls += 1
        for source in ContentSource:
            self.insert((source, 1000 + self.calls), NAMES[self.calls % 4 :])
            self.retag((source, self.calls), NAMES[: self.calls % 3])
            table = sql.Identifier(source.table)
            rename = sql.SQL("update {} set title = %s where id = %s").format(table)
            self.connection.execute(rename, [f"renamed {self.calls}", 20 + self.calls])
            self.connection.execute(sql.SQL("delete from {} where id = %s").format(table), [40 + self.calls])

    def insert(self, item: Item, names: tuple[str, ...]) -> None:
        junction = junction_is_truth(self.connection)
        Gallery(self.connection).item(self.value(() if junction else names), item[0], id=item[1], creator=USER)
        if junction:
            write_junction(self.connection, item, ids(names))

    def retag(self, item: Item, names: tuple[str, ...]) -> None:
        if junction_is_truth(self.connection):
            write_junction(self.connection, item, ids(names))
        elif self.kind == "ARRAY":
            write_array(self.connection, item, ids(names))
        else:
            statement = sql.SQL("update {} set tags = %s where id = %s").format(sql.Identifier(item[0].table))
            self.connection.execute(statement, [self.value(names), item[1]])

    def value(self, names: tuple[str, ...]) -> list[uuid.UUID]:
        """The names as this database's `tags` takes them."""
        return [tag_id(name) for name in names] if self.kind == "ARRAY" else Jsonb(list(names))  # type: ignore[return-value]


def ids(names: tuple[str, ...]) -> Tags:
    return frozenset(tag_id(name) for name in names)


def fill(connection: Connection, settings: Settings) -> None:
    """Sixty items a source, equal in every gallery that is filled so."""
    adoption.adopt(connection, settings)
    connection.execute("insert into users (id, username) values (%s, 'ada')", [USER])
    gallery = Gallery(connection)
    for source in ContentSource:
        for number in range(60):
            gallery.legacy_item(list(NAMES[: number % 5 + 1]), source, creator=USER)


@pytest.fixture
def filled(context: Context) -> Context:
    fill(context.connection, context.settings)
    return context


@pytest.fixture
def twin(admin_url: str, settings: Settings) -> Iterator[Context]:
    """A second gallery with the same content, in a database of its own."""
    with database(admin_url) as name:
        address = SecretStr(conninfo.make_conninfo(admin_url, dbname=name))
        own = settings.model_copy(update={"database_url": address})
        with engine.connect(own) as connection:
            fill(connection, own)
            yield Context(connection, own)


def up_to(context: Context, target: str) -> None:
    """Apply every phase up to `target`."""
    for name in [] if target == LEGACY else list(PHASES)[: list(PHASES).index(target) + 1]:
        apply(context, name)


def content(connection: Connection, tags: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row without its moment of change, `tags` read as a set; and the catalogue of the base tables."""
    found = base_tables(connection)
    for source in ContentSource:
        rows = connection.execute(
            f"select to_jsonb(c) - '{{tags,updated_at}}'::text[],"  # type: ignore[arg-type]
            f" array(select distinct jsonb_array_elements_text(to_jsonb(c.{tags})) order by 1)"
            f" from {source.table} c order by id"
        )
        found[source.table] = rows.fetchall()
    return found


@pytest.mark.parametrize("target", AFTER_NO_RETURN)
def test_a_roll_back_gives_what_never_going_further_would_have_given(
    target: str, filled: Context, twin: Context
) -> None:
    """Everything is applied, the application writes after each phase, and all of it goes back to the target."""
    there, here = Application(filled.connection), Application(twin.connection)
    up_to(filled, target)
    names = list(PHASES)
    for name in names[names.index(target) + 1 :]:
        there.work()
        apply(filled, name)
    there.work()
    roll_back(filled, target)
    up_to(twin, target)
    for _ in range(there.calls):
        here.work()
    assert content(filled.connection, "tags") == content(twin.connection, "tags")
    if target in names[names.index("backfill_content_tags") :]:
        assert in_junction(filled.connection) == in_junction(twin.connection) == in_arrays(twin.connection)


@pytest.mark.parametrize("target", BEFORE_NO_RETURN)
def test_before_the_point_of_no_return_everything_goes_back(target: str, filled: Context, twin: Context) -> None:
    """Names written as ids come back as names, also in the gallery as it was adopted."""
    tags = "tags_old" if target == "expand_tag_columns" else "tags"
    there, here = Application(filled.connection), Application(twin.connection)
    up_to(filled, target)
    for name in EARLY[EARLY.index(target) + 1 :]:
        there.work()
        apply(filled, name)
    there.work()
    roll_back(filled, target)
    up_to(twin, target)
    for _ in range(there.calls):
        here.work()
    ours, theirs = content(filled.connection, tags), content(twin.connection, tags)
    if tags == "tags_old":
        for found in (ours, theirs):
            for source in ContentSource:
                found[source.table] = [({**row, "tags_old": None}, names) for row, names in found[source.table]]  # type: ignore[dict-item]
    assert ours == theirs


def test_nothing_is_left_to_do_afterwards_and_the_way_forward_is_open(filled: Context) -> None:
    """A finished roll back plans nothing, and the phases can be applied again."""
    up_to(filled, "cut_over")
    roll_back(filled, "create_content_tags")
    plan = roll_back_to("create_content_tags").plan(filled)
    assert (plan.actions, plan.note) == ((), "done: nothing after create_content_tags is applied")
    up_to(filled, "cut_over")
    assert in_junction(filled.connection) == in_arrays(filled.connection)


def test_the_plan_goes_newest_first_and_says_what_is_lost(filled: Context) -> None:
    """Each phase opens with its gate and its loss, then shows the statements of its undo with their locks."""
    up_to(filled, "cut_over")
    plan = roll_back_to("create_content_tags").plan(filled)
    phases = list(dict.fromkeys(step.id.partition("/")[0] for step in plan.actions))
    assert phases == list(reversed(list(PHASES)[list(PHASES).index("create_content_tags") + 1 :]))
    assert all(step.lock for step in plan.actions)
    assert all(step.why.startswith("Lost: ") for step in plan.actions if step.id.endswith("/close_gate"))
    shown = {step.id for step in plan.actions}
    assert {"cut_over/switch_back", "cut_over/batches:content_items", "attach_partitions/drop:parent"} <= shown


def test_planning_a_roll_back_changes_nothing(filled: Context) -> None:
    """A dry run only reads."""
    up_to(filled, "cut_over")
    before = base_tables(filled.connection), revisions.current(filled.connection)
    phase = roll_back_to("create_content_tags")
    phase.check(filled)
    phase.plan(filled)
    assert (base_tables(filled.connection), revisions.current(filled.connection)) == before


@pytest.mark.parametrize("target", BEFORE_NO_RETURN)
def test_the_point_of_no_return_is_not_passed(target: str, filled: Context) -> None:
    """The refusal says why, and which targets remain; nothing was undone."""
    up_to(filled, "create_content_tags")
    with pytest.raises(CheckFailed, match=r"cannot be made again.*drop_legacy_tags, create_content_tags.*backup"):
        roll_back(filled, target)
    assert revisions.current(filled.connection) == revisions.CREATE_CONTENT_TAGS


def test_a_point_of_no_return_that_has_begun_counts_as_passed(filled: Context) -> None:
    """The columns fall one by one; half of that is not taken back either."""
    up_to(filled, "backfill_tag_uuids")
    steps = PHASES["drop_legacy_tags"].actions()[:4]  # type: ignore[attr-defined]
    revisions.run_actions(filled.connection, steps, filled.settings.database)
    with pytest.raises(CheckFailed, match="run 13_drop_legacy_tags to its end"):
        roll_back(filled, "seed_tags")


def test_an_empty_gallery_goes_all_the_way_back(context: Context, gallery: Gallery) -> None:
    """Without content nothing is lost on either side of the point of no return."""
    up_to(context, "cut_over")
    roll_back(context, LEGACY)
    assert revisions.current(context.connection) == revisions.LEDGER


@pytest.mark.parametrize(
    ("target", "said"),
    [("", "give one of legacy, seed_tags"), ("seed_tag", "give one of"), ("attach_partitions", "is not applied")],
)
def test_a_target_that_is_none_is_refused(target: str, said: str, filled: Context) -> None:
    """Nobody rolls back by leaving a parameter empty, and nothing is rolled back to what never was."""
    up_to(filled, "seed_tags")
    phase = roll_back_to(target)
    assert phase.plan(filled).actions == ()
    with pytest.raises(CheckFailed, match=said):
        apply_plan(phase, filled, phase.plan(filled))


@pytest.mark.parametrize("done", [2, 5, 9, 13, 16])
def test_a_phase_that_was_half_applied_goes_back_too(done: int, filled: Context) -> None:
    """What a killed attachment left is no reason to attach first."""
    up_to(filled, "verify_content_tags")
    before = base_tables(filled.connection)
    steps = PHASES["attach_partitions"].actions()[:done]  # type: ignore[attr-defined]
    revisions.run_actions(filled.connection, steps, filled.settings.database)
    outcome = roll_back(filled, "verify_content_tags")
    assert "attach_partitions" in outcome.figures
    assert base_tables(filled.connection) == before


def test_a_cut_over_that_was_half_applied_goes_back_with_what_was_written(filled: Context) -> None:
    """The switch counts, though its revision was not written."""
    up_to(filled, "create_gallery_stats")
    steps = PHASES["cut_over"].actions()  # type: ignore[attr-defined]
    revisions.run_actions(filled.connection, steps, filled.settings.database)
    item, tags = (ContentSource.AUTO, 3), ids(("e",))
    write_junction(filled.connection, item, tags)
    roll_back(filled, "create_gallery_stats")
    assert in_arrays(filled.connection)[item] == tags


def test_verification_finds_what_is_left(filled: Context) -> None:
    """A wrong revision, an open gate, an object of an undone phase."""
    up_to(filled, "verify_content_tags")
    phase = roll_back_to("drop_legacy_tags")
    roll_back(filled, "drop_legacy_tags")
    ledger.record_verification(filled.connection, Verification("attach_partitions", 1, 0), None)
    filled.connection.execute("create table content_tags ()")
    assert phase.verify(filled).samples == (
        "create_content_tags left create:content_tags",
        "the gate of attach_partitions is open",
    )
    assert roll_back_to("create_content_tags").verify(filled).samples[0] == "revision 0005, not 0006"


def test_a_killed_emptying_of_the_junction_is_known_as_unfinished(filled: Context) -> None:
    """The checkpoints go first, so the ledger must tell that the rows are still to go."""
    up_to(filled, "backfill_content_tags")
    ledger.record_undo(filled.connection, "backfill_content_tags", None)
    filled.connection.execute("delete from workbench.backfills where task = 'backfill_content_tags'")
    roll_back(filled, "create_content_tags")
    assert filled.connection.execute("select count(*) from content_tags").fetchone() == (0,)


def test_kills_at_any_moment_lose_no_write(
    filled: Context, settings: Settings, second_session: Callable[[], Connection]
) -> None:
    """Killed again and again while an instance writes, the roll back comes to the same end."""
    up_to(filled, "cut_over")
    killer = second_session()
    killer.execute("set application_name = 'application'")
    item = (ContentSource.REGULAR, 7)
    write_junction(filled.connection, item, ids(("e",)))
    slow = settings.throttle.model_copy(update={"batch_rows_first": 3, "batch_rows_max": 3, "pause_s": 0.02})
    slowly = settings.model_copy(update={"throttle": slow})
    assert until_done(slowly, killer, lambda context: roll_back(context, "create_content_tags")) > 0
    with engine.connect(settings) as connection:
        assert in_arrays(connection)[item] == ids(("e",))
        assert revisions.current(connection) == revisions.CREATE_CONTENT_TAGS


def test_a_roll_back_is_not_undone(filled: Context) -> None:
    """The way forward is the pipeline."""
    with pytest.raises(CannotUndo, match="pipeline migrate"):
        roll_back_to(LEGACY).undo(filled)


def test_the_roll_back_is_no_phase_of_its_own(filled: Context) -> None:
    """Nothing asks for it in a sequence of phases, and undoing one closes the gates as before."""
    assert "roll_back" not in PHASES
    up_to(filled, "verify_content_tags")
    undo_phase(PHASES["backfill_content_tags"], filled)
    record = ledger.last_verification(filled.connection, "verify_content_tags")
    assert record is not None
    assert (record.passed, record.details) == (False, {"undone": True, "finished": True})
