"""Notebooks run unattended: parameters refused or taken, failures kept and named, pipelines gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest

from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput, NotebookFailed, VerificationFailed
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.runs import pipelines
from genonaut_lib.runs.engine import RunRequest, notebook_path, resolve_parameters, run_notebook
from genonaut_lib.runs.session import NotebookRun
from genonaut_lib.settings import Settings
from tests.factories import Gallery
from tests.migration.test_phases import apply_before

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, so that outputs and pipelines are the test's."""
    for name in ("notebooks", "params", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_leaves_the_executed_notebook_and_an_html_copy(
    project: Path, settings: Settings, gallery: Gallery
) -> None:
    """The record lies under outputs/<env>/<date>, with every cell's output in it."""
    gallery.legacy_item(["anime"])
    result = run_notebook(settings, RunRequest("10_seed_tags", {"dry_run": False}))
    assert result.output.is_relative_to(project / "outputs" / "test")
    executed = nbformat.read(result.output, as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert "Verification passed" in result.html.read_text()


def test_a_dry_run_changes_nothing(project: Path, settings: Settings, gallery: Gallery) -> None:
    """The notebook's own default is to show the plan only."""
    gallery.legacy_item(["anime"])
    run_notebook(settings, RunRequest("10_seed_tags"))
    assert revisions.current(gallery.connection) == revisions.LEDGER


def test_unknown_parameters_are_refused_with_the_nearest_name(settings: Settings) -> None:
    """A typo is an error before anything ran, not a warning."""
    with pytest.raises(InvalidInput, match="Did you mean 'dry_run'"):
        resolve_parameters(settings, notebook_path("10_seed_tags"), {"dry_rum": False})


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_a_parameter_of_another_type_is_refused(value: object, settings: Settings) -> None:
    """`-p dry_run=yes please` must not become a true dry_run."""
    with pytest.raises(InvalidInput, match="must be of type bool"):
        resolve_parameters(settings, notebook_path("10_seed_tags"), {"dry_run": value})


def test_a_failing_notebook_names_cell_error_and_record(project: Path, settings: Settings, gallery: Gallery) -> None:
    """Whoever reads the message knows where it stopped and what to do; the ledger says failed."""
    with pytest.raises(NotebookFailed, match="stopped in cell 4: CheckFailed") as caught:
        run_notebook(settings, RunRequest("12_backfill_tag_uuids", {"dry_run": False}))
    assert "same command again" in str(caught.value)
    rows = gallery.connection.execute("select state, failure, output_path from workbench.runs").fetchall()
    assert [(state, "CheckFailed" in failure["message"]) for state, failure, _ in rows] == [("failed", True)]
    assert Path(rows[0][2]).is_file()


def test_a_stopped_pipeline_goes_on_with_the_step_that_failed(
    project: Path, settings: Settings, gallery: Gallery
) -> None:
    """Steps that ended well are not run again; a pipeline that ended well starts anew."""
    gallery.legacy_item(["anime"])
    apply = {"dry_run": False}
    steps = [
        {"notebook": "10_seed_tags", "parameters": apply},
        {"notebook": "12_backfill_tag_uuids", "parameters": apply},
    ]
    (project / "params" / "pipelines.yaml").write_text(json.dumps({"short": steps}))
    done: list[tuple[str, bool]] = []

    def note(report: pipelines.StepReport) -> None:
        done.append((report.step.key, report.result is not None))

    with pytest.raises(NotebookFailed):
        pipelines.run_pipeline(settings, "short", note)
    run_notebook(settings, RunRequest("11_expand_tag_columns", apply))
    pipelines.run_pipeline(settings, "short", note)
    assert done == [("10_seed_tags", True), ("10_seed_tags", False), ("12_backfill_tag_uuids", True)]


def test_a_run_without_a_process_is_marked_lost(project: Path, settings: Settings, gallery: Gallery) -> None:
    """A killed runner leaves `running` behind; the next run of anything sets it right."""
    gallery.connection.execute(
        "insert into workbench.runs (run_id, notebook, state, actor, parameters, notebook_digest)"
        " values (gen_random_uuid(), 'killed_one', 'running', 'ada@host', '{}', '')"
    )
    run_notebook(settings, RunRequest("10_seed_tags"))
    rows = gallery.connection.execute("select notebook, state from workbench.runs order by started_at").fetchall()
    assert rows == [("killed_one", "lost"), ("10_seed_tags", "ok")]


def test_no_password_reaches_the_record(
    project: Path, settings: Settings, gallery: Gallery, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address reaches the kernel by the environment; neither notebook nor HTML nor ledger holds it."""
    assert settings.database_url is not None
    secret = "canary-7f3a"
    address = f"{settings.database_url.get_secret_value()} password={secret}"
    monkeypatch.setenv("DATABASE_URL", address)
    if "password" in settings.database_url.get_secret_value():
        pytest.skip("this server checks passwords; the canary would not get in")
    result = run_notebook(settings, RunRequest("10_seed_tags"))
    rows = connection.execute("select to_jsonb(r)::text from workbench.runs r").fetchall()
    for text in (result.output.read_text(), result.html.read_text(), str(rows)):
        assert secret not in text


@pytest.mark.parametrize(
    "arguments", [["run", "nosuch"], ["pipeline", "migrat"], ["undo", "attach"], ["run", "10", "-p", "nonsense"]]
)
def test_unknown_names_are_refused_with_exit_code_2(
    arguments: list[str], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names what is known; nothing was started."""
    assert run_guarded(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_failed_verification_ends_the_notebook(context: Context, gallery: Gallery) -> None:
    """It is shown, and no cell behind it runs."""
    gallery.legacy_item(["a"])
    apply_before(context, "verify_content_tags")
    context.connection.execute("truncate content_tags")
    with pytest.raises(VerificationFailed, match="1 mismatches"):
        NotebookRun(PHASES["verify_content_tags"], context, dry_run=False).verify()
