"""`genonaut bench backfill`: every mode beside its baseline, and nothing of the gallery touched."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from genonaut_lib.db.engine import Connection
from tests.factories import Gallery
from tests.integration.conftest import Ended

Command = Callable[..., Ended]
MODES = ["uuids", "uuids_two_workers", "online", "online_two_workers", "bulk", "attach"]
FIGURES = ["rows", "rows_per_second", "baseline_rows_per_second", "ratio", "peak_rss_mb"]


def databases(connection: Connection) -> set[str]:
    """Return the throw-away databases of this bench; those of other tests at work on the server are none of ours."""
    made = "select datname from pg_database where datname ~ '^genonaut_bench_'"
    return {row[0] for row in connection.execute(made).fetchall()}


def test_every_mode_is_measured_beside_its_baseline(
    gallery: Gallery, connection: Connection, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    """Rows of all ways agree, figures are there for scripts, and the throw-away databases are gone."""
    item = gallery.legacy_item(["anime"])
    before = databases(connection)
    ended = command("bench", "backfill", "--items", "400", "--env", "test", "--json")
    assert ended.code == 0, ended.said
    found = json.loads(ended.said[ended.said.index("{") : ended.said.rindex("}") + 1])
    assert list(found["modes"]) == MODES
    assert all(found["modes"][mode][figure] for mode in MODES[:-2] for figure in FIGURES)
    rows = {found["modes"][mode]["rows"] for mode in ("online", "online_two_workers", "bulk")}
    assert len(rows) == 1
    assert found["modes"]["attach"]["ratio"] is None
    assert databases(connection) <= before
    assert connection.execute("select id, tags from content_items").fetchall() == [(item, ["anime"])]


def test_an_unknown_mode_is_refused_with_the_known_ones(gallery: Gallery, command: Command) -> None:
    """Nothing was made by then."""
    ended = command("bench", "backfill", "--mode", "turbo", "--env", "test")
    assert ended.code == 2
    assert "uuids, online, bulk, attach" in ended.said
