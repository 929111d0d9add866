"""How long one client waits: the adversarial grid over HTTP, beside the baseline and beside the library alone."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from genonaut_lib.errors import UnexpectedAnswer
from genonaut_lib.tuning.bitmap_effort import Found, over, spread
from genonaut_lib.tuning.grid import GridCase
from genonaut_lib.tuning.http_client import Client, Reply
from genonaut_lib.tuning.http_effort import PATIENCE_MS, Ground
from genonaut_lib.tuning.http_questions import Shown, hard_questions, path_of, shown
from genonaut_lib.tuning.race import Progress, percentile

TARGETS = {"service_median_ms": 4.0, "service_p99_ms": 12.0}
"""At full scale: 1,175,000 items, 88 million relationships."""
SLOWEST = 10
OK, TIMED_OUT = 200, 504
T = TypeVar("T")


@dataclass
class _Asked:
    """One question: milliseconds by the way it was asked, whether answers differed, and the library's strategy.

    `quick` says that the baseline is asked again; one that took long has the time of its first answer only.
    """

    case: GridCase
    path: str
    strategy: str
    differs: bool
    timed_out: bool
    quick: bool
    times: dict[str, list[float]] = field(default_factory=dict)

    def median(self, way: str) -> float:
        return percentile(self.times[way], 0.5)

    @property
    def overhead_ms(self) -> float:
        return self.median("service") - self.median("gallery")


@dataclass(frozen=True)
class _Ways:
    """The three ways to ask a question; each returns milliseconds."""

    ground: Ground
    service: Client
    baseline: Client

    def all(self) -> Mapping[str, Callable[[_Asked], float]]:
        return {"service": self._service, "baseline": self._baseline, "gallery": self._gallery}

    def _service(self, asked: _Asked) -> float:
        return page_from(self.service, asked.path).milliseconds

    def _baseline(self, asked: _Asked) -> float:
        return self.baseline.get(asked.path).milliseconds

    def _gallery(self, asked: _Asked) -> float:
        return self.ground.gallery.gallery(asked.case.query).milliseconds


def measure_latency(ground: Ground) -> Found:
    """Ask every question in all ways: once to warm up and to compare, then repeatedly in a new order each time.

    In each round one way has its turn after the other, as one client has one service: what another process read
    just before would be in the processor's caches instead.
    """
    with _ways(ground) as ways:
        asked = [_compared(ways, case) for case in _told(ground, hard_questions(ground), "questions compared")]
        dice = random.Random(ground.effort.seed)  # noqa: S311  # an order, not a secret
        for turn in range(ground.effort.repeats):
            dice.shuffle(asked)
            order = [(one, way) for way in ways.all() for one in asked if way != "baseline" or one.quick]
            for one, way in _told(ground, order, f"requests, round {turn + 1} of {ground.effort.repeats}"):
                one.times.setdefault(way, []).append(ways.all()[way](one))
    ground.baseline_ms.update({one.case.name: one.median("baseline") for one in asked})
    return _report(asked)


def page_from(client: Client, path: str) -> Reply:
    """Return a page's answer; raise UnexpectedAnswer for any other status than 200."""
    reply = client.get(path)
    if reply.status != OK:
        said = reply.body[:200].decode(errors="replace")
        raise UnexpectedAnswer(f"The service answered {reply.status} to a page: {said}")
    return reply


@contextlib.contextmanager
def _ways(ground: Ground) -> Iterator[_Ways]:
    with Client(ground.service.address) as service, Client(ground.baseline.address) as baseline:
        yield _Ways(ground, service, baseline)


def _compared(ways: _Ways, case: GridCase) -> _Asked:
    """Ask once in every way; the baseline's word is not there for a question that took too long."""
    path = path_of(case.query)
    served, plain = shown(page_from(ways.service, path).body), ways.baseline.get(path)
    direct = ways.ground.gallery.gallery(case.query)
    timed_out = plain.status == TIMED_OUT
    differs = (served.keys, served.total) != (direct.keys, direct.total) or not (timed_out or served == _plain(plain))
    quick = not timed_out and plain.milliseconds <= PATIENCE_MS
    first = {} if quick else {"baseline": [plain.milliseconds]}
    return _Asked(case, path, direct.strategy, differs, timed_out, quick, first)


def _plain(reply: Reply) -> Shown:
    if reply.status != OK:
        raise UnexpectedAnswer(f"The baseline answered {reply.status} to a page.")
    return shown(reply.body)


def _told(ground: Ground, several: Sequence[T], unit: str) -> Iterator[T]:
    progress = Progress(len(several), unit, ground.say)
    for one in several:
        yield one
        progress.step()


def _report(asked: Sequence[_Asked]) -> Found:
    """Return ratios first: what the baseline takes beside the service, what HTTP adds to the library."""
    found = Found(targets=dict(TARGETS))
    times = {way: [ms for one in asked for ms in one.times[way]] for way in ("service", "gallery", "baseline")}
    median = {way: percentile(several, 0.5) for way, several in times.items()}
    found.figures = {
        "baseline_over_service": over(median["baseline"], median["service"]),
        "service_over_gallery": over(median["service"], median["gallery"]),
        "overhead_ms": round(median["service"] - median["gallery"], 3),
        "overhead_paired_ms": round(percentile([one.overhead_ms for one in asked], 0.5), 3),
        **spread("service", times["service"]),
        **spread("gallery", times["gallery"]),
        **spread("baseline", times["baseline"]),
        "questions": len(asked),
        "baseline_timed_out": sum(one.timed_out for one in asked),
    }
    found.differing = [one.case.name for one in asked if one.differs]
    found.details = {"by_tags": _by_tags(asked), "slowest": _slowest(asked), "strategies": _strategies(asked)}
    return found


def _by_tags(asked: Sequence[_Asked]) -> dict[str, dict[str, float]]:
    levels = sorted({one.case.traits.tags for one in asked if one.case.traits})
    return {
        str(level): spread(
            "service",
            [ms for one in asked if one.case.traits and one.case.traits.tags == level for ms in one.times["service"]],
        )
        for level in levels
    }


def _slowest(asked: Sequence[_Asked]) -> dict[str, float]:
    medians = {one.case.name: round(one.median("service"), 3) for one in asked}
    return dict(sorted(medians.items(), key=lambda pair: -pair[1])[:SLOWEST])


def _strategies(asked: Sequence[_Asked]) -> dict[str, int]:
    return dict(Counter(one.strategy for one in asked))
