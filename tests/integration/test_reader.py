"""The bridge from synchronous code to the asynchronous reader."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from psycopg import OperationalError
from psycopg.errors import QueryCanceled
from pydantic import SecretStr

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.reader import Reader
from tests.factories import Gallery


async def setting(session: AsyncConnection, name: str) -> str:
    row = await (await session.execute("select current_setting(%s)", [name])).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def reader(gallery: Gallery, migrate: Callable[[], None], settings: Settings) -> Iterator[Reader]:
    """A reader of a migrated gallery of three items."""
    for _ in range(3):
        gallery.legacy_item(["anime"])
    migrate()
    with Reader(settings) as found:
        yield found


def test_pages_are_read_from_synchronous_code(reader: Reader) -> None:
    """One after the other, over one session."""
    pages = [reader.page(GalleryQuery(page_size=2)), reader.page(GalleryQuery(page_size=2, page=2))]
    assert [page.keys for page in pages] == [["regular/3", "regular/2"], ["regular/1"]]


def test_pages_are_read_where_an_event_loop_runs_already(reader: Reader) -> None:
    """As in a notebook, whose kernel has one."""

    async def cell() -> list[str]:
        return reader.page(GalleryQuery(page_size=1)).keys

    assert asyncio.run(cell()) == ["regular/3"]


def test_a_reader_beside_a_session_reads_the_same_database(reader: Reader, connection: Connection) -> None:
    """With a session of its own, so that what the first one does in a transaction does not matter."""
    with connection.transaction(force_rollback=True), Reader(connection) as beside:
        connection.execute("delete from content_items")
        assert len(beside.page(GalleryQuery()).rows) == 3


def test_a_reader_has_the_servers_own_setting_for_jit(reader: Reader, connection: Connection) -> None:
    """An application does not switch it off, so what is timed does not either."""
    row = connection.execute("select reset_val from pg_settings where name = 'jit'").fetchone()
    assert row == (reader.run(lambda session: setting(session, "jit")),)


def test_a_timed_page_is_bounded_and_leaves_no_limit_behind(reader: Reader, connection: Connection) -> None:
    """The limit holds on the session that is timed, for that statement only."""
    with connection.transaction(force_rollback=True):
        connection.execute("lock table content_items in access exclusive mode")
        with pytest.raises(QueryCanceled):
            reader.timed(GalleryQuery(), Choice("time_walk", "asked for"), 0.05)
    assert reader.run(lambda session: setting(session, "statement_timeout")) == "0"
    found = reader.timed(GalleryQuery(), Choice("time_walk", "asked for"), 30.0)
    assert (len(found.page.rows), found.milliseconds > 0) == (3, True)


def test_a_closed_reader_leaves_neither_thread_nor_session(settings: Settings, connection: Connection) -> None:
    """Measuring again and again piles nothing up."""
    with Reader(settings) as reader:
        pid = reader.run(session_id)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("genonaut-loop")]
    statement = "select count(*) from pg_stat_activity where pid = %s and state is not null"
    while connection.execute(statement, [pid]).fetchone() != (0,):
        connection.execute("select pg_sleep(0.01)")


async def session_id(session: AsyncConnection) -> int:
    return session.info.backend_pid


def test_a_reader_that_finds_no_database_leaves_no_thread(settings: Settings, connection: Connection) -> None:
    """The error is the driver's, and nothing waits for ever."""
    nowhere = settings.model_copy(update={"database_url": SecretStr("postgresql:///?host=/nowhere")})
    with pytest.raises(OperationalError, match="nowhere"):
        Reader(nowhere)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("genonaut-loop")]
