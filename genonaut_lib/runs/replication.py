"""How far the server's replicas are behind at the end of a run."""

from __future__ import annotations

from typing import Any

import psycopg

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block


def lags(connection: Connection | None) -> list[dict[str, Any]] | None:
    """Return name and lag in seconds of each replica (None: it cannot be seen), None where none can be asked for."""
    if connection is None:
        return None
    try:
        rows = connection.execute(block("pressure", "replicas").sql(), {"ignored": []}).fetchall()
    except psycopg.Error:
        # The run has ended well or not without this figure; what is wrong with the session shows at the next step.
        return None
    return [{"name": name, "lag_s": lag_of(behind, lag, seen=seen)} for _, name, _, behind, lag, seen in rows]


def lag_of(behind_bytes: int | None, reported_s: float | None, *, seen: bool) -> float | None:
    """Return a replica's lag in seconds, None for one that this role may not see.

    A replica that has replayed everything is not behind, whatever it reported last: PostgreSQL forgets the lag of
    one that is idle.
    """
    if not seen:
        return None
    return 0.0 if behind_bytes == 0 else reported_s
