"""How far the server's replicas are behind at the end of a run."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block

SILENT_S: Final = 15.0
"""After so long the lag a replica reported last says nothing; it reports every 10 s unless set otherwise."""


def lags(connection: Connection | None) -> list[dict[str, Any]] | None:
    """Return name, lag in seconds and bytes behind of each replica, None where none can be asked for.

    A figure that cannot be seen is None.
    """
    if connection is None:
        return None
    try:
        rows = connection.execute(block("pressure", "replicas").sql(), {"ignored": []}).fetchall()
    except psycopg.Error:
        # The run has ended well or not without these figures; what is wrong with the session shows at the next step.
        return None
    return [
        {"name": name, "lag_s": lag_of(behind, lag, silent, seen=seen), "behind_bytes": behind if seen else None}
        for _, name, _, behind, lag, silent, seen in rows
    ]


def lag_of(behind_bytes: int | None, reported_s: float | None, silent_s: float | None, *, seen: bool) -> float | None:
    """Return a replica's lag in seconds, None for one that this role may not see, and for one that fell silent.

    A replica that has replayed everything is not behind, whatever it reported last: PostgreSQL forgets the lag of
    one that is idle. Of one that is behind the lag reported counts as long as it goes on reporting.
    """
    if not seen:
        return None
    if behind_bytes == 0:
        return 0.0
    return reported_s if silent_s is not None and silent_s <= SILENT_S else None
