"""Whether a page could be answered: there is a session for it, and the gallery is migrated so far."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolTimeout

from genonaut_lib.db.pool import Pool
from genonaut_lib.db.statements import block
from genonaut_lib.request_errors import NotReady
from genonaut_lib.service.watching import Watched
from genonaut_lib.vocabulary import ContentSource

READY_S = 0.8
"""How long a session may be waited for, and the database's answer on it."""

SESSION_S = 0.5


class Readiness:
    """Asks for what a page needs, over the pool that pages come from."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._watched = Watched(self._look)

    async def require(self) -> None:
        """Raise NotReady, within a second, where no page could be answered."""
        try:
            is_migrated = await self._watched.answer(READY_S)
        except TimeoutError:
            raise NotReady(f"The database did not answer within {READY_S} s.", hint="See GET /health.") from None
        if not is_migrated:
            problem = "This gallery is not migrated so far that pages could be read."
            raise NotReady(problem, hint="`genonaut plan` shows which notebook comes next.")

    async def _look(self) -> bool:
        try:
            async with self._pool.connection(timeout=SESSION_S) as connection:
                cursor = await connection.execute(block("gallery", "readiness").sql(), ContentSource.spellings())
                row = await cursor.fetchone()
        except PoolTimeout:
            problem = f"No session became free within {SESSION_S} s: all are taken, or the database is gone."
            raise NotReady(problem, hint="See GET /health; service.sessions is how many there are.") from None
        except psycopg.Error as error:
            problem = f"The database could not be asked ({type(error).__name__})."
            raise NotReady(problem, hint="See GET /health.") from None
        return bool(row and row[0])
