"""The verification finds every fault by its key, nothing else, and goes on where it was killed; gates ask it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CheckFailed, GateClosed, VerificationBusy
from genonaut_lib.migration import chunk_reader, ledger, revisions, verify
from genonaut_lib.migration.chunk_reader import ChunkReader
from genonaut_lib.migration.comparison import CEILING, FLOOR, Chunk, Comparison, Mismatch, gaps
from genonaut_lib.migration.junction_check import compare_junction, comparison
from genonaut_lib.migration.phases import PHASES, Context, backfill_tag_uuids, drop_legacy_tags
from genonaut_lib.migration.runner import undo_phase, verify_phase
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.test_phases import apply, apply_before

REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO
NAMES = [f"tag {number}" for number in range(40)]
TAGS = [tag_id(name) for name in NAMES]
LIVE_S = float(os.environ.get("CHAOS_SECONDS", "8"))
"""How long others write; `make chaos` says more."""
OpenSession = Callable[[], Connection]
VERIFIER = """
import sys
from genonaut_lib.migration.junction_check import comparison
from genonaut_lib.migration.verify import compare
from genonaut_lib.settings import load_settings

settings = load_settings("test")
throttle = settings.throttle.model_copy(update={"batch_rows_first": 5, "batch_rows_max": 5, "pause_s": 0.02})
print("working", flush=True)
compare(settings.model_copy(update={"throttle": throttle}), comparison("verify_content_tags"))
"""


def fill(gallery: Gallery, items: int, dice: random.Random) -> None:
    """Items of both sources with overlapping ids and eight tags each."""
    columns = "title, content_type, content_data, prompt, creator_id, tags"
    for source in ContentSource:
        values = [(f"{n}", "text", "", "", gallery.user(), Jsonb(dice.sample(NAMES, 8))) for n in range(items)]
        insert = f"insert into {source.table} ({columns}) values (%s, %s, %s, %s, %s, %s)"
        gallery.connection.cursor().executemany(insert, values)  # type: ignore[arg-type]


def with_junction(context: Context) -> None:
    """Make 800 items and fill their junction."""
    fill(Gallery(context.connection), 400, random.Random(1))
    apply_before(context, "verify_content_tags")


def with_names(context: Context) -> None:
    """Make 800 items, some of them dirty, that have names and ids."""
    gallery = Gallery(context.connection)
    fill(gallery, 395, random.Random(2))
    for source in ContentSource:
        for tags in (["Tag 1", "tag 1", "tag 2"], [7, "", None, "tag 3"], "tag 4", None, ["x" * 250, "tag 5"]):
            gallery.legacy_item(tags, source)
    apply_before(context, "backfill_tag_uuids")
    apply(context, "backfill_tag_uuids")


MODELS = {"linked": with_junction, "named": with_names}


@pytest.fixture
def linked(context: Context, gallery: Gallery) -> Context:
    """A gallery of the test's own whose junction is filled."""
    return context


@pytest.fixture
def named(context: Context, gallery: Gallery) -> Context:
    """A gallery of the test's own that has names and ids."""
    return context


@contextmanager
def unnoticed(connection: Connection) -> Iterator[Connection]:
    """No trigger and no foreign key sees what is written."""
    connection.execute("set session_replication_role = replica")
    try:
        yield connection
    finally:
        connection.execute("reset session_replication_role")


def run(connection: Connection, text: str, *values: object, table: str = "content_items") -> None:
    connection.execute(sql.SQL(text).format(sql.Identifier(table)), values)  # type: ignore[arg-type]


def tags_of(connection: Connection, source: ContentSource, item: int) -> list[uuid.UUID]:
    statement = sql.SQL("select tags from {} where id = %s").format(sql.Identifier(source.table))
    row = connection.execute(statement, [item]).fetchone()
    assert row is not None
    return list(row[0])


def key(source: ContentSource, item: int, tag: uuid.UUID | str, problem: str) -> Mismatch:
    return Mismatch(source.junction, item, str(tag), problem)


Fault = Callable[[Connection, ContentSource, int, random.Random], set[Mismatch]]


def link(connection: Connection, source: ContentSource, item: int, tag: uuid.UUID) -> None:
    run(connection, "insert into content_tags values (%s, %s, %s)", item, source.junction, tag)


def unlink(connection: Connection, source: ContentSource, item: int, tag: uuid.UUID) -> None:
    where = "content_id = %s and content_source = %s and tag_id = %s"
    run(connection, f"delete from content_tags where {where}", item, source.junction, tag)


def missing(connection: Connection, source: ContentSource, item: int, dice: random.Random) -> set[Mismatch]:
    tag = dice.choice(tags_of(connection, source, item))
    unlink(connection, source, item, tag)
    return {key(source, item, tag, "missing")}


def extra(connection: Connection, source: ContentSource, item: int, dice: random.Random) -> set[Mismatch]:
    tag = dice.choice([tag for tag in TAGS if tag not in tags_of(connection, source, item)])
    link(connection, source, item, tag)
    return {key(source, item, tag, "extra")}


def wrong(connection: Connection, source: ContentSource, item: int, dice: random.Random) -> set[Mismatch]:
    """A pair with another id: of a tag, or of none."""
    found = missing(connection, source, item, dice)
    tag = uuid.UUID(int=dice.getrandbits(128))
    link(connection, source, item, tag)
    return found | {key(source, item, tag, "extra")}


def null(connection: Connection, source: ContentSource, item: int, dice: random.Random) -> set[Mismatch]:
    run(connection, "update {} set tags = tags || null::uuid where id = %s", item, table=source.table)
    return {key(source, item, "", "null")}


def swapped(connection: Connection, source: ContentSource, item: int, dice: random.Random) -> set[Mismatch]:
    """Two neighbours exchange a tag each: the same tags, as many pairs, the same ids."""
    mine, theirs = (set(tags_of(connection, source, one)) for one in (item, item + 1))
    given, taken = dice.choice(sorted(mine - theirs)), dice.choice(sorted(theirs - mine))
    for one, old, new in ((item, given, taken), (item + 1, taken, given)):
        unlink(connection, source, one, old)
        link(connection, source, one, new)
    return {
        key(source, item, given, "missing"), key(source, item, taken, "extra"),
        key(source, item + 1, taken, "missing"), key(source, item + 1, given, "extra"),
    }  # fmt: skip


def orphan(connection: Connection, source: ContentSource, item: int, dice: random.Random) -> set[Mismatch]:
    """A pair of an item that is not there: far above, below, or where one was deleted."""
    nowhere = dice.choice([item + 10**6, -item, 2**31 - item])
    tag = dice.choice(TAGS)
    link(connection, source, nowhere, tag)
    return {key(source, nowhere, tag, "extra")}


def deleted(connection: Connection, source: ContentSource, item: int, dice: random.Random) -> set[Mismatch]:
    tags = tags_of(connection, source, item)
    run(connection, "delete from {} where id = %s", item, table=source.table)
    return {key(source, item, tag, "extra") for tag in tags}


FAULTS: list[Fault] = [missing, extra, wrong, null, swapped, orphan, deleted]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_faults_are_all_found_by_key_and_nothing_else(linked: Context, seed: int) -> None:
    """Missing, extra, wrong, null, swapped, orphaned: the keys found are the keys that were broken."""
    dice = random.Random(seed)
    places = dice.sample([(source, item) for source in ContentSource for item in range(1, 400, 3)], 100)
    broken: set[Mismatch] = set()
    with unnoticed(linked.connection) as connection:
        for number, (source, item) in enumerate(places):
            broken |= FAULTS[number % len(FAULTS)](connection, source, item, dice)
    found = compare_junction(linked).mismatches
    assert set(found) == broken
    assert len(found) == len(broken) > 100


def test_each_kind_of_fault_is_found_when_it_is_the_only_one(linked: Context) -> None:
    """No fault is noticed only because others stand beside it."""
    for table in ("content_items_auto", "content_tags"):
        run(linked.connection, f"create table saved_{table} as table {table}")
    for number, fault in enumerate(FAULTS):
        with unnoticed(linked.connection) as connection:
            broken = fault(connection, AUTO, 7 + 3 * number, random.Random(number))
            assert set(compare_junction(linked).mismatches) == broken, fault.__name__
            for table in ("content_items_auto", "content_tags"):
                run(connection, f"delete from {table}")
                run(connection, f"insert into {table} select * from saved_{table}")


def test_faults_of_the_ids_are_found_by_key(named: Context) -> None:
    """The comparison with the names finds what the backfill could have done wrong, each by item and tag."""
    dice, wanted = random.Random(5), set()
    change = "update {} set tags = %s where id = %s"
    with unnoticed(named.connection) as connection:
        for item in range(10, 90, 4):
            tags = tags_of(connection, AUTO, item)
            other = dice.choice([tag for tag in TAGS if tag not in tags])
            new, found = dice.choice([
                (tags[1:], {key(AUTO, item, tags[0], "missing")}),
                ([*tags, other], {key(AUTO, item, other, "extra")}),
                ([other, *tags[1:]], {key(AUTO, item, tags[0], "missing"), key(AUTO, item, other, "extra")}),
                ([None, *tags[1:]], {key(AUTO, item, tags[0], "missing"), key(AUTO, item, "", "null")}),
                (None, {key(AUTO, item, tag, "missing") for tag in tags} | {key(AUTO, item, "", "no array")}),
            ])  # fmt: skip
            run(connection, change, new, item, table=AUTO.table)
            wanted |= found
        mine, theirs = (tags_of(connection, REGULAR, item) for item in (5, 6))
        run(connection, change, theirs, 5)
        run(connection, change, mine, 6)
        wanted |= {key(REGULAR, 5, tag, "missing") for tag in set(mine) - set(theirs)}
        wanted |= {key(REGULAR, 5, tag, "extra") for tag in set(theirs) - set(mine)}
        wanted |= {key(REGULAR, 6, tag, "missing") for tag in set(theirs) - set(mine)}
        wanted |= {key(REGULAR, 6, tag, "extra") for tag in set(mine) - set(theirs)}
    assert set(compare_names(named).mismatches) == wanted


def compare_names(context: Context) -> verify.Findings:
    return verify.compare(context.settings, backfill_tag_uuids.COMPARISON)


def test_an_element_that_left_the_quarantine_is_found(named: Context) -> None:
    """Each element that became no tag must be in the ledger with its own place."""
    rows = named.connection.execute(
        "delete from workbench.unmapped_tags where position = 1 and reason = 'not_a_string'"
        " returning content_source, content_id, element::text"
    ).fetchall()
    assert len(rows) == 2
    assert set(compare_names(named).mismatches) == {Mismatch(*row, "lost") for row in rows}


def test_equal_elements_of_an_item_have_a_record_each(context: Context, gallery: Gallery) -> None:
    """The record of one place does not stand for another."""
    item = gallery.legacy_item([7, 7, "a"])
    apply_before(context, "drop_legacy_tags")
    run(context.connection, "delete from workbench.unmapped_tags where position = 2")
    assert set(compare_names(context).mismatches) == {Mismatch(REGULAR.junction, item, "7", "lost")}


def test_a_number_is_not_taken_for_the_tag_of_that_name(context: Context, gallery: Gallery) -> None:
    """JSON knows 7 from "7"; a backfill that does not is found out."""
    items = [gallery.legacy_item(["7"]), gallery.legacy_item([7])]
    apply_before(context, "drop_legacy_tags")
    run(context.connection, "alter table {} disable trigger user")
    run(context.connection, "update {} set tags = %s where id = %s", [tag_id("7")], items[1])
    assert set(compare_names(context).mismatches) == {key(REGULAR, items[1], tag_id("7"), "extra")}


def test_a_tag_that_an_array_holds_twice_is_no_fault(linked: Context, gallery: Gallery) -> None:
    """The junction is a set; the array need not be."""
    gallery.item([TAGS[0], TAGS[1], TAGS[0]])
    assert compare_junction(linked).mismatches == ()


def test_an_empty_junction_is_wrong_in_every_chunk(linked: Context) -> None:
    """A chunk that is all wrong is left after so many keys; no other chunk is left out."""
    run(linked.connection, "truncate content_tags")
    found = compare_junction(linked)
    assert all(reading.mismatches for reading in found.readings if reading.rows)
    assert max(len(reading.mismatches) for reading in found.readings) == chunk_reader.MOST_KEYS
    assert (found.coverage, found.examined) == (100.0, 800)


def write(connection: Connection, until: threading.Event, seed: int) -> None:
    """Insert, retag and delete like an application, as fast as it goes."""
    dice = random.Random(seed)
    columns = "title, content_type, content_data, prompt, creator_id, tags"
    insert = f"insert into {{}} ({columns}) select 'x', 'text', '', '', id, %s from users limit 1"
    while not until.is_set():
        table = dice.choice(list(ContentSource)).table
        tags = dice.choices(TAGS, k=8)
        run(connection, "update {} set tags = %s where id between %s and %s", tags, *ends(dice), table=table)
        run(connection, insert, tags, table=table)
        run(connection, "delete from {} where id = %s", dice.randrange(1, 400), table=table)


def ends(dice: random.Random) -> tuple[int, int]:
    first = dice.randrange(1, 400)
    return first, first + 5


def test_live_writes_raise_no_false_alarm_of_the_junction(linked: Context, second_session: OpenSession) -> None:
    """A while of inserts, retags and deletes by two writers; every verification finds nothing."""
    look_while_others_write(lambda: compare_junction(linked), second_session)


def test_live_writes_raise_no_false_alarm_of_the_names(named: Context, second_session: OpenSession) -> None:
    """Nor does it where names became ids."""
    look_while_others_write(lambda: compare_names(named), second_session)


def look_while_others_write(look: Callable[[], verify.Findings], second_session: OpenSession) -> None:
    until = threading.Event()
    writers = [threading.Thread(target=write, args=(second_session(), until, seed)) for seed in range(2)]
    for writer in writers:
        writer.start()
    try:
        deadline = time.monotonic() + LIVE_S
        while time.monotonic() < deadline:
            found = look()
            assert (found.mismatches, found.coverage) == ((), 100.0)
            assert all(writer.is_alive() for writer in writers)
    finally:
        until.set()
        for writer in writers:
            writer.join()


def test_a_difference_that_is_gone_when_read_again_does_not_count(
    linked: Context, monkeypatch: pytest.MonkeyPatch, second_session: Callable[[], Connection]
) -> None:
    """Whoever writes arrays and junction in two transactions is given time for the second."""
    tag = tags_of(linked.connection, AUTO, 9)[0]
    with unnoticed(linked.connection) as connection:
        unlink(connection, AUTO, 9, tag)
    monkeypatch.setattr(chunk_reader, "READ_AGAIN_AFTER_S", (0.05, 0.05))
    writer, real, found = second_session(), ChunkReader._keys, []

    def keys(reader: ChunkReader, leaf: Chunk) -> set[Mismatch]:
        found.append(real(reader, leaf))
        if len(found) == 2:
            link(writer, AUTO, 9, tag)
        return found[-1]

    monkeypatch.setattr(ChunkReader, "_keys", keys)
    assert compare_junction(linked).mismatches == ()
    assert [len(one) for one in found] == [1, 1, 0]


def chunks(connection: Connection) -> list[tuple[int, ...]]:
    query = "select source, after_id, upto_id, started_at, verified_at from workbench.verification_chunks"
    return connection.execute(query + " where phase = 'verify_content_tags' order by 1, 2").fetchall()  # type: ignore[arg-type]


@pytest.fixture
def half_verified(linked: Context) -> list[tuple[int, ...]]:
    """The chunks that a verification left behind that was killed in the middle."""
    worker = subprocess.Popen([sys.executable, "-c", VERIFIER], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    worker.stdout.readline()
    while len(chunks(linked.connection)) < 20:
        assert worker.poll() is None
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    return chunks(linked.connection)


def test_a_killed_verification_goes_on_after_its_last_chunk(
    linked: Context, half_verified: list[tuple[int, ...]]
) -> None:
    """What was compared is not compared again, and counts with its finding and its time."""
    found = compare_junction(linked)
    assert set(half_verified) < set(chunks(linked.connection))
    assert (found.examined, found.coverage, found.mismatches) == (800, 100.0, ())
    assert found.started_at == half_verified[0][3]


def test_differences_found_before_a_kill_are_not_forgotten(
    linked: Context, half_verified: list[tuple[int, ...]]
) -> None:
    """The finding of a chunk is written with it."""
    run(
        linked.connection,
        "update workbench.verification_chunks set mismatches = %s where source = 'regular' and after_id = %s",
        Jsonb([(1, "x", "extra")]),
        min(row[1] for row in half_verified if str(row[0]) == "regular"),
    )
    assert compare_junction(linked).mismatches == (Mismatch("regular", 1, "x", "extra"),)


@pytest.mark.parametrize("over", ["verified", "undone", "backfilled"])
def test_a_new_verification_begins_anew(over: str, linked: Context, half_verified: list[tuple[int, ...]]) -> None:
    """Chunks of a verification that is over, undone, or outdated by a backfill are read again."""
    if over == "verified":
        verify_phase(PHASES["verify_content_tags"], linked)
    elif over == "undone":
        ledger.record_undo(linked.connection, "verify_content_tags", None)
    else:
        linked.connection.execute("update workbench.backfills set updated_at = now()")
    compare_junction(linked)
    assert not set(half_verified) & set(chunks(linked.connection))


def test_a_lost_session_fails_the_verification_and_the_next_goes_on(
    linked: Context, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session ended by the server stops the others; what was written stays."""
    slow = settings.throttle.model_copy(update={"batch_rows_first": 5, "batch_rows_max": 5, "pause_s": 0.05})
    work = settings.model_copy(update={"throttle": slow})
    killer = threading.Thread(target=_end_one_worker, args=(settings, linked.connection.info.backend_pid))
    killer.start()
    with pytest.raises(psycopg.OperationalError):
        verify.compare(work, comparison("verify_content_tags"))
    killer.join()
    assert len(chunks(linked.connection)) > 0
    assert verify.compare(settings, comparison("verify_content_tags")).coverage == 100.0


def _end_one_worker(settings: Settings, spared: int) -> None:
    """End a session that verifies, once something was verified."""
    sessions = """
    select pg_terminate_backend(max(pid)) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and query like '%%verif%%'
    and pid not in (pg_backend_pid(), %s)
    """
    deadline = time.monotonic() + 60
    with engine.connect(settings) as admin:
        while not chunks(admin) or admin.execute(sessions, [spared]).fetchone() != (True,):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_two_verifications_of_one_phase_do_not_run_at_once(
    linked: Context, monkeypatch: pytest.MonkeyPatch, second_session: Callable[[], Connection]
) -> None:
    """The second one says so."""
    monkeypatch.setattr(verify, "LOCK_WAIT_S", 0.3)
    second_session().execute(block("verify", "try_lock").sql(), {"phase": "verify_content_tags"})
    with pytest.raises(VerificationBusy, match="verify_content_tags"):
        compare_junction(linked)


def test_a_chunk_over_its_time_is_read_in_halves(linked: Context, settings: Settings) -> None:
    """A statement that the server ends is not the end of the verification."""
    slow = "select pg_sleep(case when %(upto)s::bigint - %(after)s > 1000000 then 2 else 0 end)"
    sums = block("verify_content_tags", "sums")
    text = sums.text.replace("select items.rows", f"with slow as materialized ({slow}) select items.rows", 1)
    text = text.replace("from (", "from slow, (", 1)
    found = Comparison("x", (), type(sums)("f", "n", text), sums, block("verify_content_tags", "keys"))
    throttle = settings.throttle.model_copy(update={"batch_timeout_s": 1})
    reader = chunk_reader.ChunkReader(linked.connection, found, throttle, threading.Event())
    assert reader.read(Chunk(REGULAR, -1_500_000, 1_500_000)).rows == 400


def test_coverage_is_the_share_of_rows_inside_verified_chunks(linked: Context) -> None:
    """Half of the rows compared is half of the coverage; the finding did not pass, and says so in figures."""
    compare_junction(linked)
    run(linked.connection, "delete from workbench.verification_chunks where source = 'auto'")
    found = verify.findings(linked.connection, comparison("verify_content_tags"))
    assert (found.coverage, found.examined) == (50.0, 400)
    assert found.verification({}).passed is False
    assert found.verification({}).figures == {"coverage": "50 %"}
    run(linked.connection, "delete from workbench.verification_chunks where after_id >= 0")
    run(linked.connection, "update workbench.verification_chunks set after_id = 0, upto_id = 400")
    ended = verify.findings(linked.connection, comparison("verify_content_tags"))
    assert ended.coverage == 50.0, "a chunk has its last id and not the one before its first"


def test_the_ledger_keeps_coverage_and_the_time_it_began(linked: Context) -> None:
    """The record has what the gates ask for."""
    verify_phase(PHASES["verify_content_tags"], linked)
    record = ledger.last_verification(linked.connection, "verify_content_tags")
    assert record is not None
    assert (record.coverage, record.examined) == (100.0, 800)
    assert record.started_at < record.verified_at


def test_rows_that_came_since_do_not_close_the_gate(linked: Context, gallery: Gallery) -> None:
    """The triggers carry them."""
    verify_phase(PHASES["verify_content_tags"], linked)
    gallery.item(TAGS[:3])
    apply(linked, "attach_partitions")


SPOILERS = {
    "in part only": "update workbench.verifications set coverage = 99.99",
    "1 mismatches": "update workbench.verifications set mismatches = 1, passed = false",
    "never verified": "delete from workbench.verifications",
    "backfilled again": "update workbench.backfills set updated_at = now()",
}


@pytest.mark.parametrize("why", list(SPOILERS))
@pytest.mark.parametrize("name", ["drop_legacy_tags", "attach_partitions"])
def test_a_contracting_revision_refuses_what_is_not_wholly_verified(
    name: str, why: str, context: Context, gallery: Gallery
) -> None:
    """Notebook and `alembic upgrade` both refuse, and name the notebook to run; verified again, it goes on."""
    gallery.legacy_item(["a"])
    apply_before(context, name)
    gate = {"drop_legacy_tags": "12_backfill_tag_uuids", "attach_partitions": "22_verify_content_tags"}[name]
    context.connection.execute(SPOILERS[why])  # type: ignore[arg-type]
    with pytest.raises(CheckFailed, match=gate):
        apply(context, name)
    with pytest.raises(GateClosed, match=f"{why}.*{gate}"):
        revisions.upgrade(context.settings, "head", drop_legacy_tags.CONFIRMATION)
    verify_phase(next(phase for phase in PHASES.values() if phase.notebook == gate), context)
    apply(context, name)


def test_a_verification_from_before_an_undo_opens_nothing(linked: Context) -> None:
    """Undoing the junction's backfill closes the gate of the partitions."""
    verify_phase(PHASES["verify_content_tags"], linked)
    undo_phase(PHASES["backfill_content_tags"], linked)
    with pytest.raises(GateClosed, match="undone"):
        revisions.upgrade(linked.settings, "head")


def test_gaps_and_chunks_tile_every_id() -> None:
    """What is left open begins below the least id and ends at the greatest."""
    done = [Chunk(AUTO, 10, 20), Chunk(AUTO, 30, 40), Chunk(REGULAR, 0, 5)]
    assert gaps(done, AUTO) == [Chunk(AUTO, FLOOR, 10), Chunk(AUTO, 20, 30), Chunk(AUTO, 40, CEILING)]
    assert gaps([], REGULAR) == [Chunk(REGULAR, FLOOR, CEILING)]
    assert gaps([Chunk(AUTO, FLOOR, CEILING)], AUTO) == []


def test_halves_join_to_the_whole_down_to_single_ids() -> None:
    """Nothing falls between two halves."""
    chunk = Chunk(AUTO, FLOOR, CEILING)
    while chunk.width > 1:
        left, right = chunk.halves()
        assert (left.after, left.upto, right.upto) == (chunk.after, right.after, chunk.upto)
        chunk = random.Random(chunk.width).choice([left, right])
