"""How a request uses its session: a time limit, one snapshot where answers must agree, and what each part took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator

from psycopg import errors as sqlstate

from genonaut_lib.db.pool import AsyncConnection, Pool
from genonaut_lib.errors import QueryTimedOut


@contextlib.asynccontextmanager
async def reading(pool: Pool, limit_ms: int, *, one_snapshot: bool) -> AsyncIterator[AsyncConnection]:
    """Open a transaction whose statements may take `limit_ms` each, on a session of the pool.

    With `one_snapshot` all of them see the gallery as it was at the first, and none can write. Nothing
    outlives the transaction. Raises QueryTimedOut when a statement ran into the limit.
    """
    started = time.monotonic()
    try:
        async with pool.connection() as connection, connection.transaction():
            if one_snapshot:
                # lint: allow session-setting because SET TRANSACTION ends with its transaction
                await connection.execute("set transaction isolation level repeatable read, read only")
            await connection.execute("select set_config('statement_timeout', %s, true)", [f"{limit_ms}ms"])
            yield connection
    except sqlstate.QueryCanceled as error:
        if (time.monotonic() - started) * 1000 < limit_ms:
            raise  # somebody else ended it
        raise QueryTimedOut(
            f"A statement of the gallery took longer than {limit_ms:,} ms and was ended.",
            hint="Narrow the filter or raise planner.statement_timeout_ms; an exact count may be asked for as `auto`.",
        ) from error


@contextlib.contextmanager
def timed(parts: dict[str, float], name: str) -> Iterator[None]:
    """Put into `parts` how many milliseconds a block took."""
    started = time.perf_counter()
    try:
        yield
    finally:
        parts[name] = (time.perf_counter() - started) * 1000
