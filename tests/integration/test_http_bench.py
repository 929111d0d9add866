"""`genonaut bench http`: both servers measured, the same answers expected, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from genonaut_lib.content.generation import SHAPES, generate
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import ServerStartFailed, UnexpectedAnswer
from genonaut_lib.migration import bitmap_build, tag_stats
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings
from genonaut_lib.tuning import http_servers
from genonaut_lib.tuning.http_client import Client, load
from genonaut_lib.tuning.http_effort import SECTIONS
from genonaut_lib.tuning.http_questions import PLAIN_PAGE
from genonaut_lib.tuning.http_servers import Served
from genonaut_lib.tuning.http_soak import _Watched
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before

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


@pytest.fixture
def built(context: Context, gallery: Gallery) -> Connection:
    """A small adversarial gallery, migrated, its statistics fresh, its index built."""
    generate(context.connection, SHAPES["adversarial"], 400, seed=3)
    apply_before(context, "")
    tag_stats.refresh(context.connection)
    bitmap_build.build(context.settings)
    return context.connection


@pytest.fixture
def served(built: Connection, settings: Settings) -> Iterator[Served]:
    with http_servers.baseline(settings, 5.0) as found:
        yield found


def test_every_section_is_measured_and_nothing_written(built: Connection, command: Command) -> None:
    """Figures for scripts; both servers show the same pages and are gone afterwards; the gallery is what it was."""
    counters = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables"
    built.execute("select pg_stat_force_next_flush()")
    before, running = built.execute(counters).fetchall(), set(servers_of_ours())
    ended = command("bench", "http", "--here", *SMALL, "--json")
    assert ended.code == 0, ended.said
    found = printed(ended)
    assert tuple(found["sections"]) == SECTIONS
    assert all(found["sections"][name]["figures"][figure] for name, figures in FIGURES.items() for figure in figures)
    latency, throughput, soak = (found["sections"][name]["figures"] for name in SECTIONS)
    assert (latency["questions"], latency["baseline_timed_out"]) == (12, 0)
    assert throughput["grid_service_other_statuses"] == throughput["grid_baseline_other_statuses"] == 0
    assert soak["other_statuses"] == 0
    assert built.execute(counters).fetchall() == before
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


def test_a_baseline_over_its_time_limit_says_so(built: Connection, settings: Settings) -> None:
    """It is one of the statuses that are expected of it, and its sessions go on."""
    with http_servers.baseline(settings, 0.001) as slow, Client(slow.address) as client:
        answers = {client.get(f"{PLAIN_PAGE}&page={page}").status for page in range(1, 6)}
    assert 504 in answers


def test_a_server_that_goes_is_an_error_and_no_answer(served: Served) -> None:
    """A figure from half an answer would be none."""
    with Client(served.address) as client:
        client.get(PLAIN_PAGE)
        served.process.terminate()
        served.process.wait(20)
        with pytest.raises((UnexpectedAnswer, ConnectionError)):
            client.get(PLAIN_PAGE)


def test_memory_that_rises_in_the_second_half_is_not_flat() -> None:
    """What fills in the first half are caches."""
    filling = _Watched(list(range(10)), [100, 150, 190, 200, 200, 200, 200, 200, 200, 200])
    leaking = replace(filling, resident=[100 + 10 * second for second in range(10)])
    assert filling.figures()["flat"]
    assert not leaking.figures()["flat"]
