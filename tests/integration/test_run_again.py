"""Going on with what did not end well: one run by its id, a pipeline by its step; and papermill by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db import advisory, engine
from genonaut_lib.errors import CannotResume, NotebookFailed, RunInterrupted, WrongEnvironment
from genonaut_lib.runs import pipelines
from genonaut_lib.runs.engine import RunRequest, run_notebook
from genonaut_lib.runs.resume import request_of
from genonaut_lib.settings import load_settings
from tests.integration.stage import ROOT, Stage, staged, statuses

UNLESS_MENDED = "import pathlib\nassert pathlib.Path('mended').exists()"


@pytest.fixture(scope="module")
def stage(admin_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One project and one database for this file."""
    with staged(admin_url, tmp_path_factory.mktemp("project")) as made:
        yield made


@pytest.fixture
def failed(stage: Stage) -> Iterator[uuid.UUID]:
    """A run that failed for want of a file called `mended`."""
    name = stage.notebook("81_wanting", UNLESS_MENDED)
    with pytest.raises(NotebookFailed, match="AssertionError"):
        run_notebook(stage.settings, RunRequest(name, {"word": "given"}))
    yield stage.row("run_id", name)[0]
    Path("mended").unlink(missing_ok=True)


def test_a_failed_run_is_gone_on_with_by_its_id(
    stage: Stage, failed: uuid.UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same notebook with the same parameters, as a new run that names the old; once it is ok, no more."""
    assert run_guarded(["run", "--resume", failed.hex[:8], "--env", "test"]) == 1
    Path("mended").touch()
    assert run_guarded(["run", "--resume", failed.hex[:8], "--env", "test"]) == 0
    rows = stage.rows("run_id state resumed_from parameters", "81_wanting")
    assert [row[1:3] for row in rows] == [("failed", None), ("failed", failed), ("ok", failed)]
    assert all(row[3] == rows[0][3] and row[3]["word"] == "given" for row in rows)
    capsys.readouterr()
    assert run_guarded(["run", "--resume", str(rows[-1][0]), "--env", "test"]) == 2
    assert "ended well" in capsys.readouterr().err


def test_what_is_not_the_same_run_any_more_is_refused(stage: Stage, failed: uuid.UUID) -> None:
    """A changed notebook wants --changed, another environment its own name, an unknown id is no run."""
    with pytest.raises(WrongEnvironment, match="was made for environment 'test'"):
        request_of(load_settings("dev"), str(failed))
    for unknown in (uuid.uuid4().hex, failed.hex[:5], "nonsense"):
        with pytest.raises(CannotResume, match="No run of this database"):
            request_of(stage.settings, unknown)
    stage.notebook("81_wanting", UNLESS_MENDED, "2")
    with pytest.raises(CannotResume, match="was changed since"):
        request_of(stage.settings, str(failed))
    found = request_of(stage.settings, str(failed), changed=True)
    assert (found.notebook, found.parameters["word"], found.resumed_from) == ("81_wanting", "given", failed)


def test_a_run_at_work_is_not_gone_on_with(stage: Stage) -> None:
    """Its lock is held, so there is somebody who does it."""
    run_id = uuid.uuid4()
    with engine.connect(stage.settings) as connection:
        advisory.try_hold(connection, str(run_id))
        connection.execute(
            "insert into workbench.runs (run_id, notebook, state, actor, parameters, notebook_digest)"
            " values (%s, '81_wanting', 'running', 'a@b', '{}', '')",
            [run_id],
        )
        with pytest.raises(CannotResume, match="still at work"):
            request_of(stage.settings, str(run_id))
        connection.execute("delete from workbench.runs where run_id = %s", [run_id])


@pytest.mark.parametrize("more", [["81"], ["-p", "word=other"], ["--apply"]])
def test_resume_takes_nothing_else(more: list[str], stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """What was asked for then is what is done now."""
    assert run_guarded(["run", *more, "--resume", "0123abcd", "--env", "test"]) == 2
    assert "from the run" in capsys.readouterr().err


def sequence(stage: Stage, name: str, notebooks: list[str]) -> None:
    """Make a pipeline of notebooks that are no dry runs, since a dry run finishes nothing."""
    steps = [{"notebook": notebook, "parameters": {"dry_run": False}} for notebook in notebooks]
    (stage.root / "params" / "pipelines.yaml").write_text(json.dumps({name: steps}))


def test_a_resumed_step_counts_for_its_pipeline(stage: Stage) -> None:
    """The sequence goes on behind it."""
    steps = [stage.notebook("82_step", UNLESS_MENDED), stage.notebook("83_step", "1")]
    sequence(stage, "short", steps)
    with pytest.raises(NotebookFailed):
        pipelines.run_pipeline(stage.settings, "short", lambda report: None)
    Path("mended").touch()
    run_notebook(stage.settings, request_of(stage.settings, str(stage.row("run_id", steps[0])[0])))
    reports = pipelines.run_pipeline(stage.settings, "short", lambda report: None)
    Path("mended").unlink()
    assert [report.result is not None for report in reports] == [False, True]


def test_a_signal_between_two_steps_ends_the_pipeline_there(stage: Stage) -> None:
    """The next start goes on with the step that was not begun."""
    steps = [stage.notebook("84_step", "1"), stage.notebook("85_step", "1")]
    sequence(stage, "stopped", steps)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        pipelines.run_pipeline(stage.settings, "stopped", lambda report: os.kill(os.getpid(), signal.SIGTERM))
    with engine.connect(stage.settings) as connection:
        row = connection.execute("select state from workbench.pipelines where name = 'stopped'").fetchone()
    assert (row, stage.rows("state", steps[1])) == (("failed",), [])
    reports = pipelines.run_pipeline(stage.settings, "stopped", lambda report: None)
    assert [report.result is not None for report in reports] == [False, True]


def test_a_second_pipeline_is_told_to_try_again_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was done, and nothing is wrong: exit code 75."""
    monkeypatch.setattr(pipelines, "LOCK_WAIT_S", 0.1)
    sequence(stage, "other", [stage.notebook("86_step", "1")])
    with engine.connect(stage.settings) as connection:
        advisory.try_hold(connection, pipelines.LOCK)
        assert run_guarded(["pipeline", "other", "--env", "test"]) == 75


@pytest.fixture(scope="module")
def entry_points(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A search path on which the project's entry points stand as an installation would put them."""
    folder = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["entry-points"].items()
    lines = [line for group, found in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in found.items()))]
    information = folder / "genonaut_entry_points-0.dist-info"
    information.mkdir()
    (information / "entry_points.txt").write_text("\n".join(lines))
    return f"{folder}{os.pathsep}{ROOT}"


@pytest.mark.parametrize("address", ["out.ipynb", "record://out.ipynb"])
def test_papermill_itself_runs_our_engine(address: str, stage: Stage, entry_points: str, tmp_path: Path) -> None:
    """From the shell, by its name; parameters are injected, and papermill's own last write replaces the file, too."""
    name = stage.notebook("87_shell", "print(word)", "1 / 0", "2")
    source = stage.root / "notebooks" / f"{name}.ipynb"
    command = [sys.executable, "-m", "papermill", "--engine", "genonaut", "--cwd", "/", "-p", "word", "given"]
    ended = subprocess.run(
        [*command, str(source), address],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": entry_points},
        capture_output=True,
        text=True,
        check=False,
    )
    record = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert (ended.returncode, "ZeroDivisionError" in ended.stderr) == (1, True)
    assert statuses(record) == ["completed", "failed", "pending"]
    assert record.metadata.genonaut.status == "failed"
    assert any("given" in str(cell.get("outputs")) for cell in record.cells)
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]
