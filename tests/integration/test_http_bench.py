"""`genonaut bench http`: both servers measured, the same answers expected, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from genonaut_lib.db import engine, scratch
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import ServerStartFailed, UnexpectedAnswer
from genonaut_lib.migration import bitmap_build
from genonaut_lib.settings import Settings, load_settings
from genonaut_lib.tuning import gallery_bench, http_servers
from genonaut_lib.tuning.gallery_bench import Content
from genonaut_lib.tuning.http_client import Client, load
from genonaut_lib.tuning.http_effort import SECTIONS
from genonaut_lib.tuning.http_questions import PLAIN_PAGE
from genonaut_lib.tuning.http_servers import Served
from genonaut_lib.tuning.http_soak import _Watched
from tests.counters import rows_written
from tests.factories import Gallery
from tests.integration.conftest import Ended

Command = Callable[..., Ended]
FIGURES = {
    "latency": ["baseline_over_service", "service_over_gallery", "service_median_ms", "service_p99_ms", "questions"],
    "throughput": ["grid_over_baseline", "page_over_baseline", "grid_service_per_second", "page_baseline_p99_ms"],
    "soak": ["last_mib", "answers", "answer_p99_ms"],
}
SMALL = (
    "--queries", "12", "--repeats", "1", "--clients", "3", "--rounds", "1", "--round-s", "0.2", "--soak-s", "1.5",
    "--env", "test",
)  # fmt: skip
WRONG = """
from genonaut_lib.tuning import http_baseline
http_baseline.Filters.conditions = lambda filters: [~http_baseline.Item.is_private]
http_baseline.main()
"""


def printed(ended: Ended) -> dict[str, Any]:
    """Return the JSON among what was said; progress goes to the other stream."""
    return json.loads(ended.said[ended.said.index("{") : ended.said.rindex("}") + 1])  # type: ignore[no-any-return]


def servers_of_ours() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def made(admin_url: str) -> Iterator[Settings]:
    """A small adversarial gallery, migrated, its statistics fresh, its index built; nothing here writes to it."""
    settings = load_settings("test").model_copy(update={"database_url": SecretStr(admin_url)})
    with scratch.database(settings, "http_test") as own:
        gallery_bench.prepare(own, Content("adversarial", 400, 3), lambda line: None)
        bitmap_build.build(own)
        yield own


@pytest.fixture
def built(made: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A session on that gallery, which is the environment's own while the test runs."""
    assert made.database_url is not None
    monkeypatch.setenv("DATABASE_URL", made.database_url.get_secret_value())
    with engine.connect(made) as session:
        yield session


@pytest.fixture(scope="module")
def served(made: Settings) -> Iterator[Served]:
    with http_servers.baseline(made, 5.0) as found:
        yield found


def test_every_section_is_measured_and_nothing_written(built: Connection, command: Command) -> None:
    """Figures for scripts; both servers show the same pages and are gone afterwards; the gallery is what it was."""
    before, running = rows_written(built), set(servers_of_ours())
    ended = command("bench", "http", "--here", *SMALL, "--json")
    assert ended.code == 0, ended.said
    found = printed(ended)
    assert tuple(found["sections"]) == SECTIONS
    assert all(found["sections"][name]["figures"][figure] for name, figures in FIGURES.items() for figure in figures)
    latency, throughput, soak = (found["sections"][name]["figures"] for name in SECTIONS)
    assert (latency["questions"], latency["baseline_timed_out"]) == (12, 0)
    assert throughput["grid_service_other_statuses"] == throughput["grid_baseline_other_statuses"] == 0
    assert soak["other_statuses"] == 0
    assert rows_written(built) == before
    assert set(servers_of_ours()) <= running


def test_a_gallery_of_its_own_is_made_and_dropped(gallery: Gallery, connection: Connection, command: Command) -> None:
    """Tables for people, with what was measured on; the environment's own gallery is untouched."""
    item = gallery.legacy_item(["anime"])
    ended = command("bench", "http", "--shape", "adversarial", "--items", "300", "--section", "latency", *SMALL)
    assert ended.code == 0, ended.said
    assert "service_median_ms" in ended.said
    assert "300 items of shape adversarial" in ended.said
    made = "select datname from pg_database where datname like '%http_bench%'"
    assert connection.execute(made).fetchall() == []
    assert connection.execute("select id, tags from content_items").fetchall() == [(item, ["anime"])]


def test_answers_that_differ_are_caught(
    built: Connection, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Everything is printed first, then questions are named, and the exit code is 1."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    monkeypatch.setattr(http_servers, "BASELINE", (str(wrong),))
    ended = command("bench", "http", "--here", "--section", "latency", *SMALL, "--json")
    assert ended.code == 1
    assert printed(ended)["sections"]["latency"]["differing"]
    assert "Not the oracle's answer" in ended.said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--section", "latencies"], "Did you mean 'latency'?"),
        (["--shape", "dens"], "Did you mean 'dense'?"),
        (["--here", "--shape", "dense"], "Say one of them"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], said: str, gallery: Gallery, command: Command
) -> None:
    """Nothing was started by then."""
    ended = command("bench", "http", *arguments, "--env", "test")
    assert ended.code == 2
    assert said in ended.said


def test_a_protected_environment_is_refused(
    gallery: Gallery, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its service takes nobody's word for who looks."""
    monkeypatch.setenv("GENONAUT_PROTECTED", "true")
    ended = command("bench", "http", "--here", "--env", "test")
    assert ended.code == 2
    assert "Measure a copy" in ended.said


def test_a_server_that_ends_at_once_is_told_with_its_last_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it."""
    monkeypatch.setattr(http_servers, "SERVICE", ("-c", "import sys; sys.exit('no port is free')"))
    with pytest.raises(ServerStartFailed, match="no port is free"), http_servers.service(settings):
        pass


def test_the_clients_count_what_they_are_answered(served: Served) -> None:
    """Of both kinds, at once and alone, on connections that are kept; a path nobody serves counts as what it is."""
    with Client(served.address) as client:
        replies = [client.get(path) for path in (PLAIN_PAGE, "/nowhere", PLAIN_PAGE)]
    assert [reply.status for reply in replies] == [200, 404, 200]
    assert len(json.loads(replies[2].body)["items"]) == 25
    tally = load(served.address, [PLAIN_PAGE, "/nowhere"], 2, 0.3)
    assert set(tally.statuses) == {200, 404}
    assert abs(tally.statuses[200] - tally.statuses[404]) <= 2
    assert len(tally.times) == tally.statuses.total()


def test_a_server_that_is_slow_or_gone_is_told_apart(made: Settings) -> None:
    """A time limit is an answer of the baseline's; half an answer is none, and no figure is made of it."""
    with http_servers.baseline(made, 0.001) as slow, Client(slow.address) as client:
        answers = {client.get(f"{PLAIN_PAGE}&page={page}").status for page in range(1, 6)}
        assert 504 in answers
        slow.process.kill()
        slow.process.wait(20)
        with pytest.raises((UnexpectedAnswer, ConnectionError)):
            client.get(PLAIN_PAGE)


def test_memory_that_rises_in_the_second_half_is_not_flat() -> None:
    """What fills in the first half are caches."""
    filling = _Watched(list(range(10)), [100, 150, 190, 200, 200, 200, 200, 200, 200, 200])
    leaking = replace(filling, resident=[100 + 10 * second for second in range(10)])
    assert filling.figures()["flat"]
    assert not leaking.figures()["flat"]
