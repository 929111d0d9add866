"""Going on with a run that did not end well: the same notebook and parameters, as a new run that names the old one.

The cells start anew; the work inside them goes on from its checkpoints.
"""

from __future__ import annotations

from pathlib import Path

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotResume, Refused, WrongEnvironment
from genonaut_lib.migration import ledger
from genonaut_lib.migration.ledger import RunRecord
from genonaut_lib.runs import reaper
from genonaut_lib.runs.ending import OK
from genonaut_lib.runs.engine import RunRequest, notebook_digest, notebook_path
from genonaut_lib.settings import Settings

SHORTEST_ID = 6


def request_of(settings: Settings, run: str, *, changed: bool = False) -> RunRequest:
    """Return the request that goes on with a run, given by its id or the beginning of it.

    `changed` allows a notebook that is no longer the one that ran. Raises CannotResume for a run that
    ended well or is at work, for a changed notebook, and for an id that means no run or several;
    WrongEnvironment for a run of another environment.
    """
    with engine.session(settings) as connection:
        if not ledger.exists(connection):
            raise CannotResume("This database has no ledger, so no run of it is known.")
        reaper.reap(connection, settings)
        found = the_run(connection, run, CannotResume)
    path = notebook_path(found.start.notebook)
    require_own(found, settings)
    _require_resumable(found)
    if not changed and notebook_digest(path) != found.start.notebook_digest:
        raise CannotResume(
            f"{path.stem} was changed since that run.",
            hint="Look at what changed, then add --changed; or run it anew without --resume.",
        )
    return _request(found, path)


def the_run(connection: Connection, run: str, refusal: type[Refused]) -> RunRecord:
    """Return the run whose id begins with `run`; raise `refusal` where that means none, or several."""
    prefix = run.strip().lower()
    # Ids are shown with dashes and, in file names and hints, without them.
    plain = prefix.replace("-", "")
    dashed = "-".join(part for part in (plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]) if part)
    found = ledger.find_runs(connection, dashed) if len(plain) >= SHORTEST_ID else []
    if len(found) != 1:
        what = f"{len(found)} runs begin" if found else "No run of this database begins"
        hint = f"Give at least {SHORTEST_ID} characters of an id; `genonaut runs --json` lists them."
        raise refusal(f"{what} with {run!r}.", hint=hint)
    return found[0]


def require_own(run: RunRecord, settings: Settings) -> None:
    """Raise WrongEnvironment for a run of another environment."""
    environment = run.start.parameters.get("environment") or settings.environment
    if environment != settings.environment:
        raise WrongEnvironment(
            f"That run was made for environment {environment!r}, the command is for {settings.environment!r}.",
            hint=f"Say --env {environment}.",
        )


def _require_resumable(run: RunRecord) -> None:
    if run.state == OK.state:
        raise CannotResume(f"{run.start.notebook} ended well in that run.", hint="Run it anew without --resume.")
    if run.state == "running":
        raise CannotResume(f"That run of {run.start.notebook} is still at work.", hint="Wait for it to end.")


def _request(run: RunRecord, path: Path) -> RunRequest:
    given = {name: value for name, value in run.start.parameters.items() if name != "environment"}
    start = run.start
    return RunRequest(path.stem, given, start.pipeline_id, start.step, resumed_from=start.run_id)
