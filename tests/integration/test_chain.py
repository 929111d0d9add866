"""The chain beside a real ledger: insert-only, one chain from many sealers, whole after a kill at any moment."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import NotebookFailed, RecordNotSealed
from genonaut_lib.migration.ledger import RunStart, end_run, start_run
from genonaut_lib.runs.engine import RunRequest, run_notebook
from genonaut_lib.runs.records import chain, chain_folder, sealing
from genonaut_lib.runs.records.audit.verification import verify
from genonaut_lib.runs.records.ledger_records import records_of
from genonaut_lib.runs.records.manifest import Manifest
from genonaut_lib.settings import Settings
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.records import PARAMETERS, manifest_of, new_key

TAMPERINGS = int(os.environ.get("TABLE_TAMPERINGS", "40"))
OF = "run_id = (select run_id from workbench.run_records where place = %s)"
KEEP = "alter table workbench.run_records {} trigger keep_run_records"

pytestmark = pytest.mark.usefixtures("gallery")


def started(connection: Connection, folder: Path, number: int) -> Manifest:
    """Write a run's files and its ended row, as the engine has when it comes to the sealing."""
    told = manifest_of(folder, number)
    connection.execute(
        "insert into workbench.runs (run_id, notebook, state, actor, parameters, notebook_digest, output_path,"
        " started_at, ended_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [told.run_id, told.notebook, told.outcome, told.actor, Jsonb(PARAMETERS), told.notebook_digest,
         str(folder / str(told.output)), told.started_at, told.started_at + timedelta(seconds=5)],
    )  # fmt: skip
    return told


def seal_some(connection: Connection, folder: Path, count: int, first: int = 1) -> list[Manifest]:
    told = [started(connection, folder, number) for number in range(first, first + count)]
    for one in told:
        chain.seal(connection, folder, one)
    return told


@pytest.mark.parametrize(
    "statement",
    [
        "update workbench.run_records set kind = 'x'",
        "delete from workbench.run_records",
        "truncate workbench.run_records",
    ],
)
def test_the_table_takes_new_rows_only(statement: str, connection: Connection, tmp_path: Path) -> None:
    """Its owner is refused as well, and a session that calls itself a replica."""
    seal_some(connection, tmp_path, 1)
    for role in ("origin", "replica"):
        connection.execute(sql.SQL("set session_replication_role = {}").format(sql.Literal(role)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="takes new rows only"):
            connection.execute(statement)
    assert verify(connection, tmp_path).holds


def test_a_role_that_may_append_cannot_change(connection: Connection, settings: Settings, tmp_path: Path) -> None:
    """The grants of docs/records.md are enough to seal and to verify, and for nothing else."""
    role = f"recorder_{os.getpid()}"
    connection.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
    for grant in grants():
        connection.execute(sql.SQL(grant).format(recorder=sql.Identifier(role)))
    told = started(connection, tmp_path, 1)
    with engine.connect(settings) as appending:
        appending.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        chain.seal(appending, tmp_path, told)
        assert verify(appending, tmp_path).holds
        for statement in ("update workbench.run_records set kind = 'x'", "drop table workbench.run_records"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                appending.execute(statement)
    connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
    connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def grants() -> list[str]:
    """Return the grants to `recorder` that the documentation shows."""
    text = (Path(__file__).parents[2] / "docs" / "records.md").read_text()
    found = [line.strip() for line in text.splitlines() if line.strip().startswith("grant ") and "recorder" in line]
    assert found
    return [line.rstrip(";").replace("recorder", "{recorder}") for line in found]


def test_sealers_at_once_make_one_chain(settings: Settings, connection: Connection, tmp_path: Path) -> None:
    """Four sealers on two folders, as on two machines: no fork, nothing lost, each folder with its own."""
    folders = [tmp_path / name for name in ("one", "two")]
    told = [(folder, [started(connection, folder, number) for number in range(10)]) for folder in folders * 2]

    def work(folder: Path, manifests: list[Manifest]) -> None:
        with engine.connect(settings) as session:
            for one in manifests:
                chain.seal(session, folder, one)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: work(*pair), told))
    findings = [verify(connection, folder) for folder in folders]
    assert [(found.problems, found.records, found.elsewhere) for found in findings] == [((), 20, 20)] * 2


def test_records_of_another_machine_are_elsewhere_and_not_deleted(connection: Connection, tmp_path: Path) -> None:
    """A ledger that holds more than this folder is no contradiction; a chain that lay in this very place is."""
    seal_some(connection, tmp_path / "here", 2)
    seal_some(connection, tmp_path / "there", 1)
    findings = verify(connection, tmp_path / "here")
    assert (findings.problems, findings.elsewhere) == ((), 1)
    (tmp_path / "there").rename(tmp_path / "moved")
    (tmp_path / "here").rename(tmp_path / "there")
    assert [problem.kind for problem in verify(connection, tmp_path / "there").problems] == ["replaced"]


def test_a_folder_that_was_deleted_is_named_record_by_record(connection: Connection, tmp_path: Path) -> None:
    """The ledger knows host and path, so an empty folder is no fresh one; the next seal goes on behind the gap."""
    told = seal_some(connection, tmp_path / "runs", 3)
    (tmp_path / "runs").rename(tmp_path / "gone")
    named = {problem.run_id for problem in verify(connection, tmp_path / "runs").problems}
    assert named == {str(one.run_id) for one in told}
    link = chain.seal(connection, tmp_path / "runs", started(connection, tmp_path / "runs", 4))
    assert link.place == 4
    assert {problem.run_id for problem in verify(connection, tmp_path / "runs").problems} == named


def test_a_database_made_anew_is_told_and_can_be_accepted(
    connection: Connection, settings: Settings, tmp_path: Path
) -> None:
    """Records of a ledger that is gone are a finding until somebody seals why."""
    seal_some(connection, tmp_path, 2)
    ledger = records_of(connection)
    connection.execute("update workbench.identity set adopted_at = adopted_at + interval '1 second'")
    connection.execute(sql.SQL(KEEP.format("disable")))
    connection.execute("truncate workbench.run_records, workbench.runs cascade")
    connection.execute(sql.SQL(KEEP.format("enable always")))
    assert [problem.kind for problem in verify(connection, tmp_path).problems] == ["replaced"]
    assert ledger is not None
    chain.accept_ledgers(connection, tmp_path, [ledger.id], chain.Decision("made anew", "ada@host"), None)
    seal_some(connection, tmp_path, 1, first=3)
    findings = verify(connection, tmp_path)
    assert (findings.problems, findings.records) == ((), 4)


def tamper(connection: Connection, told: list[Manifest], dice: random.Random) -> set[str]:
    """Change the table as a superuser would who switches the trigger off; return the runs it concerns."""
    place = dice.randint(1, len(told))
    statement = dice.choice([
        "update workbench.run_records set body = replace(body, '\"ok\"', '\"no\"') where place = %s",
        "update workbench.run_records set record_hash = 'x' where place = %s",
        "update workbench.run_records set run_id = null where place = %s",
        "update workbench.run_records set folder_place = folder_place + 100 where place = %s",
        "delete from workbench.run_records where place = %s",
        "delete from workbench.run_records where place >= %s",
        f"update workbench.runs set state = 'failed' where {OF}",
        f"update workbench.runs set actor = 'x' where {OF}",
        f"delete from workbench.runs where {OF}",
    ])  # fmt: skip
    connection.execute(statement, [place])
    return {str(one.run_id) for one in (told[place - 1 :] if ">=" in statement else [told[place - 1]])}


def test_random_tamperings_of_the_real_table_are_all_named(connection: Connection, tmp_path: Path) -> None:
    """Each in a transaction that is rolled back, with the trigger switched off."""
    told = seal_some(connection, tmp_path, 6)
    seed = random.randrange(10_000_000)
    for number in range(TAMPERINGS):
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL(KEEP.format("disable")))
            expected = tamper(connection, told, random.Random(seed + number))
            named = {problem.run_id for problem in verify(connection, tmp_path).problems}
        assert expected <= named, f"seed {seed + number}"
    assert verify(connection, tmp_path).holds


KILLED = """
import os, signal, sys
from pathlib import Path
from genonaut_lib.db import engine
from genonaut_lib.runs.records import chain
from genonaut_lib.settings import load_settings

def seal(moment):
    left = [moment]

    def counted(call):
        def step(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                if call is real["write"]:
                    call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return step

    with engine.connect(load_settings("test")) as connection:
        real = {name: getattr(os, name) for name in ("write", "fsync", "unlink", "replace")}
        wait = type(connection).wait
        for name, call in real.items():
            setattr(os, name, counted(call))
        type(connection).wait = counted(wait)
        chain.seal_left_over(connection, Path(sys.argv[1]), None)
    return moment - left[0]

for line in sys.stdin:
    child = os.fork()
    if not child:
        print(seal(int(line)), flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Seals what is left over in a new process for each number read, and kills it at that step."""


def test_a_kill_at_any_moment_of_the_sealing_is_mended_by_the_next_start(
    connection: Connection, tmp_path: Path
) -> None:
    """SIGKILL before each write, fsync, rename and word to the server, half a line written: one record of each run."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sealer:
        for moment in itertools.count(1):
            started(connection, tmp_path, moment)
            if not is_killed(sealer, moment):
                break
            chain.seal_left_over(connection, tmp_path, None)
            findings = verify(connection, tmp_path)
            assert (findings.problems, findings.remarks, findings.records) == ((), (), moment), moment
        assert sealer.stdin is not None
        sealer.stdin.close()
    assert moment > 25


def is_killed(sealer: subprocess.Popen[str], moment: int) -> bool:
    """Have a sealing killed at its n-th step; return False when it had fewer and came to its end."""
    assert sealer.stdin is not None
    assert sealer.stdout is not None
    print(moment, file=sealer.stdin, flush=True)
    return int(sealer.stdout.readline()) == -signal.SIGKILL


def test_a_server_that_is_gone_leaves_the_record_in_the_files_until_it_is_back(
    connection: Connection, second_session: Callable[[], Connection], tmp_path: Path
) -> None:
    """The link names the ledger it belongs in, waits, and is entered by the next start."""
    told, lost, records = started(connection, tmp_path, 1), second_session(), records_of(connection)
    assert records is not None
    connection.execute("select pg_terminate_backend(%s)", [lost.info.backend_pid])
    chain.seal(lost, tmp_path, told, None, records.id)
    before = verify(connection, tmp_path)
    assert before.holds
    assert any("not in every place yet" in remark for remark in before.remarks)
    chain.seal_left_over(connection, tmp_path, None)
    after = verify(connection, tmp_path)
    assert (after.problems, after.remarks, len(records.rows())) == ((), (), 1)


@pytest.fixture
def outputs(project: Path) -> Path:
    return project / "outputs" / "test"


def test_runs_end_in_one_sealed_record_however_they_end(
    outputs: Path, settings: Settings, gallery: Gallery, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ended well, one that failed, and one whose process is gone: three records, signed, shown, verified."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = new_key()
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    monkeypatch.setenv("GENONAUT_SIGNING_KEY", pem)
    settings = replace_key(settings)
    gallery.connection.execute(
        "insert into workbench.runs (run_id, notebook, state, actor, parameters, notebook_digest)"
        " values (gen_random_uuid(), 'killed_one', 'running', 'ada@host', '{}', '')"
    )
    result = run_notebook(settings, RunRequest("10_seed_tags"))
    with pytest.raises(NotebookFailed):
        run_notebook(settings, RunRequest("12_backfill_tag_uuids", {"dry_run": False}))
    rows = gallery.connection.execute(
        "select kind, body::jsonb -> 'content' ->> 'outcome' from workbench.run_records order by place"
    )
    assert rows.fetchall() == [("run", "lost"), ("run", "ok"), ("run", "failed")]
    assert command("runs", "verify").code == 0
    shown = command("runs", "show", str(result.run_id)[:8])
    assert "as sealed" in shown.said
    assert key.fingerprint in shown.said
    result.html.write_text(result.html.read_text() + " ")
    ended = command("runs", "verify", "--json")
    found = json.loads(ended.said)
    assert (ended.code, [problem["run_id"] for problem in found["problems"]]) == (1, [str(result.run_id)])
    assert pem.splitlines()[1] not in "".join(path.read_text() for path in outputs.rglob("*") if path.is_file())


def replace_key(settings: Settings) -> Settings:
    """Return the settings as they are with the environment of this moment."""
    from genonaut_lib.settings import load_settings

    return load_settings(settings.environment)


def test_a_folder_that_cannot_be_written_is_said_and_mended_later(
    outputs: Path, connection: Connection, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the sealing is a sentence, and the next start seals the run."""
    told = manifest_of(outputs, 1)
    start = RunStart(
        told.run_id, told.notebook, told.actor, PARAMETERS, told.notebook_digest, str(outputs / str(told.output))
    )
    start_run(connection, start)
    end_run(connection, start.run_id, "ok", None)
    with monkeypatch.context() as full:
        full.setattr(chain_folder.os, "write", no_space)
        with pytest.raises(RecordNotSealed, match="No space left"):
            sealing.seal(sealing.opened(settings, connection, ledgered=True), connection, start, "ok")
    assert [problem.kind for problem in verify(connection, outputs).problems] == ["unsealed"]
    assert len(chain.seal_left_over(connection, outputs, None)) == 1
    assert verify(connection, outputs).holds


def no_space(*arguments: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_gallery_that_is_not_adopted_is_recorded_in_files_only(settings: Settings, tmp_path: Path) -> None:
    """A preflight of a foreign gallery leaves a record, and nothing in its database."""
    with engine.connect(settings) as connection:
        connection.execute("drop schema workbench cascade")
        link = chain.seal(connection, tmp_path, manifest_of(tmp_path, 1))
        assert link.ledger is None
        findings = verify(connection, tmp_path)
        assert (findings.problems, findings.records) == ((), 1)


@pytest.mark.parametrize("arguments", [["show", "zz"], ["show", "ffff"], ["--limit", "3", "verify"]])
def test_what_means_no_run_is_refused(arguments: list[str], command: Callable[..., Ended]) -> None:
    """A word that is no run's, and options that stand in the wrong place, end with code 2 and a way out."""
    ended = command("runs", *arguments)
    assert ended.code == 2
    assert "genonaut runs" in ended.said


def test_the_bare_group_still_lists(command: Callable[..., Ended]) -> None:
    """Who typed `genonaut runs` before goes on doing so."""
    assert command("runs").said == command("runs", "list").said
    assert json.loads(command("runs", "--json").said) == []
