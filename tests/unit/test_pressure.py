"""When a backfill pauses and when it goes on, judged from made-up readings without a server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from pydantic import ValidationError

from genonaut_lib.migration.pressure import Pressure, Reason, describe
from genonaut_lib.migration.readings import Answer, Archiver, Readings, Replica, Slot, Vacuum, Wait
from genonaut_lib.migration_settings import PressureSettings

MIB = 1024 * 1024
SETTINGS = PressureSettings(query="select 1", query_limit=100, wal_mb_per_s=50, resume_share=0.7, resume_after_s=2)
QUIET = Readings(wal_position=1_000)


def pressure(settings: PressureSettings = SETTINGS) -> Pressure:
    return Pressure(settings, (), list)


def number(value: float) -> Readings:
    """Readings in which the user's query gave `value`."""
    return replace(QUIET, answer=Answer(value))


def paused(looks: Iterable[Readings], settings: PressureSettings = SETTINGS) -> str:
    """Return for each look, a second apart, whether it paused (P) or not (-)."""
    judged = pressure(settings)
    return "".join("P" if judged.judge(look, float(now)) else "-" for now, look in enumerate(looks))


def replica(behind_bytes: int, reported_s: float | None, position: int = 10_000, pid: int = 7) -> Readings:
    found = Replica(pid, "walreceiver", position - behind_bytes, behind_bytes, reported_s)
    return Readings(wal_position=position, replicas=(found,))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100, 101, 101], "-PP"),
        ([101, 99, 99, 99, 99, 99], "PPPPPP"),
        ([101, 71, 70, 70, 70, 70], "PPPP--"),
        ([101, 70, 71, 70, 70, 70, 70], "PPPPP--"),
        ([101, 70, 101, 70, 70, 70], "PPPPP-"),
        ([101, 70, 70, 70, 99, 99], "PPP---"),
    ],
    ids=["over", "around", "below_share", "calm_broken", "over_again", "no_longer_held"],
)
def test_a_signal_that_paused_goes_on_only_after_lasting_calm(values: list[float], expected: str) -> None:
    """Over 100 pauses at once; at most 70 for two seconds in a row goes on."""
    assert paused(map(number, values)) == expected


def test_a_limit_below_zero_goes_on_below_it_too() -> None:
    """The share is taken off the limit's size, so that it lies below a negative limit as well."""
    settings = SETTINGS.model_copy(update={"query_limit": -100})
    assert paused(map(number, [-99, -129, -130, -130, -130]), settings) == "PPPP-"


def test_without_a_share_and_a_wait_a_signal_goes_on_at_its_limit() -> None:
    """Hysteresis can be switched off."""
    settings = SETTINGS.model_copy(update={"resume_share": 1.0, "resume_after_s": 0.0})
    assert paused(map(number, [101, 100, 101, 100]), settings) == "P-P-"


def test_each_signal_is_held_on_its_own() -> None:
    """A signal that is calm goes while another still holds the backfill."""
    judged = pressure()
    both = replace(number(101), vacuums=(Vacuum(5, "content_tags", "VACUUM"),))
    assert [reason.signal for reason in judged.judge(both, 0)] == ["vacuum", "query"]
    judged.judge(number(101), 1)
    assert [reason.signal for reason in judged.judge(number(101), 3)] == ["query"]


def test_what_is_no_longer_there_is_calm() -> None:
    """A vacuum that ended holds the backfill for the calm time and not longer."""
    running = replace(QUIET, vacuums=(Vacuum(5, "content_tags", "VACUUM"),))
    assert paused([running, QUIET, QUIET, QUIET, QUIET]) == "PPP--"


def test_a_held_reason_says_what_it_waits_for() -> None:
    """Someone who looks at the status reads why it still stands."""
    judged = pressure()
    findings = [judged.judge(number(value), now)[0].finding for now, value in enumerate([101, 80, 70])]
    assert findings == [
        "pressure.query gave 101 (limit 100)",
        "pressure.query gave 80 (limit 100); goes on below 70",
        "pressure.query gave 70 (limit 100); goes on after 2 s of calm",
    ]


def test_an_unknown_signal_stays_as_it_was() -> None:
    """Rights lost in between neither pause a running backfill nor let a paused one go."""
    hidden = replace(QUIET, wal_position=10_000, unknown=frozenset({"replica_lag"}))
    behind, caught_up = replica(500, 11.0), replica(0, None)
    assert paused([hidden, behind, caught_up, hidden, hidden, hidden, caught_up, caught_up, caught_up]) == "-PPPPPPP-"


def test_a_failing_archiver_that_recovers_goes_though_its_backlog_is_unknown() -> None:
    """What is known of a signal is judged, also while another part of it cannot be read."""
    failing = replace(QUIET, archiver=Archiver(None, "000000010000000000000001", 3.0))
    works = replace(QUIET, archiver=Archiver(None), unknown=frozenset({"archiver"}))
    assert paused([failing, works, works, works]) == "PPP-"


def test_a_replica_that_says_nothing_falls_behind_by_our_own_clock() -> None:
    """Its last report stands still; the WAL it lacks grows older all the same."""
    looks = [replica(500, 0.1) for _ in range(13)]
    assert paused(looks) == "-----------PP"


def test_the_age_of_missing_wal_counts_from_the_first_look_that_saw_it() -> None:
    """A primary that stood still for long and then wrote makes nobody late by that long."""
    judged = pressure()
    for now in range(60):
        judged.judge(replica(0, None, position=1_000), float(now))
    late = Readings(9_000, replicas=(Replica(7, "walreceiver", 1_000, 8_000, None),))
    assert [bool(judged.judge(late, now)) for now in (60.0, 70.0, 70.5)] == [False, False, True]


def test_a_replica_that_caught_up_is_calm_whatever_it_reported_last() -> None:
    """A lag that was measured in the past stays in the view while nothing happens."""
    assert paused([replica(0, 99.0)]) == "-"


def test_a_position_that_went_back_starts_the_history_anew() -> None:
    """After a failover the new primary may stand before the old one."""
    judged = pressure()
    judged.judge(Readings(wal_position=90_000), 0)
    assert judged.judge(replica(500, None, position=10_000), 60) == ()


def test_the_rate_of_wal_is_taken_over_half_a_second_at_least() -> None:
    """A flush between two quick looks is not a rate; the first look has none."""
    judged = pressure()
    looks = [(0.0, 0), (0.1, 40 * MIB), (0.6, 40 * MIB), (1.6, 91 * MIB)]
    found = [judged.judge(Readings(position), now) for now, position in looks]
    assert [[reason.value for reason in reasons] for reasons in found] == [[], [], [pytest.approx(40 / 0.6)], [51.0]]


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        (
            replica(3 * MIB, 12.4, position=4 * MIB),
            Reason("replica_lag", "replica walreceiver is 12.4 s and 3.0 MB behind (limit 10 s)", 12.4, 10),
        ),
        (
            replace(QUIET, slots=(Slot("old", False, 20_001),)),
            Reason("slot", "the inactive replication slot old keeps 20001 MB of WAL (limit 10240 MB)", 20_001, 10_240),
        ),
        (
            replace(QUIET, archiver=Archiver(101)),
            Reason("archiver", "101 WAL files wait for the archiver (limit 100 files)", 101, 100),
        ),
        (
            replace(QUIET, archiver=Archiver(1, "0A", 3.2)),
            Reason("archiver", "the archiver failed 3 s ago at 0A, nothing archived since", None, None),
        ),
        (
            replace(QUIET, vacuums=(Vacuum(5, "content_tags", "VACUUM"),)),
            Reason("vacuum", "VACUUM runs on content_tags (pid 5)", None, None),
        ),
        (
            replace(QUIET, waits=(Wait(8, 2), Wait(9, 1))),
            Reason("waiting_sessions", "2 sessions wait for a lock of the backfill, pid 8 for 2.0 s (limit 1 s)", 2, 1),
        ),
        (replace(QUIET, answer=Answer(True)), Reason("query", "pressure.query is true", None, None)),
        (replace(QUIET, answer=Answer(None, "gave None")), Reason("query", "pressure.query gave None", None, 100)),
    ],
    ids=lambda value: value.signal if isinstance(value, Reason) else "",
)  # fmt: skip
def test_a_reason_names_what_was_found_and_its_limit(readings: Readings, reason: Reason) -> None:
    """A reason is a sentence with its figures, and fit to be stored as JSON."""
    found = pressure().judge(readings, 0)
    assert found == (reason,)
    assert json.loads(json.dumps(vars(found[0])))["signal"] == reason.signal


@pytest.mark.parametrize(
    "readings",
    [
        replica(3 * MIB, 10.0),
        replace(QUIET, slots=(Slot("s", True, 10_240),)),
        replace(QUIET, archiver=Archiver(100)),
        replace(QUIET, waits=(Wait(8, 0.9),)),
        replace(QUIET, answer=Answer(False)),
        replace(QUIET, answer=Answer(100.0)),
    ],
    ids=["replica", "slot", "archiver", "waits", "false", "number"],
)
def test_a_value_at_its_limit_does_not_pause(readings: Readings) -> None:
    """A limit is what is still allowed."""
    assert pressure().judge(readings, 0) == ()


def test_a_number_without_its_limit_is_a_reason_that_says_so() -> None:
    """A query that counts something, and nobody said how much is too much."""
    reasons = pressure(SETTINGS.model_copy(update={"query_limit": None})).judge(number(3), 0)
    assert "pressure.query_limit is not set" in describe(reasons)


def test_two_replicas_are_two_reasons_on_one_line() -> None:
    """Each is named; the one that caught up goes by itself."""
    behind = replica(500, 11.0)
    both = replace(behind, replicas=(*behind.replicas, *replica(500, 12.0, pid=8).replicas))
    assert describe(pressure().judge(both, 0)).count("behind (limit 10 s)") == 2
    assert describe(()) == ""


@pytest.mark.parametrize("text", ["commit", "copy t to stdout", "do $$ begin end $$", "selected", ""])
def test_only_a_query_is_taken_as_one(text: str) -> None:
    """What could end the read-only transaction, or is no query at all, is refused when the settings are read."""
    with pytest.raises(ValidationError):
        PressureSettings(query=text)


@pytest.mark.parametrize(
    "text", ["select 1", "  SELECT now() > '2020-01-01'", "(select 1)", "with a as (select 1) select 2"]
)
def test_a_query_may_be_written_as_people_write_it(text: str) -> None:
    """Capitals, brackets and a WITH are all queries."""
    assert PressureSettings(query=text).query == text
