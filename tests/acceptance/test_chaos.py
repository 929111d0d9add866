"""Kills at random moments over worker, database backend and runner: nothing lost, nothing doubled.

Seven kills in the suite, a hundred by `make chaos` (CHAOS_KILLS).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from genonaut_lib.content import generation
from genonaut_lib.db import embedded, engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import adoption
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION
from genonaut_lib.settings import load_settings
from tests.databases import one_at_a_time

KILLS = int(os.environ.get("CHAOS_KILLS", "7"))
ITEMS = 4_000
GENONAUT = str(Path(sys.executable).with_name("genonaut"))
PIPELINE = [GENONAUT, "pipeline", "migrate", "--env", "test", "--apply"]
PIPELINE += ["-p", f"13_drop_legacy_tags.confirm={CONFIRMATION}"]
WORKER = f"""
from genonaut_lib.db import engine
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.drop_legacy_tags import DropLegacyTags
from genonaut_lib.migration.runner import apply_plan, verify_phase
from genonaut_lib.settings import load_settings

settings = load_settings("test")
with engine.connect(settings) as connection:
    context = Context(connection, settings)
    for name, phase in PHASES.items():
        chosen = DropLegacyTags(confirm={CONFIRMATION!r}) if name == "drop_legacy_tags" else phase
        apply_plan(chosen, context, chosen.plan(context))
        assert verify_phase(chosen, context).passed, name
"""
COMMANDS = {"worker": [sys.executable, "-c", WORKER], "backend": [sys.executable, "-c", WORKER], "runner": PIPELINE}
FINGERPRINTS = {
    "regular": ("content_items", ["source_type"]),
    "auto": ("content_items_auto", ["source_type"]),
    "junction": ("content_tags", []),
    "quarantine": ("workbench.unmapped_tags", ["noted_at"]),
}
"""Tables and the columns that differ from run to run."""


@dataclass
class Stage:
    """A server of the test's own, with one gallery as the template of every attempt."""

    address: str
    number: int = 0

    def gallery(self) -> str:
        """Return the address of a fresh copy of the template, for this process's children too."""
        self.number += 1
        name = f"attempt_{self.number}"
        with psycopg.connect(self.address, autocommit=True) as admin:
            admin.execute(sql.SQL("create database {} template original").format(sql.Identifier(name)))
        os.environ["DATABASE_URL"] = conninfo.make_conninfo(self.address, dbname=name)
        return os.environ["DATABASE_URL"]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name in ("DATABASE_URL", "REDIS_URL", "GENONAUT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    slow = {"BATCH_ROWS_FIRST": "50", "BATCH_ROWS_MAX": "50", "PAUSE_S": "0.02", "RECONNECT_S": "20"}
    for knob, value in slow.items():
        monkeypatch.setenv(f"GENONAUT_THROTTLE__{knob}", value)
    with tempfile.TemporaryDirectory(prefix="gn-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("GENONAUT_STATE", folder)
        with one_at_a_time():
            address = embedded.start_postgres("test", load_settings("test").servers)
        try:
            yield _prepared(address, monkeypatch)
        finally:
            embedded.stop("test")


def _prepared(address: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute("create database original")
    monkeypatch.setenv("DATABASE_URL", conninfo.make_conninfo(address, dbname="original"))
    settings = load_settings("test")
    with engine.connect(settings) as connection:
        adoption.adopt(connection, settings)
        generation.generate(connection, generation.SHAPES["adversarial"], ITEMS, seed=5)
    return Stage(address)


def fingerprints() -> dict[str, tuple[object, ...] | None]:
    """Count and hash the rows of every table that a kill could have damaged."""
    query = "select count(*), sum(hashtext((to_jsonb(t) - %s::text[])::text)::bigint) from {} t"
    with engine.connect(load_settings("test")) as connection:
        return {
            name: connection.execute(
                sql.SQL(query).format(sql.Identifier(*table.split("."))),
                [volatile],  # type: ignore[arg-type]
            ).fetchone()
            for name, (table, volatile) in FINGERPRINTS.items()
        }


def start(kind: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMANDS[kind], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def kill(kind: str, process: subprocess.Popen[str], dice: random.Random) -> None:
    """SIGKILL the process group, the runner alone (its kernel is left an orphan), or one of its backends."""
    if kind == "worker":
        os.killpg(process.pid, signal.SIGKILL)
    elif kind == "runner":
        process.kill()
    else:
        kill_backend(dice)


def kill_backend(dice: random.Random) -> None:
    """SIGKILL makes PostgreSQL restart as after a crash: every session is lost."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        ours = "select pid from pg_stat_activity where application_name = 'genonaut' and datname = current_database()"
        pids = [row[0] for row in session.execute(ours).fetchall()]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(pids), signal.SIGKILL)


def wait(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=240)
    return output


def wait_for_server(seconds: float = 30) -> Connection:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="crashes a server of its own, which it starts")
@pytest.mark.timeout(3_600)
def test_kills_of_worker_backend_and_runner_lose_and_double_nothing(stage: Stage) -> None:
    """However often and wherever it is killed, the migration ends with the rows of one that was not."""
    seed = random.randrange(10_000)
    dice = random.Random(seed)
    stage.gallery()
    undisturbed(seed)
    wanted = fingerprints()
    kills, last = 0, ""
    stage.gallery()
    while kills < KILLS:
        kind = dice.choices(["worker", "backend", "runner"], [4, 4, 2])[0]
        process = start(kind)
        time.sleep(dice.uniform(0.7, 8 if kind == "runner" else 6))
        if process.poll() == 0:
            assert fingerprints() == wanted, f"seed {seed}, after {kills} kills"
            stage.gallery()
        elif process.returncode is None:
            kill(kind, process, dice)
            kills, last = kills + 1, kind
        # For a second or so the kernel of a killed runner works on; who meets it may step back.
        failed = process.returncode is not None and process.returncode > 0
        output = wait(process)
        assert not failed or last == "runner", f"seed {seed}: {output[-3000:]}"
        wait_for_server().close()
    undisturbed(seed)
    assert fingerprints() == wanted, f"seed {seed}"


def undisturbed(seed: int) -> None:
    """Run the migration to its end."""
    process = start("worker")
    output = wait(process)
    assert process.returncode == 0, f"seed {seed}: {output[-3000:]}"
