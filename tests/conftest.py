"""Real servers for every test that needs one: the embedded ones, or those of DATABASE_URL and REDIS_URL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import hypothesis
import pytest
from psycopg import conninfo

from genonaut_lib.db import embedded, engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import adoption
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings, load_settings
from tests import passes
from tests.databases import EMPTY, Models, database, one_at_a_time, prepared, server_folder
from tests.factories import Gallery
from tests.stages import Stages

# A busy machine is no finding: what takes time has a benchmark, and a test that hangs its own timeout.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of CI's second pass."""
    about = "leave out what starts servers of its own whatever DATABASE_URL says, see tests/passes.py"
    parser.addoption("--other-server", action="store_true", help=about)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest files, and leave out what was asked for."""
    items.sort(key=lambda item: passes.place_of(item.nodeid))
    if config.getoption("other_server"):
        left_out = [item for item in items if not passes.asked_of_another_server(item.nodeid)]
        items[:] = [item for item in items if passes.asked_of_another_server(item.nodeid)]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def admin_url() -> Iterator[str]:
    """The address of a server on which databases may be created."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    state = server_folder("gn-")
    os.environ["GENONAUT_STATE"] = str(state)
    try:
        with one_at_a_time():
            address = embedded.start_postgres("test", load_settings("test").servers)
        yield address
    finally:
        embedded.stop("test")
        del os.environ["GENONAUT_STATE"]
        shutil.rmtree(state)


@pytest.fixture(scope="session")
def adopted(admin_url: str) -> Iterator[str]:
    """The name of an adopted gallery without content, to be copied."""
    with prepared(admin_url, _adopt) as name:
        yield name


@pytest.fixture(scope="session")
def stages(admin_url: str, adopted: str) -> Iterator[Stages]:
    """The gallery before each phase."""
    with ExitStack() as stack:
        yield Stages(admin_url, adopted, stack)


@pytest.fixture(scope="module")
def models(admin_url: str) -> Iterator[Models]:
    """The databases a file's tests get copies of, each made when it is first asked for."""
    with ExitStack() as stack:
        yield Models(admin_url, stack)


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """The database that a test's own is a copy of.

    A file's `MODELS` say how the database of a fixture is made: `{"filled": make}`, with `make(context)` called once
    for all tests that use `filled`, in an adopted gallery. A test marked `before(phase)` gets the gallery of
    tests/stages.py as it is then. Tests of `gallery` get an adopted one, others an empty one.
    """
    marker = request.node.get_closest_marker("before")
    if marker is not None:
        stages: Stages = request.getfixturevalue("stages")
        return stages.before(*marker.args or [request.node.callspec.params["name"]])
    for fixture, make in getattr(request.module, "MODELS", {}).items():
        if fixture in request.fixturenames:
            found: Models = request.getfixturevalue("models")
            return found.name(make, request.getfixturevalue("adopted"))
    return str(request.getfixturevalue("adopted")) if "gallery" in request.fixturenames else EMPTY


@pytest.fixture
def settings(admin_url: str, model: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of environment `test` with a database of the test's own, dropped afterwards."""
    with database(admin_url, model) as name:
        monkeypatch.setenv("DATABASE_URL", conninfo.make_conninfo(admin_url, dbname=name))
        monkeypatch.setenv("GENONAUT_ENVIRONMENT", "test")
        yield load_settings("test")


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    """A session in autocommit mode on the test's own database."""
    with engine.connect(settings) as session:
        yield session


@pytest.fixture
def context(connection: Connection, settings: Settings) -> Context:
    """What a phase works with."""
    return Context(connection, settings)


@pytest.fixture
def gallery(connection: Connection, settings: Settings) -> Gallery:
    """An adopted gallery in its legacy shape, without content unless the file's `MODELS` say otherwise."""
    adoption.adopt(connection, settings)
    counted = connection.execute("select (select count(*) from content_items) + count(*) from content_items_auto")
    return Gallery(connection, sum(number for (number,) in counted))


def _adopt(context: Context) -> None:
    adoption.adopt(context.connection, context.settings)


@pytest.fixture
def second_session(settings: Settings) -> Iterator[Callable[[], Connection]]:
    """Opens further sessions on the same database; all are closed at the end."""
    opened: list[Connection] = []

    def open_one() -> Connection:
        opened.append(engine.connect(settings))
        return opened[-1]

    yield open_one
    for session in opened:
        session.close()
