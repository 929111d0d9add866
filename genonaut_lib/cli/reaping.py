"""The command that settles runs without a process behind them: `genonaut runs reap`."""

from __future__ import annotations

from genonaut_lib.cli.options import AsJson, Env, out, print_json
from genonaut_lib.db import engine, guard
from genonaut_lib.migration import ledger
from genonaut_lib.settings import load_settings


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
    found = [(one.run.start.run_id, one.run.start.notebook, one.ending.state, *one.remarks) for one in settled]
    if as_json:
        print_json([dict(zip(("run_id", "notebook", "state"), one, strict=False)) for one in found])
        return
    for run_id, notebook, state, *remarks in found:
        out.print(f"{run_id} {notebook}: {state}. {' '.join(remarks)}".rstrip(), markup=False)
    out.print(f"{len(found)} of the runs that said running had no process behind them.")
