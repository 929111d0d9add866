"""Filling the junction in bulk: load it bare, build its indexes, catch up, put the triggers back.

While it is loaded the triggers only note which items change, so nothing that is written meanwhile is
lost and nothing has to be looked up in an index. Every step leaves a trace in the catalogue or in the
ledger, so a start that was killed goes on where it stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg import errors, sql

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block, block
from genonaut_lib.migration import backfill, revisions
from genonaut_lib.migration.backfill import BackfillResult, BackfillTask, Progress
from genonaut_lib.migration.phases.base import Context, run_backfill
from genonaut_lib.migration.plan import Action, Probe, action, probe
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

FILE = "bulk_content_tags"
TABLE = "content_tags"
KEY, TAG_INDEX = "content_tags_pkey", "idx_content_tags_tag_src_content"
FOREIGN_KEY = "content_tags_tag_id_fkey"
LOAD = BackfillTask("load_content_tags", block(FILE, "load"), writes=(TABLE,))
FEW_NOTES = 200
"""So few noted items are caught up with in an instant; more are worked off before the triggers change."""
NOTES_A_BATCH = 2_000

NOTING = Probe(block(FILE, "is_noting"), {})
WRITING = replace(NOTING, wanted=False)
LOADED = Probe(block("backfill", "is_worked_off"), {"task": LOAD.name})
HAS_FOREIGN_KEY = probe("has_constraint", TABLE, constraint=FOREIGN_KEY)
CHECKED = probe("has_valid_constraint", TABLE, constraint=FOREIGN_KEY)


@dataclass(frozen=True)
class BulkResult:
    """What one start did: items loaded, relationships written, and items caught up with."""

    loaded: BackfillResult
    items_caught_up: int


def is_begun(connection: Connection) -> bool:
    """Return whether a bulk load was begun and its last step is still to come."""
    begun = NOTING.holds(connection) or backfill.status(connection, LOAD.name).ranges > 0
    return begun and not is_whole(connection)


def is_whole(connection: Connection) -> bool:
    """Return whether the junction has its triggers, keys and indexes, and no noted item waits."""
    parts = (WRITING, probe("has_constraint", TABLE, constraint=KEY), probe("has_valid_index", TAG_INDEX), CHECKED)
    return all(part.holds(connection) for part in parts) and notes(connection) == 0


def notes(connection: Connection) -> int:
    """Return how many changes are noted and not yet caught up with."""
    row = connection.execute(block(FILE, "notes").sql()).fetchone()
    assert row is not None
    return int(row[0])


def actions(settings: Settings) -> list[Action]:
    """Return every statement of a bulk load, in order; those that move rows stand for all their batches."""
    return [
        action("begin:bulk", block(FILE, "begin"), done=(NOTING, LOADED)),
        *(_rows(f"load:{source.table}", "load", source, LOADED) for source in ContentSource),
        *build_key(settings),
        *build_tag_index(settings),
        action(
            "adopt:content_tags_pkey", block(FILE, "adopt_key"), done=probe("has_constraint", TABLE, constraint=KEY)
        ),
        action(f"add:{FOREIGN_KEY}", block(FILE, "add_foreign_key"), done=HAS_FOREIGN_KEY),
        *(_rows(f"catch_up:{source.table}", "catch_up", source) for source in ContentSource),
        back_to_writing(),
        action(f"validate:{FOREIGN_KEY}", block(FILE, "validate_foreign_key"), done=CHECKED),
        action("watch:content_tags", block(FILE, "watch_again")),
    ]


def back_to_writing() -> Action:
    """Return the statement after which the triggers write the junction again, with none in flight that notes."""
    step = action("end:bulk", block(FILE, "quiesce"), done=WRITING)
    writing = block("create_content_tags", "create_sync_function").sql()
    return replace(step, statement=step.statement + sql.SQL(";\n") + writing)


def build_key(settings: Settings) -> list[Action]:
    """Return the build of the key's index; an invalid leftover goes first."""
    return _build(settings, KEY, block(FILE, "build_key"))


def build_tag_index(settings: Settings) -> list[Action]:
    """Return the build of the index by tag; an invalid leftover goes first."""
    return _build(settings, TAG_INDEX, block(FILE, "build_tag_index"))


def fill(context: Context) -> BulkResult:
    """Carry out what is left of a bulk load, from wherever an earlier start stopped."""
    steps = {step.id: step for step in actions(context.settings)}
    _run(context, steps["begin:bulk"])
    loaded = run_backfill(context, LOAD) if not LOADED.holds(context.connection) else BackfillResult()
    _build_indexes(context)
    _run(context, steps["adopt:content_tags_pkey"], steps[f"add:{FOREIGN_KEY}"])
    caught_up = _catch_up(context, FEW_NOTES)
    _run(context, steps["end:bulk"])
    caught_up += _catch_up(context, 0)
    _validate(context, steps[f"validate:{FOREIGN_KEY}"])
    _run(context, steps["watch:content_tags"])
    return BulkResult(loaded, caught_up)


def empty_actions(settings: Settings) -> list[Action]:
    """Return what takes a load back, finished or not: an empty junction, whole, with its triggers."""
    restore = block(FILE, "restore_key")
    has_key = probe("has_constraint", TABLE, constraint=KEY)
    no_index = probe("has_relation", KEY, wanted=False)
    return [
        back_to_writing(),
        action("empty:content_tags", block(FILE, "empty")),
        action("clear:notes", block(FILE, "clear_notes")),
        action(f"drop:{KEY}", block(FILE, "drop_index"), done=(has_key, no_index), index=KEY),
        action("restore:content_tags_pkey", restore, done=has_key),
        *build_tag_index(settings),
        action(f"add:{FOREIGN_KEY}", block(FILE, "add_foreign_key"), done=HAS_FOREIGN_KEY),
        action(f"validate:{FOREIGN_KEY}", block(FILE, "validate_foreign_key"), done=CHECKED),
        action("watch:content_tags", block(FILE, "watch_again")),
    ]


def _rows(id: str, name: str, source: ContentSource, *done: Probe) -> Action:
    step = action(id, block(FILE, name), table=source.table, done=done)
    return replace(step, lock="ROW EXCLUSIVE on content_tags")


def _clear(index: str) -> Action:
    no_ruin = probe("has_invalid_index", index, wanted=False)
    return action(f"clear:{index}", block(FILE, "drop_index"), done=no_ruin, index=index)


def _build(settings: Settings, index: str, source: Block) -> list[Action]:
    create = action(f"build:{index}", source, done=probe("has_valid_index", index))
    return [_clear(index), replace(create, statement=_memory(settings) + create.statement)]


def _memory(settings: Settings) -> sql.Composed:
    """Return the settings of a build's transaction, as statements before it."""
    knobs = {
        "maintenance_work_mem": settings.bulk.index_memory_mb and f"{settings.bulk.index_memory_mb}MB",
        "max_parallel_maintenance_workers": settings.bulk.index_workers,
    }
    given = {name: str(value) for name, value in knobs.items() if value is not None}
    return sql.Composed(
        [
            sql.SQL("set local {} to {};\n").format(sql.Identifier(name), sql.Literal(value))
            for name, value in given.items()
        ]
    )


def _run(context: Context, *steps: Action) -> None:
    revisions.run_actions(context.connection, steps, context.settings.database)


def _build_indexes(context: Context) -> None:
    """Build both indexes at once, each in a session of its own, and show how far they are."""
    builds = (build_key(context.settings), build_tag_index(context.settings))
    threads = [_Build(context.settings, steps) for steps in builds]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(1.0)
            _report_builds(context, threads)
    for thread in threads:
        if thread.failure is not None:
            raise thread.failure


class _Build(threading.Thread):
    """The build of one index in its own session."""

    def __init__(self, settings: Settings, steps: Sequence[Action]) -> None:
        super().__init__(name=steps[-1].id, daemon=True)
        self.settings, self.steps = settings, steps
        self.failure: BaseException | None = None
        self.pid = 0

    def run(self) -> None:
        try:
            with engine.connect(self.settings) as connection:
                self.pid = connection.info.backend_pid
                self._build(connection)
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            self.failure = error

    def _build(self, connection: Connection) -> None:
        try:
            revisions.run_actions(connection, self.steps, self.settings.database)
        except errors.UniqueViolation:
            remove_doubles(connection)
            revisions.run_actions(connection, self.steps, self.settings.database)


def remove_doubles(connection: Connection) -> int:
    """Remove the second rows of tags that an array held twice; return how many there were."""
    statement = block(FILE, "remove_doubles")
    return sum(
        connection.execute(statement.sql(table=source.table), {"source": source.junction}).rowcount
        for source in ContentSource
    )


def _report_builds(context: Context, threads: Sequence[_Build]) -> None:
    for thread in threads:
        row = context.connection.execute(block(FILE, "index_progress").sql(), {"pid": thread.pid}).fetchone()
        if row is not None:
            context.report(Progress("build", thread.name.removeprefix("build:"), int(row[0]), int(row[1]), 0))


def _catch_up(context: Context, few: int) -> int:
    """Bring noted items to what their arrays hold, until at most `few` wait; return how many there were."""
    done = 0
    while notes(context.connection) > few:
        for source in ContentSource:
            done += _catch_up_batch(context, source, "catch_up", rows=NOTES_A_BATCH)
            done += _catch_up_batch(context, source, "catch_up_truncated")
    return done


def _catch_up_batch(context: Context, source: ContentSource, name: str, **values: int) -> int:
    statement = block(FILE, name).sql(table=source.table)
    with context.connection.transaction():
        context.connection.execute(block("backfill", "set_local").sql(), _LIMITS)
        row = context.connection.execute(statement, {"source": source.junction, **values}, prepare=False).fetchone()
    assert row is not None
    return int(row[0])


_LIMITS = {"lock_timeout": "10s", "statement_timeout": "0"}
"""A writer that holds a noted item is waited for; whoever waits for us waits for one small batch."""


def _validate(context: Context, validation: Action) -> None:
    """Validate the foreign key; where tags were deleted while none watched, remove what they left first."""
    try:
        _run(context, validation)
    except errors.ForeignKeyViolation:
        rows = context.connection.execute(block(FILE, "dangling_tags").sql()).fetchall()
        context.connection.execute(block(FILE, "remove_dangling").sql(), {"tags": [row[0] for row in rows]})
        _run(context, validation)
