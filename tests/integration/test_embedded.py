"""The embedded servers themselves, in a state folder of their own; always embedded, whatever DATABASE_URL says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from genonaut_lib.db import embedded, engine
from genonaut_lib.errors import ServerStartFailed
from genonaut_lib.settings import Settings, load_settings
from tests.integration.conftest import Ended

STARTER = """
from genonaut_lib.db import embedded
from genonaut_lib.settings import load_settings
embedded.start_postgres("test", load_settings("test").servers)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A state folder whose PostgreSQL was initialised once; short, since sockets lie below it."""
    state = Path(tempfile.mkdtemp(prefix="ge-", dir="/tmp"))
    yield state
    shutil.rmtree(state)


@pytest.fixture
def state(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cluster's state folder as the current one; no server runs in it before or after a test."""
    yield from _use(cluster, monkeypatch)


@pytest.fixture
def fresh_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder that does not exist yet."""
    folder = Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp"))
    yield from _use(folder / "state", monkeypatch)
    shutil.rmtree(folder)


def _use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GENONAUT_STATE", str(folder))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    yield folder
    embedded.stop("test")


@pytest.fixture
def own_settings(state: Path) -> Settings:
    return load_settings("test")


def start(settings: Settings) -> str:
    return embedded.start_postgres("test", settings.servers)


def pid(name: str) -> int | None:
    return {server.name: server.pid for server in embedded.status("test")}[name]


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else None


def test_a_started_postgres_answers(own_settings: Settings) -> None:
    """It is a real server of a version the workbench takes."""
    rows = ask(start(own_settings), "select current_setting('server_version_num')::int >= 140000")
    assert rows == [(True,)]


def test_a_started_redis_answers(own_settings: Settings) -> None:
    """It keeps what it is given."""
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        client.set("key", "value")
        assert client.get("key") == b"value"


def test_status_starts_nothing(state: Path) -> None:
    """Looking leaves both servers down."""
    found = embedded.status("test")
    assert [(server.name, server.pid, server.url) for server in found] == [
        ("postgres", None, None),
        ("redis", None, None),
    ]


def test_status_names_process_and_address(own_settings: Settings) -> None:
    """Both are what `start` gave, and the process is alive."""
    url, redis_url = start(own_settings), embedded.start_redis("test")
    postgres, cache = embedded.status("test")
    assert (postgres.url, cache.url) == (url, redis_url)
    assert psutil.pid_exists(postgres.pid or 0) and psutil.pid_exists(cache.pid or 0)


def test_a_second_start_finds_the_running_servers(own_settings: Settings) -> None:
    """The processes are the same."""
    start(own_settings)
    embedded.start_redis("test")
    before = pid("postgres"), pid("redis")
    start(own_settings)
    embedded.start_redis("test")
    assert (pid("postgres"), pid("redis")) == before


def test_four_starts_at_once_make_one_server(own_settings: Settings) -> None:
    """Commands started together wait for each other."""
    with ThreadPoolExecutor(4) as pool:
        urls = set(pool.map(lambda _: start(own_settings), range(4)))
        caches = set(pool.map(lambda _: embedded.start_redis("test"), range(4)))
    assert (len(urls), len(caches)) == (1, 1)


def test_stop_ends_both_and_says_which(own_settings: Settings) -> None:
    """Neither process is left, and stopping again finds nothing."""
    start(own_settings)
    embedded.start_redis("test")
    stopped = embedded.stop("test")
    assert [server.name for server in stopped] == ["postgres", "redis"]
    assert not any(psutil.pid_exists(server.pid or 0) for server in stopped)
    assert embedded.stop("test") == []


def test_the_data_outlives_stop_and_start(own_settings: Settings) -> None:
    """A table and a key are there after the restart."""
    ask(start(own_settings), "create table if not exists kept as select 1 as number")
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        client.set("kept", "1")
    embedded.stop("test")
    assert ask(start(own_settings), "select number from kept") == [(1,)]
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        assert client.get("kept") == b"1"


def test_stop_ends_open_sessions(own_settings: Settings) -> None:
    """`down` does not wait for a session that somebody left open."""
    connection = psycopg.connect(start(own_settings))
    started = time.monotonic()
    embedded.stop("test")
    assert time.monotonic() - started < 20
    connection.close()


def test_a_killed_postgres_is_started_again_with_its_data(own_settings: Settings) -> None:
    """The postmaster.pid it left behind is not taken for a server."""
    ask(start(own_settings), "create table if not exists survived as select 1 as number")
    killed = psutil.Process(pid("postgres") or 0)
    family = [*killed.children(recursive=True), killed]
    killed.kill()
    psutil.wait_procs(family, timeout=10)
    assert pid("postgres") is None
    assert ask(start(own_settings), "select number from survived") == [(1,)]


def test_a_killed_redis_is_started_again(own_settings: Settings) -> None:
    """The redis.pid and the socket it left behind are not taken for a server."""
    embedded.start_redis("test")
    killed = psutil.Process(pid("redis") or 0)
    killed.kill()
    psutil.wait_procs([killed], timeout=10)
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        assert client.ping()


def test_the_redis_that_cannot_write_its_log_is_a_sentence(own_settings: Settings, state: Path) -> None:
    """Whatever keeps a server from starting is a ServerStartFailed, not a CalledProcessError."""
    log = state / "test" / "redis" / "redis.log"
    log.unlink(missing_ok=True)
    log.mkdir(parents=True)
    try:
        with pytest.raises(ServerStartFailed, match="Redis"):
            embedded.start_redis("test")
    finally:
        log.rmdir()


def test_the_postgres_that_cannot_start_is_a_sentence_with_its_log(own_settings: Settings, state: Path) -> None:
    """A setting it does not understand is in what the user reads."""
    start(own_settings)
    embedded.stop("test")
    conf = state / "test" / "postgres" / "postgresql.conf"
    good = conf.read_text()
    conf.write_text(good + "\nshared_bufers = '1MB'\n")
    try:
        with pytest.raises(ServerStartFailed, match="shared_bufers|configuration file"):
            start(own_settings)
    finally:
        conf.write_text(good)


@pytest.mark.parametrize("survivor", [False, True], ids=["with its initdb", "alone"])
def test_a_start_killed_during_initdb_is_made_good(survivor: bool, fresh_state: Path) -> None:
    """A half-made data folder is made anew, also where initdb outlived the command that started it."""
    starter = subprocess.Popen([sys.executable, "-c", STARTER], start_new_session=True)
    version = fresh_state / "test" / "postgres" / "PG_VERSION"
    deadline = time.monotonic() + 30
    while not version.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    (os.kill if survivor else os.killpg)(starter.pid, signal.SIGKILL)
    starter.wait()
    url = embedded.start_postgres("test", load_settings("test").servers)
    assert ask(url, "select 1") == [(1,)]


def test_a_half_made_folder_of_unknown_origin_is_a_sentence_that_says_what_to_do(fresh_state: Path) -> None:
    """A PG_VERSION without a cluster behind it: recovered, or refused with the folder to remove."""
    folder = fresh_state / "test" / "postgres"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("18\n")
    try:
        url = embedded.start_postgres("test", load_settings("test").servers)
    except ServerStartFailed as refused:
        assert str(folder) in str(refused)
    else:
        assert ask(url, "select 1") == [(1,)]


def test_a_state_folder_with_a_long_path_works(fresh_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 107 bytes at most; a checkout may lie deeper than that."""
    deep = fresh_state / ("a-long-folder-name-" * 4) / ("b-long-folder-name-" * 4)
    monkeypatch.setenv("GENONAUT_STATE", str(deep))
    settings = load_settings("test")
    assert ask(start(settings), "select 1") == [(1,)]
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        assert client.ping()
    assert len(embedded.stop("test")) == 2


def test_up_status_and_down_tell_of_the_servers(state: Path, command: Callable[..., Ended]) -> None:
    """The commands agree with each other about what runs."""
    up, status = command("up", "--env", "test"), command("status", "--env", "test")
    down, again = command("down", "--env", "test"), command("down", "--env", "test")
    assert [ended.code for ended in (up, status, down, again)] == [0, 0, 0, 0]
    assert ("are up" in up.said, "18" in status.said) == (True, True)
    assert ("Stopped postgres" in down.said, "No embedded server" in again.said) == (True, True)


def test_a_session_starts_the_server_it_needs(own_settings: Settings) -> None:
    """Nobody has to say `up` first."""
    with engine.connect(own_settings) as connection:
        assert engine.facts(connection).in_recovery is False
    assert pid("postgres") is not None
