"""Create the tables of the tag bitmap index, and the functions that mark the items that were changed.

Additive: new, empty tables and functions that nothing calls yet. Building the index arms it: triggers on
content and junction call the functions from then on. A gallery that has no index so collects no marks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases.base import SchemaPhase, require, revision_check
from genonaut_lib.migration.plan import Action, Probe, action, probe
from genonaut_lib.settings import DatabaseSettings
from genonaut_lib.vocabulary import ContentSource

FILE = "create_tag_bitmaps"
STATE = "workbench.bitmap_state"
TABLES = {
    "create_state": STATE,
    "create_chunks": "workbench.bitmap_chunks",
    "create_places": "workbench.bitmap_places",
    "create_bitmaps": "workbench.tag_bitmaps",
    "create_tags": "workbench.bitmap_tags",
    "create_creators": "workbench.bitmap_creators",
    "create_marks": "workbench.bitmap_marks",
    "create_kept_marks": "workbench.bitmap_marks_kept",
}
FUNCTIONS = {
    "create_mark_content": "workbench.mark_content",
    "create_mark_links": "workbench.mark_links",
    "create_forget": "workbench.forget_bitmaps",
}
MARKED = {
    **dict.fromkeys(("content_items_all", *(source.table for source in ContentSource)), "mark_content"),
    "content_tags": "mark_links",
}
"""The tables that have triggers when armed, each with the function in schema `workbench` that marks for it."""
_SPELLINGS: dict[str, Any] = {
    "regular_junction": sql.Literal(ContentSource.REGULAR.junction),
    "regular": sql.Literal(ContentSource.REGULAR.partition),
    "auto": sql.Literal(ContentSource.AUTO.partition),
}


@dataclass(frozen=True)
class CreateTagBitmaps(SchemaPhase):
    """The schema part of notebook 40; see the module."""

    name: str = "create_tag_bitmaps"
    title: str = "Create and build the tag bitmap index"
    notebook: str = "40_build_tag_bitmaps"
    revision: str = revisions.CREATE_TAG_BITMAPS
    before: str = revisions.CREATE_SIDECARS

    def actions(self) -> list[Action]:
        """Each table with its rights in one transaction, then the functions. No trigger: see `arm`."""
        tables = [action(f"create:{table}", block(FILE, name), done=_is_there(table)) for name, table in TABLES.items()]
        functions = [
            action(f"create:{function}", block(FILE, name), done=_is_callable(function), **_SPELLINGS)
            for name, function in FUNCTIONS.items()
        ]
        return [*tables, *functions]

    def undo_actions(self) -> list[Action]:
        """Out of service first, then triggers, functions, tables. All of it can be made anew."""
        drop_function, drop_table = block(FILE, "drop_function"), block(FILE, "drop_table")
        functions = [
            action(
                f"drop:{function}", drop_function, done=replace(_is_callable(function), wanted=False), function=function
            )
            for function in FUNCTIONS.values()
        ]
        tables = [
            action(f"drop:{table}", drop_table, done=replace(_is_there(table), wanted=False), table=table)
            for table in TABLES.values()
        ]
        return [_out_of_service(), *_triggers_off(), *functions, *tables]


def arm(connection: Connection, database: DatabaseSettings) -> None:
    """Have every change of an item leave a mark from now on; a no-op when it does already.

    `connection` is in autocommit mode and outside a transaction. Each table is locked against writes for an
    instant, one after the other. When this returns, whatever a later snapshot does not see will be marked.
    Raises CheckFailed where the tables were not created yet, and LockNotAcquired.
    """
    require([revision_check(connection, revisions.CREATE_TAG_BITMAPS)])
    revisions.run_actions(connection, arm_actions(), database)


def disarm(connection: Connection, database: DatabaseSettings) -> None:
    """Take the index out of service, drop its triggers, and forget all marks; a no-op when that was done.

    What was built stays in its tables, and nobody reads it: only a build, which arms first, brings an index
    into service again. Raises LockNotAcquired; the index is out of service then.
    """
    steps = [_out_of_service(), *_triggers_off(), action("forget:marks", block(FILE, "forget_marks"), done=_no_marks())]
    revisions.run_actions(connection, steps, database)


def is_armed(connection: Connection) -> bool:
    """Return whether every change of content or junction leaves a mark: all triggers are there and enabled."""
    return all(_armed(table).holds(connection) for table in MARKED)


def arm_actions() -> list[Action]:
    """Return the statements of `arm`, table by table; what is done already is left out when they run."""
    return [
        action(f"arm:{table}", block(FILE, "arm"), done=_armed(table), table=table, function=f"workbench.{function}")
        for table, function in MARKED.items()
    ]


def _out_of_service() -> Action:
    """The question comes second: it cannot be asked where there is no table."""
    asleep = Probe(block(FILE, "is_out_of_service"), {})
    return action("out_of_service", block(FILE, "take_out_of_service"), done=(_no_state(), asleep))


def _triggers_off() -> list[Action]:
    step = block(FILE, "disarm")
    return [action(f"disarm:{table}", step, done=_disarmed(table), table=table) for table in MARKED]


def _no_marks() -> tuple[Probe, ...]:
    return (_no_state(), Probe(block(FILE, "has_no_marks"), {}))


def _no_state() -> Probe:
    return replace(_is_there(STATE), wanted=False)


def _armed(table: str) -> Probe:
    return Probe(block(FILE, "is_armed"), {"relation": table, "marks": MARKED[table]})


def _disarmed(table: str) -> Probe:
    return Probe(block(FILE, "is_disarmed"), {"relation": table})


def _is_there(table: str) -> Probe:
    return probe("has_relation", table)


def _is_callable(function: str) -> Probe:
    return probe("has_function", f"{function}()")
