"""When a sequence is due: as cron reads it, in its time zone, once on the nights when clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from genonaut_lib.runs.schedules.cron_times import CronTimes

SPRING, AUTUMN = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)


def nth(times: CronTimes, start: datetime, count: int) -> list[str]:
    return [f"{due:%d %H:%M}" for due in islice(times.upcoming(start), count)]


def test_a_nightly_time_that_does_not_exist_is_due_once_after_the_gap() -> None:
    """At 02:30 of that night no clock in Berlin shows 02:30; 01:00 UTC is 03:00 there."""
    nightly = CronTimes(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert nth(nightly, SPRING, 3) == ["29 01:00", "30 00:30", "31 00:30"]


def test_a_scheduler_that_starts_in_the_gap_agrees_on_the_times() -> None:
    """Two schedulers must name the same instant, whenever they looked."""
    nightly = CronTimes(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert {nightly.after(SPRING + timedelta(minutes=more)) for more in range(0, 780, 7)} == {
        datetime(2026, 3, 29, 1, tzinfo=UTC)
    }


def test_a_nightly_time_that_occurs_twice_is_due_the_first_time() -> None:
    """02:30 comes at 00:30 and 01:30 UTC."""
    nightly = CronTimes(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert nth(nightly, AUTUMN, 2) == ["25 00:30", "26 01:30"]


@pytest.mark.parametrize("start", [SPRING, AUTUMN])
def test_an_hourly_time_keeps_its_real_distance(start: datetime) -> None:
    """A night of 23 or of 25 hours has 23 or 25 of them."""
    hourly = CronTimes(cron="30 * * * *", time_zone="Europe/Berlin")
    found = hourly.between(start, start + timedelta(days=1))
    assert {later - sooner for sooner, later in pairwise(found)} == {timedelta(hours=1)}


@pytest.mark.parametrize(("cron", "day"), [("0 0 * * 0", "Sun"), ("0 0 * * 7", "Sun"), ("0 0 * * mon", "Mon")])
def test_days_of_the_week_count_as_in_cron(cron: str, day: str) -> None:
    """The library beneath counts from Monday."""
    due = CronTimes(cron=cron).after(SPRING)
    assert due is not None
    assert f"{due:%a}" == day


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "60 * * * *", "*/0 * * * *", "5/10 * * * *", "9-3 * * * *", "0 0 31 2 *", "0 0 1 * mon", "@daily"],
)
def test_what_is_no_time_is_refused(cron: str) -> None:
    """Nothing is guessed; a time that never comes and one that clocks read differently are refused, too."""
    with pytest.raises(ValidationError):
        CronTimes(cron=cron)


def test_an_unknown_time_zone_is_refused() -> None:
    """A typo must not become UTC."""
    with pytest.raises(ValidationError, match="no time zone"):
        CronTimes(cron="0 0 * * *", time_zone="Europe/Berln")


def due_by_walking(times: CronTimes, start: datetime, end: datetime) -> set[datetime]:
    """Return what is due, minute by minute: an oracle that knows clocks and no triggers."""
    zone, fields, found = ZoneInfo(times.time_zone), times.fields, set()
    wall, shown = start.astimezone(zone).replace(tzinfo=None), start
    while shown < end:
        shown += timedelta(minutes=1)
        local = shown.astimezone(zone)
        wanted = [local.replace(tzinfo=None)]
        if not fields.is_every_hour:
            # Whatever the clock on the wall jumped over; what it shows a second time was shown before.
            wanted = [wall + timedelta(minutes=n) for n in range(1, 1 + int((wanted[0] - wall).total_seconds() // 60))]
        wall = max(wall, local.replace(tzinfo=None))
        if any(moment.minute in fields.minutes and moment.hour in fields.hours for moment in wanted):
            found.add(shown)
    return found


@settings(max_examples=40)
@given(
    minute=st.sampled_from(["0", "30", "*/20", "15,45", "59"]),
    hour=st.sampled_from(["*", "0", "1", "2", "3", "1-3", "*/2", "2,22"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    night=st.sampled_from([SPRING, AUTUMN, datetime(2026, 3, 7, 12, tzinfo=UTC), datetime(2026, 4, 4, 3, tzinfo=UTC)]),
)
def test_every_time_is_what_the_clock_on_the_wall_says(minute: str, hour: str, zone: str, night: datetime) -> None:
    """Over any night of changed clocks, no time is lost, doubled or moved."""
    times, end = CronTimes(cron=f"{minute} {hour} * * *", time_zone=zone), night + timedelta(days=2)
    assert set(times.between(night, end)) == due_by_walking(times, night, end)
