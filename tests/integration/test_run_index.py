"""Runs appear on the index however they end; open, diff and retire read them; a real browser shows the pages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from genonaut_lib.errors import NotebookFailed
from genonaut_lib.runs.engine import RunRequest, run_notebook
from genonaut_lib.runs.reading import index
from genonaut_lib.runs.report import write_html
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.settings import Settings
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.written import APPLIED, FIRST, VERIFIED, notebook, write

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


def rows_of(folder: Path) -> list[tuple[str, str]]:
    """Return notebook and outcome of each row of an index, newest first."""
    page = (folder / "index.html").read_text()
    return re.findall(r'<tr id="\d{6}_(\w+)_[0-9a-f]{6}" data-outcome="(\w+)"', page)


def test_runs_stand_on_the_index_however_they_end(
    project: Path, settings: Settings, gallery: Gallery, command: Callable[..., Ended]
) -> None:
    """A good run with its rows, a failed one with its reason, a report each that leads to the others."""
    gallery.legacy_item(["anime"])
    folder = project / "outputs" / "test"
    good = run_notebook(settings, RunRequest("10_seed_tags", {"dry_run": False}))
    with pytest.raises(NotebookFailed):
        run_notebook(settings, RunRequest("12_backfill_tag_uuids", {"dry_run": False}))
    assert rows_of(folder) == [("12_backfill_tag_uuids", "failed"), ("10_seed_tags", "ok")]
    page = (folder / "index.html").read_text()
    assert "CheckFailed" in page
    assert "no replicas" in page
    assert "not sealed" not in page
    reports = {path.name[7:9]: path.read_text() for path in sorted(folder.glob("20*/*.html"))}
    assert "ended as <code>failed</code>" in reports["12"]
    assert good.html.name in reports["12"]
    assert f"../index/{good.html.parent.name}.html#{good.html.stem}" in reports["10"]
    assert not re.search(r'<script|src="http', reports["10"] + reports["12"])
    _read_by_commands(command, str(good.run_id), good.html)


def _read_by_commands(command: Callable[..., Ended], run: str, report: Path) -> None:
    """What was run is opened, compared, and kept: nothing of it may be retired, since both runs are needed."""
    listed = json.loads(command("runs", "list", "--env", "test", "--json").said)
    failed = listed[0]["run_id"]
    assert command("runs", "open", run[:8], "--env", "test").said.strip() == str(report.resolve())
    assert command("runs", "open", "--index", "--env", "test").said.strip().endswith("outputs/test/index.html")
    assert command("runs", "open", "--env", "test").code == 2
    same = command("runs", "diff", run, run, "--env", "test")
    assert (same.code, "Nothing but times differs" in same.said) == (0, True)
    differing = command("runs", "diff", run, failed[:8], "--env", "test", "--json")
    found = json.loads(differing.said)
    assert (differing.code, found["same"]) == (0, False)
    outcome = next(pair for pair in found["groups"]["run"] if pair["name"] == "outcome")
    assert (outcome["before"], outcome["after"]) == ("ok", "failed")


def test_retiring_by_policy_leaves_a_record_that_verifies(
    project: Path, settings: Settings, gallery: Gallery, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command says what would go, then lets it go; index and ledger agree afterwards."""
    monkeypatch.setenv("GENONAUT_RECORDS__KEEP_DAYS", "0")
    for _ in range(2):
        run_notebook(settings, RunRequest("10_seed_tags"))
    folder = project / "outputs" / "test"
    would = json.loads(command("runs", "retire", "--env", "test", "--dry-run", "--json").said)
    assert (len(would["retired"]), len(rows_of(folder))) == (1, 2)
    retired = command("runs", "retire", "--env", "test", "--json")
    assert json.loads(retired.said)["files_removed"] == 3
    assert len(rows_of(folder)) == 1
    assert "Retired by policy: 1;" in (folder / "index.html").read_text()
    assert command("runs", "verify", "--env", "test").code == 0
    shown = command("runs", "open", would["retired"][0]["run_id"], "--env", "test")
    assert (shown.code, "retired by policy" in shown.said) == (2, True)


def test_an_index_that_cannot_be_written_does_not_change_how_a_run_ends(
    project: Path, settings: Settings, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is ok, its record sealed, and the failure said."""
    (project / "outputs" / "test" / "index.html").mkdir(parents=True)
    assert run_notebook(settings, RunRequest("10_seed_tags")).output.is_file()
    assert "index of the runs could not be renewed" in caplog.text


def browsed(address: str, *options: str) -> tuple[str, str]:
    """Return the document as Chromium has it once the scripts ran, and what its console said."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    ended = subprocess.run([*command, *options, address], capture_output=True, text=True, check=True, timeout=60)
    return ended.stdout, "\n".join(line for line in ended.stderr.splitlines() if "CONSOLE" in line)


@browser
def test_a_browser_filters_the_rows_and_has_nothing_to_complain_about(tmp_path: Path) -> None:
    """The policy lets the script work, and the script hides what was not asked for."""
    good = write(tmp_path, FIRST, notebook((APPLIED, VERIFIED), {"word": "<script>alert(1)</script>"}))
    bad = write(tmp_path, FIRST + timedelta(minutes=1), notebook(), outcome="failed", notebook="21_other")
    page = index.update(tmp_path, Redactor()).as_uri()
    for asked, shown in (("", {good, bad}), ("?outcome=failed", {bad}), ("?find=WORD%20ada", {good})):
        document, complaints = browsed(page + asked)
        rows = re.findall(r'<tr id="([^"]+)"([^>]*)>', document)
        assert {stem for stem, attributes in rows if "hidden" not in attributes} == shown
        assert f"{len(shown)} of 2 runs shown" in document
        assert complaints == ""


@browser
def test_a_browser_shows_a_report_and_runs_nothing_in_it(tmp_path: Path) -> None:
    """A report is inert: what a cell put out as a script does nothing, and no other place is asked for anything."""
    executed = notebook((APPLIED,))
    shown = {"text/html": "<h4>Applied</h4><script>document.title = 'it ran'</script>"}
    executed["cells"][0]["outputs"][0]["data"] |= shown
    stem = write(tmp_path, FIRST, executed, sealed=False)
    report = write_html(tmp_path / "2026-03-01" / f"{stem}.ipynb", Redactor(), "ada@host")
    document, complaints = browsed(report.as_uri())
    assert "<h1>10_seed_tags" in document
    assert f"<title>{stem}</title>" in document
    assert [line for line in complaints.splitlines() if "inline script" not in line] == []
