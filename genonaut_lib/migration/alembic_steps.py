"""What an Alembic revision calls: the actions of a phase, forward or backward, or a file of blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from alembic import context, op

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.approvals import require_approved
from genonaut_lib.migration.phases import (
    PHASES,
    Context,
    Phase,
    SchemaPhase,
    attach_partitions,
    create_sidecars,
    cut_over,
    drop_legacy_tags,
    expand_tag_columns,
)
from genonaut_lib.migration.phases.base import is_point_of_no_return
from genonaut_lib.migration.plan import Action
from genonaut_lib.migration.revisions import file_actions, run_actions
from genonaut_lib.migration.runner import require_none_begun_after
from genonaut_lib.settings import Settings

GATES = {
    "drop_legacy_tags": drop_legacy_tags.gate,
    "attach_partitions": attach_partitions.gate,
    "cut_over": cut_over.gate,
}
"""Contracting revisions and what they ask of the ledger; each passes on a database without content."""

FILE_GUARDS = {
    "legacy_undo": drop_legacy_tags.require_no_content,
    "ledger_schema_undo": drop_legacy_tags.require_no_quarantine,
}

UNDO_GUARDS = {
    "drop_legacy_tags": drop_legacy_tags.require_empty,
    "expand_tag_columns": expand_tag_columns.require_whole,
    "create_sidecars": create_sidecars.require_empty,
    "cut_over": cut_over.require_rebuilt,
}


def forward(phase: str) -> None:
    """Run the actions of a schema phase; raise GateClosed or ApprovalMissing where the ledger does not allow it."""
    if phase in GATES:
        GATES[phase](_connection(), _confirmation())
    _require_approved(PHASES[phase])
    options = context.config.attributes.get("options", {}).get(phase, {})
    _run(replace(cast("SchemaPhase", PHASES[phase]), **options).actions())


def backward(phase: str) -> None:
    """Run the actions that take a schema phase back; raise CannotUndo where data would be lost.

    The same goes for a later phase that stopped half-way, which is to be taken back first.
    """
    require_none_begun_after(phase, _connection())
    if phase in UNDO_GUARDS:
        UNDO_GUARDS[phase](_connection())
    _run(cast("SchemaPhase", PHASES[phase]).undo_actions())


def run_file(file: str) -> None:
    """Run every block of `sql/<file>.sql`; raise CannotUndo where that would drop content or its record."""
    if file in FILE_GUARDS:
        FILE_GUARDS[file](_connection())
    _run(file_actions(file))


def _require_approved(phase: Phase) -> None:
    """Ask for the second person here too, or `alembic upgrade` would be a way round; an empty database passes."""
    settings: Settings = context.config.attributes["settings"]
    if settings.approval.required and is_point_of_no_return(phase) and not drop_legacy_tags.is_empty(_connection()):
        found = Context(_connection(), settings)
        require_approved(phase, found, phase.plan(found))


def _run(actions: list[Action]) -> None:
    settings: Settings = context.config.attributes["settings"]
    run_actions(_connection(), actions, settings.database)


def _confirmation() -> str:
    """Return what was typed for the point of no return: by the caller, or as `alembic -x confirm="..."`."""
    given = context.get_x_argument(as_dictionary=True).get("confirm", "")
    return str(context.config.attributes.get("confirm") or given)


def _connection() -> Connection:
    """Return the psycopg session behind Alembic's SQLAlchemy connection; it is in autocommit mode."""
    return cast("Connection", op.get_bind().connection.driver_connection)
