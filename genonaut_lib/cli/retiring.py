"""The command that lets records go by policy: `genonaut runs retire`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Confirm, Env, out, print_json, print_table, remember
from genonaut_lib.db import engine, guard
from genonaut_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from genonaut_lib.runs.records.retiring import Retirement


def retire(
    env: Env = None,
    confirm: Confirm = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be retired.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the files of runs that no rule keeps, by `records` in the params file:
    keep_days, keep_failed_days, keep_last, and the same for each of `sequences`.
    Without a rule all are kept.

    Kept in any case: the last good run of each notebook, runs that failed and
    were not gone on with, those past the point of no return, and those that are
    not as they were sealed. The chain keeps every record and says what was retired,
    so `genonaut runs verify` holds before and after.

        genonaut runs retire --dry-run --env production
        genonaut runs retire --env production --confirm production
    """
    from genonaut_lib.runs.records import retiring
    from genonaut_lib.runs.records.sealing import environment_folder

    settings, removed = load_settings(env), 0
    remember(confirm)
    with engine.session(settings, writing=not dry_run) as connection:
        if not dry_run:
            guard.require_adopted(connection, settings)
        found = retiring.plan(connection, environment_folder(settings), settings.records)
        if not dry_run:
            removed = _carry_out(settings, connection, found)
    _show(found, removed, dry_run=dry_run, as_json=as_json)


def _carry_out(settings: Settings, connection: engine.Connection, found: Retirement) -> int:
    from genonaut_lib.migration.actors import actor
    from genonaut_lib.runs.reading import index
    from genonaut_lib.runs.records import chain, retiring, signing
    from genonaut_lib.runs.records.sealing import environment_folder
    from genonaut_lib.runs.secrets.redaction import Redactor

    folder = environment_folder(settings)
    decision = chain.Decision(settings.records.model_dump_json(exclude_defaults=True), actor())
    removed = retiring.carry_out(connection, folder, found, decision, signing.signing_key(settings))
    if folder.is_dir():
        index.keep_up(folder, Redactor.of_environment(settings, connection))
    return removed


def _show(found: Retirement, removed: int, *, dry_run: bool, as_json: bool) -> None:
    runs: list[dict[str, Any]] = [
        {name: link.content.get(name) for name in ("run_id", "notebook", "outcome", "ended_at")} for link in found.going
    ]
    if as_json:
        print_json({"dry_run": dry_run, "retired": runs, "kept": found.kept, "files_removed": removed})
        return
    print_table("Kept", ["runs", "because"], [(count, reason) for reason, count in found.kept.items()])
    verb = "would be retired" if dry_run else f"retired, {removed} files removed"
    out.print(f"{len(runs)} runs {verb}; their records stay in the chain.", markup=False)
