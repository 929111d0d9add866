"""How a request uses its session: a time limit, one snapshot where answers must agree, and what each part took."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator

import psycopg
from psycopg import errors as sqlstate
from psycopg import sql

from genonaut_lib.db.pool import AsyncConnection, Bounds, Pool
from genonaut_lib.db.statements import block
from genonaut_lib.errors import QueryTimedOut


@contextlib.asynccontextmanager
async def reading(
    pool: Pool, limit_ms: int, *, one_snapshot: bool, by_bitmaps: bool = False
) -> AsyncIterator[AsyncConnection]:
    """Open a transaction whose statements may take `limit_ms` each, on a session of the pool.

    With `one_snapshot` all of them see the gallery as it was at the first, and none can write; so they do with
    `by_bitmaps`, and prepared statements are planned once for the session. Nothing outlives the transaction.
    Raises QueryTimedOut when a statement ran into the limit.
    """
    begin = "begin_bitmaps" if by_bitmaps else "begin_snapshot" if one_snapshot else "begin"
    started = time.monotonic()
    try:
        async with pool.connection() as connection, begun(connection, limit_ms, begin):
            yield connection
    except sqlstate.QueryCanceled as error:
        if not is_own_timeout(error, (time.monotonic() - started) * 1000, limit_ms):
            raise
        raise QueryTimedOut(
            f"A statement of the gallery took longer than {limit_ms:,} ms and was ended.",
            hint="Narrow the filter or raise planner.statement_timeout_ms (of the HTTP API: "
            "service.statement_timeout_ms); an exact count may be asked for as `auto`.",
        ) from error


def is_own_timeout(error: sqlstate.QueryCanceled, took_ms: float, limit_ms: float) -> bool:
    """Return whether a statement ran into its time limit, and was not ended by somebody else.

    Both have one SQLSTATE, 57014. PostgreSQL tells them apart in words, which may be in another language than
    English; then it depends on how long the statement can have taken.
    """
    said = error.diag.message_primary or ""
    if "user request" in said:
        return False
    return "statement timeout" in said or took_ms >= limit_ms


@contextlib.asynccontextmanager
async def asking(pool: Pool, limit_ms: int) -> AsyncIterator[AsyncConnection]:
    """Open a session of the pool for short statements of one's own, each bounded on its own.

    A session of ours has its limits from the start. Behind a pooler there is none, and what bounds the
    statements, `limit_ms` among it, holds within one transaction around them.
    """
    async with pool.connection() as connection:
        if connection.prepare_threshold is None:
            async with begun(connection, limit_ms, "begin"):
                yield connection
        else:
            yield connection


@contextlib.asynccontextmanager
async def begun(connection: AsyncConnection, limit_ms: int, begin: str = "begin_snapshot") -> AsyncIterator[None]:
    """Begin a transaction by a block of gallery.sql, its limit in the same round trip, and end it.

    Both are one text of the simple protocol, as a pooler takes them too; a pipeline of single statements costs
    asyncio more than the round trips it saves. A prepared statement cannot be two, so this one never is. Behind a
    pooler the other bounds of the connection are in it as well.
    """
    statement = block("gallery", begin).sql(limit_ms=sql.Literal(limit_ms))
    bounds: Bounds | None = getattr(connection, "bounds", None)
    if bounds is not None:
        limits = {name: sql.Literal(value) for name, value in dataclasses.asdict(bounds).items()}
        statement = sql.SQL("; ").join([statement, block("gallery", "bounds").sql(**limits)])
    await connection.execute(statement, prepare=False)
    try:
        yield
    except BaseException:
        # What went wrong inside matters, not that a lost session cannot be rolled back; the pool drops that.
        with contextlib.suppress(psycopg.Error):
            await connection.rollback()
        raise
    await connection.commit()


@contextlib.contextmanager
def timed(parts: dict[str, float], name: str) -> Iterator[None]:
    """Put into `parts` how many milliseconds a block took."""
    started = time.perf_counter()
    try:
        yield
    finally:
        parts[name] = (time.perf_counter() - started) * 1000
