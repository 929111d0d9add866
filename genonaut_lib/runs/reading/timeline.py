"""Where each run stands in the picture of a time: one lane a notebook, from left to right as time went by. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from genonaut_lib.runs.ending import OK
from genonaut_lib.runs.reading.card import Card

WIDTH, LABELS, LANE, TOP, BOTTOM = 1000.0, 190.0, 18.0, 6.0, 26.0
"""Units of the picture: its width, the part that names take, the height of a lane, room above and below."""
LEAST_BAR = 3.0
LONGEST = timedelta(hours=24)
TICKS = 5


@dataclass(frozen=True)
class Bar:
    """A run in the picture: where its bar lies, in units, and the card it stands for."""

    card: Card
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Lane:
    """A notebook's lane: its name and the height of its middle, in units."""

    name: str
    y: float


@dataclass(frozen=True)
class Tick:
    """A time on the axis."""

    x: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """The picture: its height in units, lanes, bars, ticks, the time it shows and how many runs are in it."""

    height: float
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    since: datetime
    until: datetime


@dataclass(frozen=True)
class _Axis:
    since: datetime
    seconds: float

    def x(self, at: datetime) -> float:
        return LABELS + (WIDTH - LABELS) * max(0.0, (at - self.since).total_seconds()) / self.seconds


def timeline_of(cards: Sequence[Card]) -> Timeline | None:
    """Return the picture of the newest runs, a day of them at most; None where no run tells when it began."""
    timed = [(card, card.started) for card in cards]
    known = [(card, at, at + timedelta(seconds=card.seconds or 0)) for card, at in timed if at is not None]
    if not known:
        return None
    until = max(end for _, _, end in known)
    shown = [one for one in known if one[1] >= until - LONGEST] or known[:1]
    axis = _Axis(min(at for _, at, _ in shown), max((until - min(at for _, at, _ in shown)).total_seconds(), 1.0))
    names = sorted({card.notebook or "?" for card, _, _ in shown})
    lanes = tuple(Lane(name, TOP + LANE * (place + 0.5)) for place, name in enumerate(names))
    middle = {lane.name: lane.y for lane in lanes}
    # What did not end well lies above what did: in a lane by the minute it would be covered.
    shown.sort(key=lambda one: one[0].outcome != OK.state)
    bars = tuple(_bar(card, axis.x(at), axis.x(end), middle[card.notebook or "?"]) for card, at, end in shown)
    return Timeline(TOP + LANE * len(lanes) + BOTTOM, lanes, bars, _ticks(axis), axis.since, until)


def _bar(card: Card, start: float, end: float, middle: float) -> Bar:
    ended_well = card.outcome == OK.state
    width = max(end - start, LEAST_BAR if ended_well else LEAST_BAR + 1)
    height = LANE - (6 if ended_well else 2)
    return Bar(card, round(min(start, WIDTH - width), 1), middle - height / 2, round(width, 1), height)


def _ticks(axis: _Axis) -> tuple[Tick, ...]:
    steps = [axis.since + timedelta(seconds=axis.seconds * step / TICKS) for step in range(TICKS + 1)]
    form = "%H:%M:%S" if axis.seconds < 3600 else "%H:%M"
    return tuple(Tick(round(axis.x(at), 1), at.strftime(form)) for at in steps)
