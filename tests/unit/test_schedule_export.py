"""Schedules handed to other schedulers mean what ours mean, and no secret is in them."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from apscheduler.triggers.cron import CronTrigger

from genonaut_lib.runs.schedules.schedule_export import FORMATS, Target, calendar
from genonaut_lib.runs.sequences import Schedule, load_sequences, scheduled_sequences
from genonaut_lib.settings import environments

SCHEDULES = {
    "seal": Schedule(cron="*/10 * * * *", deadline_s=600),
    "roll_up": Schedule(cron="30 2 1-7 1,jul *", time_zone="Europe/Berlin", overlap="queue", catch_up="once"),
    "review": Schedule(cron="5 1-3 * * mon-fri,0", deadline_s=90, catch_up="once"),
}
TARGET = Target("production", is_protected=True, project="/srv/genonaut", secrets="", image="genonaut:1")
COMMAND = "genonaut pipeline seal --env production --apply --confirm production"


def exported(form: str) -> str:
    return FORMATS[form](SCHEDULES, TARGET)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_sequence_is_in_every_format_with_its_command(form: str) -> None:
    """The protected environment is confirmed by name, as a person would."""
    text = exported(form)
    assert all(f"{name}" in text for name in SCHEDULES)
    assert text.replace("\n            - ", " ").count("--confirm production") == len(SCHEDULES)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_no_secret_is_exported(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where secrets stand is said, not what they are."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:canary-91c2@h/d")
    monkeypatch.setenv("GENONAUT_CURSOR_KEY", "canary-91c2" * 4)
    assert "canary" not in exported(form)


def cron_lines() -> list[str]:
    return [line for line in exported("cron").splitlines() if "flock" in line]


def test_cron_lines_are_read_back_as_the_same_times() -> None:
    """By APScheduler's reading of a crontab, which counts the days of the week from Monday."""
    start = datetime(2026, 5, 4, 0, 0, 1, tzinfo=UTC)
    for line, schedule in zip(cron_lines(), SCHEDULES.values(), strict=True):
        fields = line.split()[:5]
        fields[4] = fields[4].replace("0", "sun")
        trigger = CronTrigger.from_crontab(" ".join(fields), timezone=schedule.time_zone)
        assert trigger.get_next_fire_time(None, start) == schedule.after(start)


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (75, 0), (1, 1), (2, 1)])
def test_a_cron_line_passes_over_what_was_busy_and_nothing_else(code: int, seen: int, tmp_path: Path) -> None:
    """The shell runs the line as it stands, with the secrets of the file in its environment."""
    if shutil.which("flock") is None:
        pytest.skip("no flock here")
    genonaut = tmp_path / "genonaut"
    genonaut.write_text(f'#!/bin/sh\n[ "$WORD" = found ] && echo "genonaut $*" > called\nexit {code}\n')
    genonaut.chmod(0o755)
    (tmp_path / "secrets").write_text("WORD=found\n")
    variables = {"PROJECT": str(tmp_path), "SECRETS": str(tmp_path / "secrets")}
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["/bin/sh", "-c", cron_lines()[0].split(maxsplit=5)[5]], env={**path, **variables}, check=False
    )
    assert (done.returncode, (tmp_path / "called").read_text().strip()) == (seen, COMMAND)


def units() -> dict[str, str]:
    """Return the systemd units by the names of their files."""
    found: dict[str, str] = {}
    for line in exported("systemd").splitlines(keepends=True):
        if line.startswith("# genonaut-"):
            name = line[2:].strip()
            found[name] = ""
        found[name] += line
    return found


def analysed(*arguments: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    """systemd itself finds nothing to say against them."""
    for name, text in units().items():
        (tmp_path / name).write_text(text.replace("/srv/genonaut", str(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 2 * len(SCHEDULES)
    analysed("verify", *(str(path) for path in sorted(tmp_path.iterdir())))


@pytest.mark.parametrize("name", SCHEDULES)
def test_systemd_means_the_same_times(name: str) -> None:
    """Its next time after an instant is ours."""
    start = datetime(2026, 5, 4, tzinfo=UTC)
    said = analysed("calendar", "--base-time=2026-05-04 00:00:00 UTC", calendar(SCHEDULES[name]))
    [line] = [line for line in said.splitlines() if "Next elapse" in line or "(in UTC)" in line][-1:]
    due = SCHEDULES[name].after(start)
    assert due is not None
    assert f"{due:%Y-%m-%d %H:%M:%S} UTC" in line


def test_kubernetes_gets_time_zone_deadline_and_concurrency() -> None:
    """A job that is busy is tried again until its deadline; one that failed is not."""
    seal, roll_up, _ = (job for job in yaml.safe_load_all(exported("k8s")) if job)
    assert (seal["spec"]["schedule"], seal["spec"]["concurrencyPolicy"]) == ("*/10 * * * *", "Forbid")
    job: dict[str, Any] = seal["spec"]["jobTemplate"]["spec"]
    assert (job["activeDeadlineSeconds"], job["backoffLimit"]) == (600, 0)
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [75]
    assert job["template"]["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "genonaut"}}]
    assert (roll_up["metadata"]["name"], roll_up["spec"]["timeZone"]) == ("genonaut-roll-up", "Europe/Berlin")
    assert "activeDeadlineSeconds" not in roll_up["spec"]["jobTemplate"]["spec"]


def test_airflow_gets_python_it_can_read() -> None:
    """Each sequence is a DAG with its time zone, its deadline and one run at a time."""
    calls = [node for node in ast.walk(ast.parse(exported("airflow"))) if isinstance(node, ast.Call)]
    given = [{word.arg: ast.unparse(word.value) for word in call.keywords} for call in calls]
    dags = [words for words in given if "dag_id" in words]
    assert [words["dag_id"] for words in dags] == ["'genonaut_seal'", "'genonaut_roll_up'", "'genonaut_review'"]
    assert "timezone='Europe/Berlin'" in dags[1]["schedule"]
    assert {words["max_active_runs"] for words in dags} == {"1"}
    limits = [words["execution_timeout"] for words in given if "execution_timeout" in words]
    assert limits == ["timedelta(seconds=600.0)", "None", "timedelta(seconds=90.0)"]


def test_the_sequences_of_the_project_name_notebooks_that_exist() -> None:
    """Those with a schedule have one that comes, and a deadline."""
    notebooks = {path.stem for path in Path("notebooks").glob("*.ipynb")}
    assert environments()
    assert {step.notebook for found in load_sequences().values() for step in found.steps} <= notebooks
    assert set(scheduled_sequences()) == {"seal", "stats", "review"}
    assert all(schedule.deadline_s for schedule in scheduled_sequences().values())
