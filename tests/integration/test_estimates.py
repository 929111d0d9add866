"""Estimates against what really happened, and what they are made from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genonaut_lib.content import generation
from genonaut_lib.db import disk, engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CheckFailed
from genonaut_lib.migration import adoption, tables
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.preview import Preview, Stand, preflight_checks, preview, stands
from genonaut_lib.migration.runner import apply_plan, verify_phase
from genonaut_lib.vocabulary import ContentSource
from tests import servers
from tests.counters import await_others
from tests.databases import database, settings_of
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.integration.test_dry_run import begin
from tests.migration.test_phases import apply, apply_before, confirmed

OFF_BY = 2.0
"""An estimate further off is worthless."""
DISK = """
    select sum(pg_total_relation_size(oid))::bigint from pg_class
    where relkind = 'r' and relnamespace = 'public'::regnamespace
"""


def one(connection: Connection, question: str) -> Any:
    row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def measured(context: Context, name: str) -> tuple[Preview, int, int]:
    """Apply a phase; return what was expected, the WAL written and the bytes the tables grew by."""
    connection, phase = context.connection, confirmed(PHASES[name])
    expected = preview(phase, context)
    lsn, before = one(connection, "select pg_current_wal_insert_lsn()"), one(connection, DISK)
    apply_plan(phase, context, expected.plan)
    wal = one(connection, f"select pg_current_wal_insert_lsn() - '{lsn}'::pg_lsn")
    return expected, int(wal), one(connection, DISK) - before


def within(estimate: float | None, truth: float) -> bool:
    return estimate is not None and truth / OFF_BY <= estimate <= truth * OFF_BY


@pytest.fixture(scope="module", params=["on", "off"])
def quiet_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server on which nobody else writes WAL, which holds whole pages or not."""
    with servers.primary(full_page_writes=request.param) as address:
        yield address


@pytest.fixture
def alone(quiet_server: str) -> Iterator[Context]:
    """An empty database on it."""
    with database(quiet_server) as name:
        settings = settings_of(quiet_server, name)
        with closing(engine.connect(settings)) as connection:
            yield Context(connection, settings)


@pytest.mark.parametrize(("shape", "items"), [("dense", 20_000), ("zipf", 4_000)])
def test_wal_and_disk_come_out_as_estimated(shape: str, items: int, alone: Context) -> None:
    """Both backfills, each estimated, applied and measured."""
    adoption.adopt(alone.connection, alone.settings)
    generation.generate(alone.connection, generation.SHAPES[shape], items, 1)
    for name in list(PHASES)[: list(PHASES).index("verify_content_tags")]:
        expected, wal, grown = measured(alone, name)
        verify_phase(PHASES[name], alone)
        if name in ("backfill_tag_uuids", "backfill_content_tags"):
            total = expected.estimate.total
            assert within(total.wal_bytes, wal), (name, total, wal)
            assert within(total.disk_bytes, grown), (name, total, grown)
            assert expected.estimate.disk_needed >= grown / OFF_BY
        if name == "backfill_content_tags":
            rows = one(alone.connection, "select count(*) from content_tags")
            pairs = zip(expected.plan.actions, expected.estimate.actions, strict=True)
            loaded = sum(estimate.rows or 0 for step, estimate in pairs if step.id.startswith("load:"))
            assert abs(loaded - rows) < rows * 0.02


def test_the_pace_of_this_database_replaces_that_of_another_machine(context: Context, gallery: Gallery) -> None:
    """A backfill that took ten times as long makes the next one's estimate ten times as long."""
    generation.generate(context.connection, generation.SHAPES["adversarial"], 1_500, 1)
    apply_before(context, "backfill_tag_uuids")
    phase = PHASES["backfill_tag_uuids"]
    set_seconds = "update workbench.backfills set seconds = case rows_read when 0 then 0 else rows_read * {} end"
    found = []
    for seconds_a_row in (0.001, 0.01):
        context.connection.execute(set_seconds.format(seconds_a_row).encode())
        found.append(preview(phase, context).estimate.actions[3].seconds)
    assert found[0] is not None
    assert found[1] == pytest.approx(found[0] * 10)


def test_a_backfills_own_pace_counts_before_that_of_others(context: Context, gallery: Gallery) -> None:
    """Half done, it is known how fast this very backfill is."""
    generation.generate(context.connection, generation.SHAPES["adversarial"], 1_500, 1)
    apply_before(context, "backfill_tag_uuids")
    context.connection.execute(
        "insert into workbench.backfills"
        " (task, source, range_no, after_id, upto_id, cursor_id, rows_total, rows_read, seconds)"
        " values ('backfill_tag_uuids', 'regular', 1, 0, 9, 5, 2000, 1000, 20)"
    )
    steps = preview(PHASES["backfill_tag_uuids"], context).estimate.actions
    rows = steps[3].rows
    assert rows is not None
    assert steps[3].seconds == pytest.approx(rows * 0.02, rel=0.1)


def test_the_junction_is_estimated_before_it_is_there(context: Context, gallery: Gallery) -> None:
    """Its indexes count, so that whoever creates it learns whether it will fit."""
    generation.generate(context.connection, generation.SHAPES["adversarial"], 1_500, 1)
    apply_before(context, "create_content_tags")
    phase = PHASES["backfill_content_tags"]
    before = preview(phase, context).estimate.total
    apply(context, "create_content_tags")
    after = preview(phase, context).estimate.total
    assert (before.wal_bytes, before.disk_bytes) == pytest.approx((after.wal_bytes, after.disk_bytes), rel=0.01)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a table of some hundred rows count as a large one."""
    monkeypatch.setattr(tables, "COUNTED_ROWS", 100)
    monkeypatch.setattr(tables, "SAMPLE_PAGES", 40)


@pytest.mark.usefixtures("large")
def test_a_large_table_is_sampled_and_its_figures_say_so(context: Context, gallery: Gallery) -> None:
    """Rows and relationships come near the truth, with a tilde, and only some rows are read."""
    generation.generate(context.connection, generation.SHAPES["dense"], 2_000, 1)
    apply_before(context, "create_content_tags")
    truth = one(context.connection, "select sum(cardinality(tags)) from content_items_auto")
    sample = tables.sample_of(context.connection, ContentSource.AUTO)
    assert 0 < sample.rows < 600
    count = tables.rows_of(context.connection, ContentSource.AUTO)
    assert str(count.figure).startswith("~")
    assert count.rows * sample.elements == pytest.approx(truth, rel=0.5)
    facts = PHASES["create_content_tags"].plan(context).facts
    assert str(facts["relationships to come"]).startswith("~")


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("name", ["backfill_tag_uuids", "create_content_tags", "backfill_content_tags"])
def test_planning_reads_no_large_table_in_full(name: str, context: Context, gallery: Gallery) -> None:
    """Fifty million rows must not be counted to show a plan."""
    if context.connection.info.server_version < 150_000:
        pytest.skip("this server flushes its counters when it likes")
    generation.generate(context.connection, generation.SHAPES["dense"], 1_500, 1)
    apply_before(context, name)
    read = "select sum(seq_tup_read) from pg_stat_user_tables where relname like 'content_items%'"
    await_others(context.connection)
    context.connection.execute("select pg_stat_force_next_flush()")
    before = one(context.connection, read)
    preview(PHASES[name], context)
    context.connection.execute("select pg_stat_force_next_flush()")
    assert one(context.connection, read) - before < 1_500


def test_free_disk_is_that_of_the_servers_folder(connection: Connection) -> None:
    """Seen for a server of this machine by whoever may know its folder, and by nobody else."""
    folder = Path(one(connection, "show data_directory"))
    if not folder.is_dir() or not connection.info.host.startswith("/"):
        pytest.skip("this server is not on this machine")
    assert disk.free_bytes(connection) == pytest.approx(shutil.disk_usage(folder).free, rel=0.2)
    role = f"looks_no_further_{os.getpid()}"
    connection.execute(f"create role {role}".encode())
    try:
        connection.execute(f"set role {role}".encode())
        assert disk.free_bytes(connection) is None
    finally:
        connection.execute("reset role")
        connection.execute(f"drop role {role}".encode())


def test_another_process_is_not_taken_for_the_server() -> None:
    """A container's server has the number of some process of this machine, or of none."""
    assert not disk._is_server(os.getpid())
    assert not disk._is_server(2**22 + 1)


@pytest.mark.parametrize("name", ["backfill_tag_uuids", "create_content_tags", "backfill_content_tags"])
def test_a_full_disk_stops_a_phase_before_it_begins(
    name: str, context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check names what is needed and what is free, and apply does not begin; unknown is no refusal."""
    generation.generate(context.connection, generation.SHAPES["adversarial"], 1_500, 1)
    apply_before(context, name)
    phase = PHASES[name]
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(CheckFailed, match=r"disk: needs about \d+\.\d MB, 1\.0 MB free"):
        apply_plan(phase, context, phase.plan(context))
    monkeypatch.setattr(disk, "free_bytes", lambda connection: None)
    check = preflight_checks(phase, context)[-1]
    assert (check.subject, check.holds, check.finding.split("; ")[1]) == ("disk", True, f"free: {disk.UNKNOWN}")


@pytest.mark.before("backfill_tag_uuids")
def test_a_phase_that_writes_little_is_not_asked_for_disk(context: Context, gallery: Gallery) -> None:
    """Seven rows fit anywhere."""
    checks = preflight_checks(PHASES["backfill_tag_uuids"], context)
    assert "disk" not in [check.subject for check in checks]


@pytest.mark.parametrize("name", list(PHASES))
@pytest.mark.before
def test_one_phase_is_next_and_those_before_it_are_done(name: str, context: Context, gallery: Gallery) -> None:
    """Also while it is half done."""
    place = list(PHASES).index(name)
    expected = [Stand.DONE] * place + [Stand.NEXT] + [Stand.WAITING] * (len(PHASES) - place - 1)
    assert list(stands(context).values()) == expected
    begin(context, name)
    assert list(stands(context).values()) == expected
    apply(context, name)
    assert stands(context)[name] is Stand.DONE


@pytest.mark.before("expand_tag_columns")
def test_the_command_lists_the_phases(gallery: Gallery, context: Context, command: Callable[..., Ended]) -> None:
    """Done, next and waiting, and what to look at now."""
    said = command("plan", "--env", "test").said
    assert said.count("waiting") == len(PHASES) - 2
    assert "genonaut plan expand_tag_columns" in said
    listed = json.loads(command("plan", "--env", "test", "--json").said)
    assert [row["state"] for row in listed[:3]] == ["done", "next", "waiting"]


@pytest.mark.parametrize("word", ["12", "backfill_tag_uuids", "12_backfill_tag_uuids"])
@pytest.mark.before("backfill_tag_uuids")
def test_the_command_shows_every_statement_in_full(
    word: str, gallery: Gallery, context: Context, command: Callable[..., Ended]
) -> None:
    """With lock, what that holds up, costs and disk; the same as JSON."""
    expected = preview(PHASES["backfill_tag_uuids"], context)
    ended = command("plan", word, "--env", "test")
    assert ended.code == 0
    assert not [step.id for step in expected.plan.actions if step.text not in ended.said]
    for part in ("only VACUUM and DDL", "only DDL", "total", "Disk needed", "(next)"):
        assert part in ended.said
    found = json.loads(command("plan", word, "--env", "test", "--json").said)
    assert [step["statement"] for step in found["actions"]] == [step.text for step in expected.plan.actions]
    assert found["total"]["wal_bytes"] == expected.estimate.total.wal_bytes
    assert (found["state"], found["digest"]) == ("next", expected.plan.digest)


@pytest.mark.parametrize("arguments", [["13x"], ["backfil_tag_uuids"]])
def test_the_command_refuses_an_unknown_phase(arguments: list[str], command: Callable[..., Ended]) -> None:
    """Before anything is asked of a database."""
    ended = command("plan", *arguments, "--env", "test")
    assert ended.code == 2
    assert "There is no phase" in ended.said


def test_the_command_wants_an_adopted_gallery(connection: Connection, command: Callable[..., Ended]) -> None:
    """An empty database is told the next step."""
    ended = command("plan", "--env", "test")
    assert ended.code == 2
    assert "genonaut adopt" in ended.said
