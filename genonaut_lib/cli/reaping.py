"""The command that settles runs without a process behind them: `genonaut runs reap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genonaut_lib.cli.options import AsJson, Env, out, print_json
from genonaut_lib.db import engine, guard
from genonaut_lib.migration import ledger
from genonaut_lib.settings import load_settings

if TYPE_CHECKING:
    from genonaut_lib.runs.reaper import Settled


def reap(env: Env = None, as_json: AsJson = False) -> None:
    """Find the runs whose process is gone, and say so in the ledger and in their
    records. Every start of a notebook does the same first.

        genonaut runs reap --env demo
    """
    from genonaut_lib.runs import reaper

    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_writable(connection, settings, settings.environment)
        settled = reaper.reap(connection, settings) if ledger.exists(connection) else []
    if as_json:
        print_json([{**_named(one), "remarks": one.remarks} for one in settled])
        return
    for one in settled:
        out.print(" ".join([*_named(one).values(), *one.remarks]), markup=False)
    out.print(f"{len(settled)} of the runs that said running had no process behind them.")


def _named(one: Settled) -> dict[str, str]:
    start = one.run.start
    return {"run_id": str(start.run_id), "notebook": start.notebook, "state": one.ending.state}
