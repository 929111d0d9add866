"""The schedules as text for other schedulers: cron, systemd, Kubernetes, Airflow.

No secret is in any of them; each says where the secrets stand. What a format cannot express is a comment.
Overlap over several machines is refused by the lock that `genonaut pipeline` takes: exit code 75.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from string import Template

import yaml

from genonaut_lib.runs.schedules.children import KILL_AFTER_S
from genonaut_lib.runs.schedules.cron_times import WEEKDAYS, CronTimes
from genonaut_lib.runs.sequences import Schedule

LATER = 75
_DAY_S, _MOST_MISSED = 86_400, 90
_SECRETS = {"cron": "/etc/genonaut/secrets.env", "systemd": "/etc/genonaut/secrets.env", "k8s": "genonaut"}


@dataclass(frozen=True)
class Target:
    """Where the sequences are to run: environment, project folder, where secrets stand ("" for the usual place)."""

    environment: str
    is_protected: bool
    project: str
    secrets: str
    image: str

    def command(self, name: str) -> list[str]:
        """Return the command of a sequence."""
        confirm = ["--confirm", self.environment] if self.is_protected else []
        return ["genonaut", "pipeline", name, "--env", self.environment, "--apply", *confirm]

    def secrets_for(self, form: str) -> str:
        """Return where secrets stand."""
        return self.secrets or _SECRETS[form]


Schedules = Mapping[str, Schedule]


def cron(schedules: Schedules, target: Target) -> str:
    """Return a crontab of a user's: a lock on the machine, a deadline, and silence about exit code 75."""
    head = [
        "# Sequences of genonaut. Exit code 75 (busy, try again later) is passed over; the next time tries again.",
        "# CRON_TZ is understood by cronie; Debian's cron goes by the time zone of the machine.",
        f"SECRETS={target.secrets_for('cron')}",
        f"PROJECT={target.project}",
        "SHELL=/bin/sh",
    ]
    return "\n".join([*head, *(_cron_lines(name, found, target) for name, found in schedules.items())]) + "\n"


def _cron_lines(name: str, schedule: Schedule, target: Target) -> str:
    wait = "-n" if schedule.overlap == "skip" else f"-w {schedule.deadline_s or _DAY_S:g}"
    limit = "" if schedule.deadline_s is None else f"timeout -k {KILL_AFTER_S:g} {schedule.deadline_s:g} "
    command = f"flock {wait} -E {LATER} {shlex.quote(f'.genonaut-{name}.lock')} {limit}"
    command += shlex.join(target.command(name)).replace("%", r"\%")
    notes = [f"# {name}{_unsaid(schedule, 'cron: times missed while the machine was off are not caught up with')}"]
    return "\n".join([
        "", *notes, f"CRON_TZ={schedule.time_zone}",
        f'{schedule.cron} cd "$PROJECT" && set -a && . "$SECRETS" && set +a && {command} || [ $? -eq {LATER} ]',
    ])  # fmt: skip


def _unsaid(schedule: Schedule, what: str) -> str:
    return f" ({what})" if schedule.catch_up == "once" else ""


_SERVICE = Template("""\
# genonaut-$name.service
[Unit]
Description=genonaut $name

[Service]
Type=oneshot
WorkingDirectory=$project
EnvironmentFile=$secrets
ExecStart=/usr/bin/env $command
# Busy, try again later: the next time tries again.
SuccessExitStatus=$later
KillMode=mixed
TimeoutStartSec=$deadline
TimeoutStopSec=$kill

# genonaut-$name.timer
[Unit]
Description=genonaut $name: $cron $zone

[Timer]
# $overlap
OnCalendar=$calendar
Persistent=$persistent
AccuracySec=1s

[Install]
WantedBy=timers.target
""")


def systemd(schedules: Schedules, target: Target) -> str:
    """Return a service and a timer for each sequence, each unit under a comment with its file's name."""
    return "\n".join(_units(name, found, target) for name, found in schedules.items())


def _units(name: str, schedule: Schedule, target: Target) -> str:
    overlap = "A time that comes while the service still runs is passed over"
    overlap += "." if schedule.overlap == "skip" else "; systemd cannot queue it."
    return _SERVICE.substitute(
        name=name,
        project=target.project,
        secrets=target.secrets_for("systemd"),
        command=" ".join(json.dumps(word) if " " in word else word for word in target.command(name)),
        later=LATER,
        deadline="infinity" if schedule.deadline_s is None else f"{schedule.deadline_s:g}",
        kill=f"{KILL_AFTER_S:g}",
        cron=schedule.cron,
        zone=schedule.time_zone,
        overlap=overlap,
        calendar=calendar(schedule),
        persistent="true" if schedule.catch_up == "once" else "false",
    )


def calendar(times: CronTimes) -> str:
    """Return cron times as systemd's OnCalendar writes them."""
    fields = times.fields
    days = ",".join(WEEKDAYS[day].capitalize() for day in fields.weekdays)
    weekdays = f"{days} " if len(fields.weekdays) < len(WEEKDAYS) else ""
    month, day = _either(fields.months, 12, 1), _either(fields.days, 31, 1)
    return (
        f"{weekdays}*-{month}-{day} {_either(fields.hours, 24, 0)}:{_either(fields.minutes, 60, 0)}:00"
        f" {times.time_zone}"
    )


def _either(values: tuple[int, ...], all_of_them: int, least: int) -> str:
    if values == tuple(range(least, least + all_of_them)):
        return "*"
    return ",".join(f"{value:02}" for value in values)


def kubernetes(schedules: Schedules, target: Target) -> str:
    """Return a CronJob for each sequence; exit code 75 lets Kubernetes try again within the deadline."""
    secret = target.secrets_for("k8s")
    head = (
        "# Sequences of genonaut, for Kubernetes 1.27 and newer. Records are kept on the claim genonaut-outputs,\n"
        f"# secrets come from the Secret {secret}. Exit code 75 (busy) is tried again until the deadline.\n"
    )
    return head + "".join(_cron_job(name, found, target) for name, found in schedules.items())


def _cron_job(name: str, schedule: Schedule, target: Target) -> str:
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"genonaut-{name.replace('_', '-').lower()}"},
        "spec": {
            "schedule": schedule.cron,
            "timeZone": schedule.time_zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _late_s(schedule),
            "jobTemplate": {"spec": _job(name, schedule, target)},
        },
    }
    note = "# A time that comes while the job still runs starts late, if startingDeadlineSeconds allows that.\n"
    return "---\n" + (note if schedule.overlap == "queue" else "") + yaml.safe_dump(job, sort_keys=False)


def _late_s(schedule: Schedule) -> int:
    """Return how late a job may start; Kubernetes starts none once a hundred times were missed within it."""
    first, second = islice(schedule.upcoming(datetime.now(UTC)), 2)
    caught_up = min(_DAY_S, _MOST_MISSED * int((second - first).total_seconds()))
    return caught_up if schedule.catch_up == "once" else 60


def _job(name: str, schedule: Schedule, target: Target) -> dict[str, object]:
    container = {
        "name": "genonaut",
        "image": target.image,
        "workingDir": target.project,
        "command": target.command(name),
        "envFrom": [{"secretRef": {"name": target.secrets_for("k8s")}}],
        "volumeMounts": [{"name": "outputs", "mountPath": f"{target.project}/outputs"}],
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": int(KILL_AFTER_S) + 5,
        "containers": [container],
        "volumes": [{"name": "outputs", "persistentVolumeClaim": {"claimName": "genonaut-outputs"}}],
    }
    codes = {"containerName": "genonaut", "operator": "In", "values": [LATER]}
    limit = {} if schedule.deadline_s is None else {"activeDeadlineSeconds": max(1, int(schedule.deadline_s))}
    return {
        "backoffLimit": 0,
        **limit,
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onExitCodes": codes}]},
        "template": {"spec": pod},
    }


_DAG_HEAD = """\
# Sequences of genonaut for Airflow 3. The worker's own environment holds DATABASE_URL and keys; none is written here.
# A task that is busy (exit code 75) is skipped. Airflow cannot skip a time because the one before still runs: it waits.
# A time missed while Airflow was down is caught up with once, whatever `catch_up` says.
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable

"""
_DAG = Template("""
with DAG(
    dag_id=$dag,
    schedule=CronTriggerTimetable($cron, timezone=$zone, run_immediately=False),
    start_date=datetime($start, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
):
    BashOperator(
        task_id=$task,
        bash_command=$command,
        cwd=$project,
        append_env=True,
        skip_on_exit_code=$later,
        execution_timeout=$deadline,
    )
""")


def airflow(schedules: Schedules, target: Target) -> str:
    """Return a Python file with a DAG for each sequence."""
    return _DAG_HEAD + "\n".join(_dag(name, found, target) for name, found in schedules.items())


def _dag(name: str, schedule: Schedule, target: Target) -> str:
    today = datetime.now(UTC)
    limit = "None" if schedule.deadline_s is None else f"timedelta(seconds={schedule.deadline_s!r})"
    return _DAG.substitute(
        dag=repr(f"genonaut_{name}"),
        cron=repr(schedule.cron),
        zone=repr(schedule.time_zone),
        start=f"{today.year}, {today.month}, {today.day}",
        task=repr(name),
        command=repr(shlex.join(target.command(name))),
        project=repr(target.project),
        later=LATER,
        deadline=limit,
    )


FORMATS: dict[str, Callable[[Schedules, Target], str]] = {
    "airflow": airflow,
    "cron": cron,
    "k8s": kubernetes,
    "systemd": systemd,
}
