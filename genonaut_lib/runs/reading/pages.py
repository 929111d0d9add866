"""Pages as HTML: cards and counts go into templates that escape whatever they are given. No file is touched here.

A page asks nothing of any other place, and its policy (CSP) lets run the one script whose digest it names.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from genonaut_lib.runs.ending import STATES
from genonaut_lib.runs.reading.card import Card, moment_of
from genonaut_lib.runs.reading.shelf import Day
from genonaut_lib.runs.reading.timeline import timeline_of

GLYPHS = {"ok": "✓", "failed": "✕", "cancelled": "◼", "killed": "✕", "lost": "?", "running": "▶"}
"""What tells outcomes apart without colour."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Place:
    """Where a page lies: its title, its environment, and the way from it to the environment's folder."""

    title: str
    environment: str
    up: str


def index_page(place: Place, cards: Sequence[Card], days: Sequence[Day], retired: int) -> str:
    """Return an environment's first page: counts over all days, the newest runs, a link to each day."""
    counts: Counter[str] = Counter()
    for day in days:
        counts.update(day.counts)
    return _page(place, cards, {"counts": _ordered(counts), "days": days, "day": None, "retired": retired})


def day_page(place: Place, cards: Sequence[Card], day: Day) -> str:
    """Return the page of one day: all its runs."""
    return _page(place, cards, {"counts": _ordered(day.counts), "days": (), "day": day, "retired": 0})


def report_header(card: Card, previous: str | None) -> str:
    """Return the HTML that stands above a run's cells; `previous` is the report of the run before, from its folder."""
    return _environment().get_template("report_header.html.j2").render(
        card=card, previous=previous, style=Markup(_source("report.css"))  # noqa: S704  # our own file
    )  # fmt: skip


def digest(text: str) -> str:
    """Return a text's digest as a page's policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _page(place: Place, cards: Sequence[Card], what: Mapping[str, Any]) -> str:
    style, script = _source("page.css"), _source("filter.js")
    return _environment().get_template("page.html.j2").render(
        place=place, cards=cards, timeline=timeline_of(cards), style=Markup(style), script=Markup(script),  # noqa: S704
        style_digest=digest(style), script_digest=digest(script), written_at=datetime.now(UTC),
        outcomes=[state for state, _ in _ordered(Counter(card.outcome for card in cards))], **what,
    )  # fmt: skip


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the outcomes that occur, the known ones in their own order."""
    known = [(state, counts[state]) for state in (*STATES, "running") if counts.get(state)]
    return known + sorted((state, count) for state, count in counts.items() if count and state not in dict(known))


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("genonaut_lib.runs.reading"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(duration=_duration, rows=_rows, moment=_moment, clock=_clock, parameters=_parameters)
    made.globals.update(glyphs=GLYPHS, unknown=UNKNOWN)
    return made


@functools.cache
def _source(name: str) -> str:
    return resources.files("genonaut_lib.runs.reading").joinpath("templates", name).read_text(encoding="utf-8")


def _duration(seconds: float | None) -> str:
    """Return a duration for people: 850 ms, 12.3 s, 5 min 03 s, 2 h 10 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _rows(count: int | None, statements: int | None = None) -> str:
    """Return a number of rows; of a run that tells none, the number of its statements."""
    if count is None and statements is not None:
        return f"{statements} statements"
    return UNKNOWN if count is None else f"{count:,}"


def _moment(at: str | datetime | None) -> str:
    found = moment_of(at) if isinstance(at, str) else at
    return UNKNOWN if found is None else f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _clock(at: str | None) -> str:
    found = moment_of(at)
    return UNKNOWN if found is None else f"{found.astimezone(UTC):%H:%M:%S}"


def _parameters(found: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return parameters by name; the environment is the page's own."""
    return [(name, value) for name, value in sorted(found.items()) if name != "environment"]
