"""The index of runs: right from the folder alone, bounded, whole at every moment, and inert whatever a record holds."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import multiprocessing
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from genonaut_lib.errors import RecordsBusy
from genonaut_lib.runs.reading import index, shelf
from genonaut_lib.runs.reading.card import Card, card_of
from genonaut_lib.runs.reading.timeline import timeline_of
from genonaut_lib.runs.records import chain, chain_folder
from genonaut_lib.runs.records.chain import Decision
from genonaut_lib.runs.replication import lag_of
from genonaut_lib.runs.secrets.redaction import Redactor
from tests.records import build
from tests.written import APPLIED, FIRST, VERIFIED, notebook, write

NOBODY = Redactor()
SCRIPT = "<script>alert(1)</script>"


def page_of(folder: Path, redactor: Redactor = NOBODY, *, anew: bool = False) -> str:
    return index.update(folder, redactor, anew=anew).read_text()


def stems(page: str) -> list[str]:
    return re.findall(r'<tr id="([^"]+)"', page)


def test_the_newest_run_comes_first_with_all_that_its_record_tells(tmp_path: Path) -> None:
    """What ran, when, by whom, parameters, outcome, rows, duration, lag and links stand in its row."""
    older = write(tmp_path, FIRST)
    executed = notebook((APPLIED, VERIFIED), {"share": 0.25}, replicas=[{"name": "r", "lag_s": 1.25}])
    newer = write(tmp_path, FIRST + timedelta(days=1), executed)
    page = page_of(tmp_path)
    assert stems(page) == [newer, older]
    row = page[page.index(f'<tr id="{newer}"') : page.index(f'<tr id="{older}"')]
    for told in ("2026-03-02 12:00:00", "ada@host", "share=0.25", "✓ ok", "1,500", "1,204", "5.0 s", "1.2 s"):
        assert told in row
    assert f'href="2026-03-02/{newer}.html"' in row
    assert f'href="2026-03-02/{newer}.manifest.json"' in row


def test_what_a_record_does_not_tell_is_unknown(tmp_path: Path) -> None:
    """No figure is made up: neither rows, nor lag, nor the duration of what nobody saw end."""
    stem = write(tmp_path, FIRST, sealed=False)
    card = card_of(tmp_path, "2026-03-01", stem, (".ipynb",))
    assert (card.examined, card.changed, card.lag, card.seconds, card.actor) == (None, None, None, None, None)
    assert page_of(tmp_path).count(">unknown<") >= 5


def test_statements_are_not_counted_as_rows(tmp_path: Path) -> None:
    """A phase of DDL verifies its statements, and changes none of the content."""
    text = "Verification passed\n11 examined, 0 mismatches.\n    figure value\nstatements    11"
    stem = write(tmp_path, FIRST, notebook((text,)))
    assert card_of(tmp_path, "2026-03-01", stem, (".ipynb",)).examined is None
    assert ">11 statements<" in page_of(tmp_path)


@pytest.mark.parametrize(
    ("replicas", "told"),
    [
        ([], "no replicas"),
        ([(0, None, 9.0, True), (0, 1.25, 99.0, True)], "0.0 s"),
        ([(0, None, 9.0, True), (8_000_000, 1.25, 0.1, True)], "1.2 s, 8.0 MB"),
        ([(0, 0.1, 0.1, True), (8_000_000, 1.25, 99.0, True)], "8.0 MB"),
        ([(0, 0.1, 0.1, True), (None, None, None, False)], None),
    ],
)
def test_the_lag_told_is_that_of_the_replica_furthest_behind(
    replicas: list[tuple[int | None, float | None, float | None, bool]], told: str | None, tmp_path: Path
) -> None:
    """An idle one is not behind; of one that fell silent the bytes tell; with one that may not be seen nothing does."""
    lags = [
        {"lag_s": lag_of(behind, lag, silent, seen=seen), "behind_bytes": behind}
        for behind, lag, silent, seen in replicas
    ]
    stem = write(tmp_path, FIRST, notebook(replicas=lags))
    assert card_of(tmp_path, "2026-03-01", stem, (".ipynb",)).lag == told


def test_whatever_a_record_holds_is_text(tmp_path: Path) -> None:
    """A parameter, a message and a name that are HTML are shown, never obeyed."""
    executed = notebook((), {"word": SCRIPT}, failure={"cause": "X", "message": f'{SCRIPT}" onload="x'})
    write(tmp_path, FIRST, executed, outcome="failed", actor=SCRIPT)
    page = page_of(tmp_path)
    assert page.count("<script>") == 1
    assert 'onload="' not in page
    assert page.count("&lt;script&gt;alert(1)") == 3


def test_the_policy_lets_run_the_one_script_and_nothing_of_other_places(tmp_path: Path) -> None:
    """The digests in the policy are those of the page's own script and style; no address stands in it."""
    write(tmp_path, FIRST)
    page = page_of(tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    for tag in ("script", "style"):
        body = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy[1] or f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert not re.search(r'https?:|src="|@import|url\(| style="', page)


def test_no_secret_reaches_a_page(tmp_path: Path) -> None:
    """Also one that got into a record before anybody knew that it was a secret."""
    write(tmp_path, FIRST, notebook((), {"word": "canary-7f3a91"}))
    index.update(tmp_path, NOBODY)
    page_of(tmp_path, Redactor(["canary-7f3a91"]))
    write(tmp_path, FIRST + timedelta(minutes=1))
    page = page_of(tmp_path, Redactor(["canary-7f3a91"]))
    assert "canary-7f3a91" not in page
    assert not [path.name for path in (tmp_path / "index").iterdir() if "canary-7f3a91" in path.read_text()]


def test_the_first_page_is_bounded_and_older_runs_are_a_day_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run stands on the page of its day; the first one counts them all."""
    monkeypatch.setattr(index, "NEWEST", 3)
    all_of_them = [write(tmp_path, FIRST + timedelta(hours=9 * step)) for step in range(8)]
    page = page_of(tmp_path)
    assert stems(page) == all_of_them[:-4:-1]
    assert "<b>8</b> runs" in page
    days = sorted((tmp_path / "index").glob("*.html"))
    assert [stem for day in days for stem in reversed(stems(day.read_text()))] == all_of_them
    assert all(f'href="index/{day.name}"' in page for day in days)


def test_a_page_of_a_day_leads_to_the_days_beside_it(tmp_path: Path) -> None:
    """Also once the day behind it has come, and once the one before it was retired."""
    for day in range(3):
        write(tmp_path, FIRST + timedelta(days=day))
        index.update(tmp_path, NOBODY)
    middle = tmp_path / "index" / "2026-03-02.html"
    assert re.findall(r'rel="(\w+)" href="([^"]+)"', middle.read_text()) == [
        ("prev", "2026-03-01.html"),
        ("next", "2026-03-03.html"),
    ]
    for path in (tmp_path / "2026-03-01").iterdir():
        path.unlink()
    index.update(tmp_path, NOBODY)
    assert 'rel="prev"' not in middle.read_text()
    assert not (tmp_path / "index" / "2026-03-01.html").exists()


def test_an_update_reads_only_records_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ten thousand runs behind it a run must not wait for its index."""
    for day in range(3):
        write(tmp_path, FIRST + timedelta(days=day))
    index.update(tmp_path, NOBODY)
    read: list[str] = []

    def noted(folder: Path, day: str, stem: str, endings: tuple[str, ...]) -> Card:
        read.append(stem)
        return card_of(folder, day, stem, endings)

    monkeypatch.setattr(shelf, "card_of", noted)
    new = write(tmp_path, FIRST + timedelta(days=2, minutes=1))
    index.update(tmp_path, NOBODY)
    assert read == [new]


def test_updates_one_by_one_end_in_the_same_pages_as_one_from_nothing(tmp_path: Path) -> None:
    """What is kept between updates saves time and says nothing of its own; a running run becomes what it ended as."""
    running = write(tmp_path, FIRST, notebook(status="running"), sealed=False)
    assert "▶ running" in page_of(tmp_path)
    (tmp_path / "2026-03-01" / f"{running}.ipynb").write_text(json.dumps(notebook(status="failed")))
    for minute in range(1, 4):
        write(tmp_path, FIRST + timedelta(minutes=minute))
        kept = page_of(tmp_path)
    (tmp_path / "index" / "2026-03-01.json").write_text("no JSON")
    written = re.compile(r"Written [^<]+")
    assert written.sub("", page_of(tmp_path, anew=True)) == written.sub("", kept)
    assert "running" not in stems(kept)


def _update(folder: Path, number: int) -> None:
    for step in range(5):
        write(folder, FIRST + timedelta(minutes=number, seconds=step))
        index.update(folder, NOBODY)


def test_updates_at_once_leave_a_whole_page_with_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes end five runs each; whoever reads meanwhile finds a page from beginning to end."""
    # Each of them writes to a disk that other tests use as well; giving up has a test of its own.
    monkeypatch.setattr(index, "LOCK_WAIT_S", 120)
    write(tmp_path, FIRST)
    page_of(tmp_path)
    context = multiprocessing.get_context("fork")
    updaters = [context.Process(target=_update, args=(tmp_path, number)) for number in range(1, 5)]
    for process in updaters:
        process.start()
    while any(process.is_alive() for process in updaters):
        page = (tmp_path / "index.html").read_text()
        assert page.startswith("<!DOCTYPE")
        assert page.endswith("</html>")
    for process in updaters:
        process.join()
    assert [process.exitcode for process in updaters] == [0] * 4
    assert len(stems((tmp_path / "index.html").read_text())) == 21
    assert not list(tmp_path.rglob("*.draft"))


def test_an_update_waits_for_the_other_and_gives_up_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the slower of two would put back a page without the other's run."""
    monkeypatch.setattr(index, "LOCK_WAIT_S", 0.05)
    write(tmp_path, FIRST)
    index.update(tmp_path, NOBODY)
    with (tmp_path / "index" / index.LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RecordsBusy, match="The next run renews it"):
            index.update(tmp_path, NOBODY)
    index.update(tmp_path, NOBODY)


def test_a_page_that_cannot_be_written_is_said_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """How a run ended stays what it is."""
    write(tmp_path, FIRST)
    (tmp_path / "index.html").mkdir()
    index.keep_up(tmp_path, NOBODY)
    assert "index of the runs could not be renewed" in caplog.text


EARLY = b'{"cells": [], "metadata": {"papermill": {"start_time": "0001-01-01T00:00:00+14:00"}}}'
ODD_LETTER = b'{"cells": [], "metadata": {"papermill": {"parameters": {"a": "\\ud800"}}}}'


@pytest.mark.parametrize(
    "broken", [b"[]", b"{", b'{"metadata": 7, "cells": [3, {"outputs": 1}]}', b"\xff", EARLY, ODD_LETTER]
)
def test_a_record_that_somebody_edited_is_a_row_like_any_other(broken: bytes, tmp_path: Path) -> None:
    """Nothing is known of it, and the page is there all the same."""
    stem = write(tmp_path, FIRST, sealed=False)
    (tmp_path / "2026-03-01" / f"{stem}.ipynb").write_bytes(broken)
    (tmp_path / "2026-03-01" / f"{stem}.manifest.json").write_bytes(broken)
    assert stems(page_of(tmp_path)) == [stem]


@pytest.mark.parametrize("change", [lambda rows: "no rows", lambda rows: rows[1:], lambda rows: [{}, *rows[1:]]])
def test_kept_cards_that_are_not_all_there_are_read_anew(
    change: Callable[[list[Any]], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a day in which nothing changed, too: no run is missing from the first page, nor from that of its day."""
    monkeypatch.setattr(shelf, "SETTLED_NS", -1)
    all_of_them = [write(tmp_path, FIRST + timedelta(minutes=minute)) for minute in range(3)]
    page_of(tmp_path)
    kept = tmp_path / "index" / "2026-03-01.json"
    whole = kept.read_bytes()
    kept.write_text(json.dumps({"version": shelf.VERSION, "rows": change(json.loads(whole)["rows"])}))
    (tmp_path / "index" / "2026-03-01.html").unlink()
    assert stems(page_of(tmp_path)) == all_of_them[::-1]
    assert stems((tmp_path / "index" / "2026-03-01.html").read_text()) == all_of_them[::-1]
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("rows", [[{"parameters": []}], [7], {}])
def test_kept_cards_that_somebody_edited_never_reach_a_run(
    rows: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run goes on to its end; made anew, the page is right again."""
    stem = write(tmp_path, FIRST)
    page_of(tmp_path)
    kept = tmp_path / "index" / "2026-03-01.json"
    told = json.loads(kept.read_text())
    told["rows"] = [{**told["rows"][0], **row} for row in rows] if rows == [{"parameters": []}] else rows
    kept.write_text(json.dumps(told))
    index.keep_up(tmp_path, NOBODY)
    assert stems(page_of(tmp_path, anew=True)) == [stem]


@pytest.mark.parametrize("name", ["../2026-03-01/{stem}", "../2026-03-01/{stem}.manifest", "/{outside}", "..", 7])
def test_a_day_that_is_none_takes_no_file_with_it(name: object, tmp_path: Path) -> None:
    """What is kept may be edited by whoever writes to the folder; records are not removed by that."""
    folder = tmp_path / "test"
    stem = write(folder, FIRST)
    outside = tmp_path / "outside.html"
    outside.write_text("mine")
    page_of(folder)
    there = {path for path in tmp_path.rglob("*") if path.is_file()}
    days = folder / "index" / "days.json"
    told = json.loads(days.read_text())
    named = name.format(stem=stem, outside=str(outside.with_suffix(""))[1:]) if isinstance(name, str) else name
    told["rows"].append({**told["rows"][0], "name": named})
    days.write_text(json.dumps(told))
    index.keep_up(folder, NOBODY)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == there


def test_retired_runs_are_counted(tmp_path: Path) -> None:
    """Their rows are gone with their files, and the page says how many there were."""
    built = build(tmp_path, 3)
    chain.retire(None, tmp_path, [built.run(1), built.run(2)], Decision("old", "ada"), None)
    assert "Retired by policy: 2;" in page_of(tmp_path)
    assert chain_folder.read_lines(tmp_path).whole


def test_the_picture_shows_a_day_at_most_and_keeps_every_bar_inside() -> None:
    """A run of three months ago would make everything of today one line."""
    times = (0.0, 80.0 * 3600, 100.0 * 3600, 100.5 * 3600)
    cards = [
        Card("d", f"s{at}", (), notebook="n", started_at=(FIRST + timedelta(seconds=at)).isoformat(), seconds=9.0)
        for at in times
    ]
    picture = timeline_of(cards)
    assert picture is not None
    assert len(picture.bars) == 3
    assert all(bar.x >= 190 and bar.x + bar.width <= 1000 for bar in picture.bars)
    assert timeline_of([Card("d", "s", ())]) is None
