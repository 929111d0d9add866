"""The embedded servers themselves, in a state folder of their own; always embedded, whatever DATABASE_URL says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from genonaut_lib.db import embedded, engine
from genonaut_lib.errors import ServerStartFailed
from genonaut_lib.settings import Settings, load_settings
from tests.databases import server_folder
from tests.integration.conftest import Ended

PR_SET_CHILD_SUBREAPER = 36
STARTER = """
from genonaut_lib.db import embedded
from genonaut_lib.settings import load_settings
embedded.start_postgres("test", load_settings("test").servers)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A state folder whose servers stay up from one test to the next; short, since sockets lie below it."""
    folder = server_folder("ge-")
    yield folder
    _remove(folder)


@pytest.fixture
def state(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cluster's state folder as the current one."""
    return _use(cluster, monkeypatch)


@pytest.fixture
def fresh_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of the test's own that does not exist yet; its servers are stopped in the end."""
    folder = server_folder("gf-")
    yield _use(folder / "state", monkeypatch)
    _remove(folder)


def _use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENONAUT_STATE", str(folder))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    return folder


def _remove(folder: Path) -> None:
    """End what still runs below the folder, without the code under test, and remove it."""
    running = [process for process in psutil.process_iter(["cmdline"]) if _works_on(process, folder)]
    for process in running:
        process.kill()
    psutil.wait_procs(running, timeout=10)
    shutil.rmtree(folder)


def _works_on(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or ())


@pytest.fixture
def own_settings(state: Path) -> Settings:
    """The settings of `test`, for the cluster's servers."""
    return load_settings("test")


def start(settings: Settings) -> str:
    return embedded.start_postgres("test", settings.servers)


def pid(name: str) -> int | None:
    return {server.name: server.pid for server in embedded.status("test")}[name]


def kill(server: int | None) -> None:
    """Kill a server's main process and wait until its children have followed it."""
    assert server is not None
    main = psutil.Process(server)
    family = [main, *main.children(recursive=True)]
    main.kill()
    deadline = time.monotonic() + 10
    while any(_lives(process) for process in family):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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


def test_status_starts_nothing(fresh_state: Path) -> None:
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
    assert psutil.pid_exists(postgres.pid or 0)
    assert psutil.pid_exists(cache.pid or 0)


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


def test_the_data_outlives_stop_and_start(own_settings: Settings) -> None:
    """Not even an open session keeps `stop` from ending both servers; a table and a key are there afterwards."""
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        client.set("kept", "1")
    ask(start(own_settings), "create table if not exists kept as select 1 as number")
    with closing(psycopg.connect(start(own_settings))):
        assert [server.name for server in embedded.stop("test")] == ["postgres", "redis"]
    assert (pid("postgres"), pid("redis"), embedded.stop("test")) == (None, None, [])
    assert ask(start(own_settings), "select number from kept") == [(1,)]
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        assert client.get("kept") == b"1"


def test_a_killed_postgres_is_started_again_with_its_data(own_settings: Settings) -> None:
    """The postmaster.pid it left behind is not taken for a server."""
    ask(start(own_settings), "create table if not exists survived as select 1 as number")
    kill(pid("postgres"))
    assert ask(start(own_settings), "select number from survived") == [(1,)]


def test_a_killed_redis_is_started_again(own_settings: Settings) -> None:
    """The redis.pid and the socket it left behind are not taken for a server."""
    embedded.start_redis("test")
    kill(pid("redis"))
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        assert client.ping()


def test_the_redis_that_cannot_write_its_log_is_a_sentence(fresh_state: Path) -> None:
    """Whatever keeps a server from starting is a ServerStartFailed, not a CalledProcessError."""
    (fresh_state / "test" / "redis" / "redis.log").mkdir(parents=True)
    with pytest.raises(ServerStartFailed, match="Redis"):
        embedded.start_redis("test")


def test_the_postgres_that_cannot_start_is_a_sentence_with_its_log(own_settings: Settings, state: Path) -> None:
    """A setting it does not understand is in what the user reads."""
    start(own_settings)
    embedded.stop("test")
    conf = state / "test" / "postgres" / "postgresql.conf"
    good = conf.read_text()
    conf.write_text(good + "\nshared_bufers = '1MB'\n")
    try:
        with pytest.raises(ServerStartFailed, match=r"shared_bufers|configuration file"):
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


def test_an_initdb_killed_while_it_wrote_its_first_file_is_made_good(fresh_state: Path) -> None:
    """PG_VERSION is empty for a moment, which the wheel cannot read."""
    folder = fresh_state / "test" / "postgres"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").touch()
    (folder.parent / ".initialising").touch()
    assert ask(start(load_settings("test")), "select 1") == [(1,)]


@pytest.mark.parametrize("pid", ["-11210", "999999999", "0"], ids=["of initdb's", "of a dead server", "of nobody"])
def test_the_pid_file_that_a_kill_left_unfinished_is_no_server(fresh_state: Path, pid: str) -> None:
    """Its last lines are written last; the wheel reads only whole ones."""
    folder = fresh_state / "test" / "postgres"
    folder.mkdir(parents=True)
    (folder / "postmaster.pid").write_text(f"{pid}\n{folder}\n1795284095\n5432\n\n\n  2155111   2359448\n")
    assert [server.pid for server in embedded.status("test")] == [None, None]
    assert embedded.stop("test") == []
    (folder.parent / ".initialising").touch()
    assert ask(start(load_settings("test")), "select 1") == [(1,)]


def test_a_half_made_folder_of_unknown_origin_is_a_sentence_that_says_what_to_do(fresh_state: Path) -> None:
    """A PG_VERSION without our mark may be somebody's data: it is left alone, and the folder to remove is named."""
    folder = fresh_state / "test" / "postgres"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("18\n")
    with pytest.raises(ServerStartFailed) as refused:
        start(load_settings("test"))
    assert str(folder) in str(refused.value)


def test_a_state_folder_with_a_long_path_works(fresh_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 107 bytes at most; a checkout may lie deeper than that."""
    deep = fresh_state / ("a-long-folder-name-" * 4) / ("b-long-folder-name-" * 4)
    monkeypatch.setenv("GENONAUT_STATE", str(deep))
    settings = load_settings("test")
    assert ask(start(settings), "select 1") == [(1,)]
    with redis.Redis.from_url(embedded.start_redis("test")) as client:
        assert client.ping()
    assert len(embedded.stop("test")) == 2


def test_a_stopped_server_that_nobody_buries_does_not_hold_stop_up(fresh_state: Path) -> None:
    """Process 1 of a container often reaps no children: a server that ended stays behind as a zombie."""
    script = f"""
import ctypes, subprocess, sys
ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0)
call = "from genonaut_lib.db import embedded; embedded.{{}}('test')"
subprocess.run([sys.executable, "-c", call.format("start_redis")], check=True)
subprocess.run([sys.executable, "-c", call.format("stop")], check=True, timeout=60)
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


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
