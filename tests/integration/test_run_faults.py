"""Whatever ends a run, its record and the ledger say so: no cell is completed that did not run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import nbformat
import psutil
import pytest

from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db import embedded, engine
from genonaut_lib.errors import KernelDied, NotebookFailed, RunOverdue
from genonaut_lib.runs import reaper
from genonaut_lib.runs.engine import RunRequest, run_notebook
from genonaut_lib.settings import load_settings
from tests.integration.stage import Stage, folder_of_a_stage, says, staged, statuses
from tests.waiting import eventually

WORK = """
import pathlib, time
try:
    print("at work", flush=True)
    time.sleep(60)
finally:
    pathlib.Path("checkpoint").write_text("kept")
"""
STUBBORN = """
import time
print("at work", flush=True)
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("not now", flush=True)
"""
GONE = """
import os, signal, time
os.kill(int(word), signal.SIGQUIT)
time.sleep(1)
from genonaut_lib.db import engine
from genonaut_lib.settings import load_settings
engine.connect(load_settings())
"""
SMALL = """
import glob, os, time
print("small", flush=True)
said, until = '"small\\\\n"', time.monotonic() + 30
records = lambda: glob.glob("outputs/**/*.ipynb", recursive=True)
while time.monotonic() < until and not any(said in open(one).read() for one in records()):
    time.sleep(0.05)
"""
"""A cell's first words, and that they are in its record."""
CROWD = f"""{SMALL}
filler = os.open("outputs/filler", os.O_CREAT | os.O_WRONLY)
try:
    while True:
        os.write(filler, bytes(512))
except OSError as error:
    print(error.strerror, "x" * 500_000, flush=True)
"""
CANCEL_WITHIN_S = 10.0
BEHIND_S = 2.0


@pytest.fixture(scope="module")
def stage(admin_url: str) -> Iterator[Stage]:
    """One project and one database for this file; each test has a notebook of its own."""
    with folder_of_a_stage() as root, staged(admin_url, root) as made:
        yield made


def reap(stage: Stage) -> list[tuple[str, str]]:
    with engine.connect(stage.settings) as connection:
        return [(found.run.start.notebook, found.ending.state) for found in reaper.reap(connection, stage.settings)]


def status(record: nbformat.NotebookNode) -> str:
    return str(record.metadata.genonaut.status)


def test_a_cell_that_raised_is_failed_and_those_behind_it_are_pending(stage: Stage) -> None:
    """Record, HTML copy and ledger agree."""
    name = stage.notebook("81_raising", "1", "raise ValueError('a <b>bad</b> one')", "2")
    with pytest.raises(NotebookFailed, match="stopped in cell 4: ValueError"):
        run_notebook(stage.settings, RunRequest(name))
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["completed", "failed", "pending"], "failed")
    assert record.metadata.genonaut.failure.cause == "ValueError"
    saved_at = datetime.fromisoformat(record.metadata.genonaut.saved_at)
    assert abs(saved_at.timestamp() - stage.record_path(name).stat().st_mtime) < BEHIND_S
    state, failure, ended_at = stage.row("state failure ended_at", name)
    assert (state, failure["cause"], ended_at is not None) == ("failed", "ValueError", True)
    page = stage.record_path(name).with_suffix(".html").read_text()
    assert "This run ended as <code>failed</code>" in page
    assert "a <b>bad</b> one" not in page


def test_leaving_early_is_no_good_end(stage: Stage) -> None:
    """Cells behind the exit did not run, so the run is not ok."""
    name = stage.notebook("82_leaving", "import sys; sys.exit()", "2")
    with pytest.raises(NotebookFailed, match="left before its end"):
        run_notebook(stage.settings, RunRequest(name))
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["failed", "pending"], "failed")


def test_a_killed_kernel_leaves_its_cell_failed_and_the_run_killed(stage: Stage) -> None:
    """SIGKILL from outside, or from a machine that is out of memory; what it printed is kept."""
    kill = "import os, time\nprint('last words', flush=True)\ntime.sleep(0.5)\nos.kill(os.getpid(), 9)"
    name = stage.notebook("83_killed", "1", kill, "2")
    with pytest.raises(KernelDied, match="process is gone"):
        run_notebook(stage.settings, RunRequest(name))
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["completed", "failed", "pending"], "killed")
    assert stage.row("state", name) == ("killed",)
    assert says(stage.record_path(name), "last words")
    assert says(stage.record_path(name), "KernelDied")


def test_a_run_past_its_deadline_is_ended_and_failed(stage: Stage) -> None:
    """A hang does not last; the ledger knew the deadline from the start."""
    name = stage.notebook("84_hanging", WORK, "2")
    with pytest.raises(RunOverdue, match="deadline of 8 s"):
        run_notebook(stage.settings, RunRequest(name, deadline_s=8))
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["failed", "pending"], "failed")
    state, failure, started_at, deadline_at = stage.row("state failure started_at deadline_at", name)
    assert (state, failure["cause"]) == ("failed", "RunOverdue")
    assert 7 < (deadline_at - started_at).total_seconds() < 9


def test_sigterm_interrupts_the_cell_and_leaves_a_clean_record(stage: Stage) -> None:
    """The work inside reaches its checkpoint, the run is cancelled within ten seconds, the exit code is 1."""
    name = stage.notebook("85_terminated", "1", WORK, "2")
    process = stage.start("run", name)
    eventually(lambda: says(stage.record_path(name), "at work"))
    said, seconds = stop(process, signal.SIGTERM)
    assert (process.returncode, "stopped by SIGTERM" in said, "--resume" in said) == (1, True, True)
    assert seconds < CANCEL_WITHIN_S
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["completed", "failed", "pending"], "cancelled")
    assert stage.row("state", name) == ("cancelled",)
    assert Path("checkpoint").read_text() == "kept"


def test_a_cell_that_will_not_be_interrupted_is_killed(stage: Stage) -> None:
    """What it would not end is ended in time all the same, and Ctrl-C leaves with the shell's own code."""
    name = stage.notebook("86_stubborn", STUBBORN, "2")
    process = stage.start("run", name, GENONAUT_RUNS__STOP_GRACE_S="1")
    eventually(lambda: says(stage.record_path(name), "at work"))
    _, seconds = stop(process, signal.SIGINT)
    assert (process.returncode, seconds < CANCEL_WITHIN_S) == (130, True)
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["failed", "pending"], "cancelled")
    assert says(stage.record_path(name), "not now")


def test_a_killed_runner_leaves_a_record_that_is_close_behind_and_found_lost(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel goes, the next start or a reaper says lost in ledger and record, and nothing else is left."""
    name = stage.notebook("87_lost", "1", "import os, time; print('kernel', os.getpid())", WORK)
    process = stage.start("run", name)
    eventually(lambda: says(stage.record_path(name), "at work"))
    path, record = stage.record_path(name), stage.record(name)
    kernel = int(record.cells[3].outputs[0].text.split()[1])
    left = path.with_name(f".{path.name}.{os.uname().nodename}.{process.pid}.draft")
    process.kill()
    process.communicate()
    left.write_text("half a record")
    (met,) = Path(tempfile.gettempdir()).glob(f"gk-{path.stem.rsplit('_')[-1]}*")
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["completed", "completed", "running"], "running")
    assert run_guarded(["runs", "reap", "--env", "test"]) == 0
    assert f"{name} lost" in capsys.readouterr().out
    record = stage.record(name)
    assert (statuses(record), status(record)) == (["completed", "completed", "failed"], "lost")
    assert stage.row("state", name) == ("lost",)
    assert "<code>lost</code>" in path.with_suffix(".html").read_text()
    assert f'id="{path.stem}" data-outcome="lost"' in (path.parents[1] / "index.html").read_text()
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".")]
    assert not met.exists()
    eventually(lambda: not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE)
    assert reap(stage) == []


def test_output_is_less_than_two_seconds_behind(stage: Stage) -> None:
    """Whoever reads the record of a run at work sees what it does now."""
    ticking = "import time\nfor _ in range(30):\n    print(f'@{time.time()}@', flush=True)\n    time.sleep(0.1)"
    name = stage.notebook("88_ticking", ticking)
    behind: list[float] = []
    reader = threading.Thread(target=read_while_running, args=(stage, name, behind))
    reader.start()
    run_notebook(stage.settings, RunRequest(name))
    reader.join()
    assert len(behind) > 10
    assert max(behind) < BEHIND_S


def read_while_running(stage: Stage, name: str, behind: list[float]) -> None:
    """Note how old the newest line of the last cell is, for as long as the cell is at work."""
    path = stage.record_path(name)
    while True:
        before, asked = path.stat(), time.time()
        record = json.loads(path.read_text())
        if record["metadata"]["genonaut"]["status"] != "running":
            return
        cell, after = record["cells"][-1], path.stat()
        stamps = str(cell["outputs"]).split("@")[1::2]
        # Of a record that was replaced meanwhile nobody knows whether this is what stood there when it was asked for.
        same = (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        if stamps and same and cell["metadata"]["papermill"]["status"] == "running":
            behind.append(asked - float(stamps[-1]))
        time.sleep(0.05)


def test_a_disk_that_fills_up_keeps_the_last_good_copy_which_says_so(stage: Stage) -> None:
    """The run ends, failed; the room for its last words was held from the start."""
    grow = "print('x' * 3_000_000)\ntime.sleep(1)"
    name = stage.notebook("89_filling", SMALL + grow, "2")
    process = stage.start("run", name, limit=2_000_000)
    said, _ = process.communicate(timeout=90)
    assert (process.returncode, "could not be written: File too large" in said) == (1, True)
    record = stage.record(name)
    assert (status(record), record.metadata.genonaut.failure.cause) == ("failed", "RecordUnwritable")
    assert says(stage.record_path(name), "small")
    assert "completed" not in statuses(record)[1:]
    assert stage.row("state", name) == ("failed",)


def test_a_disk_without_a_byte_left_still_takes_the_last_words(admin_url: str, tmp_path: Path) -> None:
    """Somebody else fills it while the run is on; what could not be written then is made good by the next start."""
    with staged(admin_url, tmp_path) as own, small_disk(own.root / "outputs"):
        name = own.notebook("96_crowded", CROWD, "2")
        with pytest.raises(NotebookFailed, match="could not be written: No space left on device"):
            run_notebook(own.settings, RunRequest(name))
        record = own.record(name)
        assert (status(record), record.metadata.genonaut.failure.cause) == ("failed", "RecordUnwritable")
        assert says(own.record_path(name), "small")
        assert own.row("state", name) == ("failed",)
        (own.root / "outputs" / "filler").unlink()
        assert reap(own) == []
        assert run_guarded(["runs", "verify", "--env", "test"]) == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put a file system of three megabytes where a folder is to be; skip where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_the_run_before_anything_is_done(stage: Stage) -> None:
    """Exit code 75: there may be room later. The ledger knows of nothing."""
    name = stage.notebook("90_roomless", "1")
    process = stage.start("run", name, limit=500_000)
    said, _ = process.communicate(timeout=90)
    assert (process.returncode, "No room for a record" in said) == (75, True)
    assert stage.rows("state", name) == []


def test_a_run_whose_sessions_are_ended_lives_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock is free for a moment, but its heart beats: nobody declares it lost, and it ends well."""
    monkeypatch.setenv("GENONAUT_RUNS__HEARTBEAT_S", "0.2")
    cut = (
        "from genonaut_lib.db import engine\nfrom genonaut_lib.migration import ledger\n"
        "from genonaut_lib.settings import load_settings\nimport time\n"
        "connection = engine.connect(load_settings())\n"
        "cut = 'select pid, pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()'\n"
        "cut += ' and pid <> pg_backend_pid()'\n"
        "ended = [pid for pid, _ in connection.execute(cut).fetchall()]\n"
        'ours = "database = (select oid from pg_database where datname = current_database())"\n'
        "locks = \"select count(*) from pg_locks where locktype = 'advisory' and pid <> all(%s) and \" + ours\n"
        "lost, held, until = [], 0, time.monotonic() + 10\n"
        "while held != 1 and time.monotonic() < until:\n    time.sleep(0.02)\n"
        "    lost += ledger.gone_runs(connection, 20)\n"
        "    held = connection.execute(locks, [ended]).fetchone()[0]\n"
        "print('found lost:', lost, 'locks:', held)"
    )
    name = stage.notebook("91_cut", cut)
    run_notebook(stage.settings, RunRequest(name))
    assert says(stage.record_path(name), "found lost: [] locks: 1")
    assert stage.row("state failure", name) == ("ok", None)


def test_a_kernel_is_reached_by_its_own_user_alone(stage: Stage) -> None:
    """Not over ports, which another process may have taken; and nothing is left where they met."""
    look = (
        "import json, os, stat\nfrom ipykernel.connect import get_connection_info\n"
        "place = json.loads(get_connection_info())\nfolder = os.path.dirname(place['ip'])\n"
        "print(place['transport'], oct(stat.S_IMODE(os.stat(folder).st_mode)), f'@{folder}@')"
    )
    name = stage.notebook("97_sockets", look)
    run_notebook(stage.settings, RunRequest(name))
    said = str(stage.record(name).cells[-1].outputs[0].text)
    assert said.startswith("ipc 0o700 ")
    assert not Path(said.split("@")[1]).exists()


def test_a_silent_run_whose_lock_is_free_is_lost(stage: Stage) -> None:
    """Of a process on another machine only the heart can be heard."""
    with engine.connect(stage.settings) as connection:
        for silent_s in (5, 25):
            connection.execute(
                "insert into workbench.runs (run_id, notebook, state, actor, parameters, notebook_digest, host,"
                " process_id, heartbeat_at) values (gen_random_uuid(), %s, 'running', 'a@b', '{}', '', 'elsewhere', 1,"
                " now() - make_interval(secs => %s))",
                [f"silent_for_{silent_s}", silent_s],
            )
        assert reap(stage) == [("silent_for_25", "lost")]
        connection.execute("delete from workbench.runs where host = 'elsewhere' and state = 'running'")


def test_a_busy_colleague_in_a_cell_means_try_again_later(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """A job that met another one at the same work leaves with 75, though its record says failed."""
    name = stage.notebook("92_busy", "from genonaut_lib.errors import BitmapsBusy\nraise BitmapsBusy")
    assert run_guarded(["run", name, "--env", "test"]) == 75
    assert stage.row("state", name) == ("failed",)


def test_a_database_that_goes_away_is_told_by_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run fails with code 1 and its record says how; the ledger takes it from there once it is back."""
    with tempfile.TemporaryDirectory(prefix="gn-", dir="/tmp") as state:
        monkeypatch.setenv("GENONAUT_STATE", state)
        monkeypatch.setenv("GENONAUT_RUNS__LOST_AFTER_S", "0.1")
        monkeypatch.delenv("DATABASE_URL", raising=False)
        servers = load_settings("test").servers
        address = embedded.start_postgres("test", servers)
        try:
            with staged(address, tmp_path) as own:
                name = own.notebook("94_serverless", GONE)
                pid = embedded.status("test")[0].pid
                assert run_guarded(["run", name, "--env", "test", "-p", f"word='{pid}'"]) == 1
                assert "The ledger could not be told" in capsys.readouterr().err
                assert status(own.record(name)) == "failed"
                embedded.start_postgres("test", servers)
                assert own.row("state", name) == ("running",)
                assert (reap(own), reap(own)) == ([(name, "failed")], [])
                assert own.row("failure", name)[0]["cause"] == "DatabaseUnreachable"
        finally:
            embedded.stop("test")


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, float]:
    """Send a signal and return what the process said, and how many seconds it took to end."""
    process.send_signal(number)
    began = time.monotonic()
    said, _ = process.communicate(timeout=60)
    return said, time.monotonic() - began


def test_every_run_of_this_file_is_sealed_exactly_once(stage: Stage) -> None:
    """Whichever way they ended, the chain tells of each, agrees with the ledger, and holds."""
    with pytest.raises(NotebookFailed):
        run_notebook(stage.settings, RunRequest(stage.notebook("95_sealed", "1 / 0")))
    with engine.connect(stage.settings) as connection:
        counted = connection.execute(
            "select r.state, count(distinct r.run_id), count(s.run_id) from workbench.runs r"
            " left join workbench.run_records s using (run_id) group by 1"
        ).fetchall()
    assert {runs == seals for _, runs, seals in counted} == {True}
    assert run_guarded(["runs", "verify", "--env", "test"]) == 0
