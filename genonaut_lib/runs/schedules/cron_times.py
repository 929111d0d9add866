"""Cron times in a time zone: when a sequence is due. APScheduler's CronTrigger does the calendar.

It is asked about a clock that is never changed: over a change of clocks it would leave a night out. What
is left open is settled here. Days of the week count as in cron (0 and 7 are Sunday). On the night a
clock goes forward, a time that does not exist is due the moment after the gap; on the night it goes back, a
time that occurs twice is due the first time only. Where every hour is meant, real hours count.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.cron import CronTrigger
from pydantic import BaseModel, ConfigDict, model_validator

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS = 5
_INSTANT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class _Field:
    """What one of the five fields may hold."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()

    def values(self, text: str) -> tuple[int, ...]:
        """Return the values that a field means, sorted; raise ValueError for one that means none."""
        found: set[int] = set()
        for part in text.lower().split(","):
            span, slash, step = part.partition("/")
            if slash and not (step.isdigit() and int(step) and ("-" in span or span == "*")):
                raise ValueError(f"{self.name}: {part!r} is not */STEP or FIRST-LAST/STEP")
            found.update(range(*self._span(span), int(step) if slash else 1))
        return tuple(sorted(found))

    def _span(self, text: str) -> tuple[int, int]:
        if text == "*":
            return self.least, self.most + 1
        first, dash, last = text.partition("-")
        low = self._number(first)
        high = self._number(last) if dash else low
        if low > high:
            raise ValueError(f"{self.name}: {text!r} goes backwards")
        return low, high + 1

    def _number(self, text: str) -> int:
        if text in self.words:
            return self.words.index(text) + self.least
        if not (text.isdecimal() and self.least <= int(text) <= self.most):
            raise ValueError(f"{self.name}: {text!r} is not one of {self.least} to {self.most}")
        return int(text)


@dataclass(frozen=True)
class CronFields:
    """The values of each field, sorted; `weekdays` count from Sunday, 0, to Saturday, 6."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @property
    def is_every_hour(self) -> bool:
        """Whether no hour is left out, so that real time counts and not the clock on the wall."""
        return len(self.hours) == len(range(24))


_DAY, _WEEKDAY = _Field("day", 1, 31), _Field("weekday", 0, 7, WEEKDAYS)
_KNOWN = (_Field("minute", 0, 59), _Field("hour", 0, 23), _DAY, _Field("month", 1, 12, _MONTHS), _WEEKDAY)


@functools.lru_cache
def parse(cron: str) -> CronFields:
    """Return what a cron time of five fields means; raise ValueError saying which field cannot be read."""
    texts = cron.split()
    if len(texts) != _FIELDS:
        raise ValueError(f"{cron!r} has {len(texts)} fields, not minute, hour, day, month and weekday")
    found = [field.values(text) for field, text in zip(_KNOWN, texts, strict=True)]
    weekdays = tuple(sorted({day % 7 for day in found[-1]}))
    if texts[2] != "*" and texts[4] != "*":
        # Cron takes either, most others want both.
        raise ValueError("day and weekday are both restricted, which different clocks read differently")
    return CronFields(found[0], found[1], found[2], found[3], weekdays)


class CronTimes(BaseModel):
    """When something is due: five fields of cron and the time zone they are meant in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str
    time_zone: str = "UTC"

    @model_validator(mode="before")
    @classmethod
    def _require_text(cls, given: Any) -> Any:
        return {"cron": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _require_times(self) -> CronTimes:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{self.time_zone!r} is no time zone; Europe/Berlin is one") from None
        if self.after(datetime.now(UTC)) is None:
            raise ValueError(f"{self.cron!r} never comes")
        return self

    def __str__(self) -> str:
        """Return both as one text, by which a change of either is seen."""
        return f"{self.cron} {self.time_zone}"

    @property
    def fields(self) -> CronFields:
        """The values of each field."""
        return parse(self.cron)

    def after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, in UTC; None if there is none any more."""
        moment = moment.astimezone(UTC)
        zone = ZoneInfo(self.time_zone)
        return self._real(moment, zone) if self.fields.is_every_hour else self._shown(moment, zone)

    def _shown(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first time after `moment` by what clocks on the wall show, each reading taken once."""
        wall = moment.astimezone(zone)
        while (found := self._next_wall(wall)) is not None:
            wall = found.replace(tzinfo=zone)
            due = wall.astimezone(UTC)
            if _wall(due.astimezone(zone)) != _wall(wall):
                due = _end_of_gap(due, zone)
            if due > moment:
                return due
        return None

    def _real(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first time after `moment` where every hour is meant, one that occurs twice among them."""
        offset = _offset(moment, zone)
        while (found := self._next_wall(moment + offset)) is not None:
            due = found - offset
            if _offset(due, zone) == offset:
                return due
            change = _next_change(moment, zone)
            moment, offset = change - _INSTANT, _offset(change, zone)
        return None

    def _next_wall(self, wall: datetime) -> datetime | None:
        """Return the next reading of a clock that is never changed, which is what APScheduler is asked about."""
        start = wall.replace(tzinfo=UTC, fold=0) + _INSTANT
        found: datetime | None = _trigger(self.cron).get_next_fire_time(None, start)
        return found

    def upcoming(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times after `moment`, in UTC, one after the other."""
        due = self.after(moment)
        while due is not None:
            yield due
            due = self.after(due)

    def between(self, after: datetime, upto: datetime) -> list[datetime]:
        """Return the times after the first moment and not after the second."""
        return list(itertools.takewhile(lambda due: due <= upto, self.upcoming(after)))

    def last_before(self, moment: datetime) -> datetime:
        """Return the last time not after `moment`, or `moment` itself if there was none for four years."""
        for days in (1, 40, 400, 1500):
            if found := self.between(moment - timedelta(days=days), moment):
                return found[-1]
        return moment


@functools.lru_cache
def _trigger(cron: str) -> CronTrigger:
    """Return APScheduler's trigger; its own reading of a crontab counts the days of the week from Monday."""
    fields = parse(cron)
    weekdays = "*" if len(fields.weekdays) == len(WEEKDAYS) else ",".join(WEEKDAYS[day] for day in fields.weekdays)
    return CronTrigger(
        minute=_listed(fields.minutes),
        hour=_listed(fields.hours),
        day=_listed(fields.days),
        month=_listed(fields.months),
        day_of_week=weekdays,
        second="0",
        timezone=UTC,
    )


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(str(value) for value in values)


def _wall(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _end_of_gap(due: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment, in UTC, that a clock shows which was put forward shortly before `due`."""
    offset = _offset(due, zone)
    while _offset(due - _MINUTE, zone) == offset:
        due -= _MINUTE
    return due


def _next_change(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the first whole minute after `moment`, in UTC, at which the clocks of a zone are changed."""
    offset, moment = _offset(moment, zone), moment.replace(second=0, microsecond=0)
    for step in (timedelta(days=1), _MINUTE):
        while _offset(moment + step, zone) == offset:
            moment += step
    return moment + _MINUTE
