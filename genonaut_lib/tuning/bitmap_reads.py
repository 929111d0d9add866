"""How fast the tag bitmap index answers: pages with exact totals over the adversarial grid, and facets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.facets import FacetCount
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.tuning import plain_gallery
from genonaut_lib.tuning.bitmap_effort import Found, Place, clocked, over, spread
from genonaut_lib.tuning.bitmap_reader import BitmapReader, Shown
from genonaut_lib.tuning.bitmap_upkeep import marked_items
from genonaut_lib.tuning.gallery_bench import viewers
from genonaut_lib.tuning.grid import GridCase, Use, Whose, adversarial
from genonaut_lib.tuning.plain_gallery import Counted
from genonaut_lib.tuning.race import Progress, percentile

TARGETS = {"warm_median_ms": 2.0, "warm_p99_ms": 6.0, "marked_p99_ms": 10.0}
"""At full scale: 1,175,000 items, 88 million relationships; with 5,000 items marked."""
FACETS = 50
FACET_TAGS = 5
FACETS_TARGET_MS = 40.0


@dataclass
class _Answers:
    """One question: its times by the way it was asked, what the oracle says and how long that took."""

    case: GridCase
    oracle: Counted | None
    oracle_ms: float
    times: dict[str, list[float]] = field(default_factory=dict)
    strategy: str = ""
    differs: set[str] = field(default_factory=set)

    def take(self, way: str, shown: Shown) -> None:
        """Compare an answer with the oracle's, whose word is not there for a question that took too long."""
        if self.oracle is not None and (shown.keys, shown.total) != (self.oracle.keys, self.oracle.total):
            self.differs.add(way)
        self.strategy = shown.strategy if way == "gallery" else self.strategy


@dataclass(frozen=True)
class _FacetsAsked:
    """Facets of one filter: by the junction, by the index (nothing where it refused), and whether they differed."""

    name: str
    plain_ms: float
    times: tuple[float, ...] = ()
    differs: bool | None = None


def measure_grid(place: Place) -> Found:
    """Read every question by the index, through the gallery and cold; then again with items marked."""
    found = Found(targets=dict(TARGETS))
    with BitmapReader(place.settings) as reader:
        cases = _cases(place, reader)
        sealed = _ask_all(place, reader, cases)
        _report(found, "", sealed)
        if place.effort.marked:
            with marked_items(place, place.effort.marked) as marked:
                place.say(f"the same with {marked:,} items marked")
                again = _ask_all(place, reader, cases)
            found.figures["marked_over_sealed"] = over(_median(again, "warm"), _median(sealed, "warm"))
            found.figures["marked_items"] = marked
            _report(found, "marked_", again)
    return found


def measure_facets(place: Place) -> Found:
    """Read the most frequent tags of some filters by the index, beside the junction.

    Where tags without bitmaps may be among them and too many items match, the index leaves them to others.
    """
    with BitmapReader(place.settings) as reader:
        cases = _facet_cases(adversarial(reader.statistics(), place.effort.seed))
        asked = [_facets_of(place, reader, *case) for case in _told(place, list(cases.items()), "facets")]
    answered = [one for one in asked if one.times]
    times = [milliseconds for one in answered for milliseconds in one.times]
    plain = [one.plain_ms for one in answered]
    figures = {
        "junction_over_index": over(percentile(plain, 0.5), percentile(times, 0.5)) if times else None,
        **spread("facets", times),
        "questions": len(asked),
        "left_to_others": len(asked) - len(answered),
        "oracle_unknown": sum(one.differs is None for one in answered),
    }
    details = {"top": FACETS, "questions": [asdict(one) for one in asked]}
    differing = [f"facets of {one.name}" for one in answered if one.differs]
    return Found(figures, {"facets_p95_ms": FACETS_TARGET_MS}, details, differing)


def _facets_of(place: Place, reader: BitmapReader, name: str, query: GalleryQuery) -> _FacetsAsked:
    plain_ms, wanted = reader.plain_facets(query, FACETS, max(1, int(place.effort.timeout_s * 1000)))
    try:
        mine = [reader.facets(query, FACETS) for _ in range(place.effort.repeats + 1)]
    except BitmapsUnavailable:
        return _FacetsAsked(name, plain_ms)
    differs = None if wanted is None else _plainly(wanted) != _plainly(mine[0][1])
    return _FacetsAsked(name, plain_ms, tuple(milliseconds for milliseconds, _ in mine[1:]), differs)


def _cases(place: Place, reader: BitmapReader) -> Sequence[GridCase]:
    """Return the questions in the order of the grid; where fewer are wanted than there are, drawn from all of it."""
    cases = adversarial(reader.statistics(), place.effort.seed, viewers=viewers(place.connection))
    dice = random.Random(place.effort.seed)  # noqa: S311  # a choice that can be repeated, not a secret
    return sorted(dice.sample(cases, min(place.effort.queries, len(cases))), key=lambda case: case.name)


def _ask_all(place: Place, reader: BitmapReader, cases: Sequence[GridCase]) -> list[_Answers]:
    """Ask everything once to warm up, to compare and cold, then repeatedly in a new order each time."""
    answers = [_compared(place, reader, case) for case in _told(place, cases, "questions to the oracle")]
    dice = random.Random(place.effort.seed)  # noqa: S311  # an order, not a secret
    order = list(answers)
    for turn in range(place.effort.repeats):
        dice.shuffle(order)
        for one in _told(place, order, f"questions, round {turn + 1} of {place.effort.repeats}"):
            for way, ask in _ways(reader).items():
                one.times.setdefault(way, []).append(ask(one.case.query).milliseconds)
    return answers


def _ways(reader: BitmapReader) -> dict[str, Callable[[GalleryQuery], Shown]]:
    return {"warm": reader.warm, "gallery": reader.gallery}


def _compared(place: Place, reader: BitmapReader, case: GridCase) -> _Answers:
    oracle, limit = None, place.effort.timeout_s
    with clocked() as clock:
        if limit:
            oracle = plain_gallery.read_counted(place.connection, case.query, limit)
    one = _Answers(case, oracle, clock.seconds * 1000)
    cold = reader.cold(case.query)
    one.times["cold"] = [cold.milliseconds]
    one.take("cold", cold)
    for way, ask in _ways(reader).items():
        one.take(way, ask(case.query))
    return one


def _told(place: Place, several: Sequence[Any], unit: str) -> Iterable[Any]:
    progress = Progress(len(several), unit, place.say)
    for one in several:
        yield one
        progress.step()


def _report(found: Found, prefix: str, answers: list[_Answers]) -> None:
    """Put the figures of all questions into what was found: ratios, times, how the planner chose, what differed."""
    known = [one for one in answers if one.oracle is not None]
    found.figures[f"{prefix}plain_over_warm"] = over(
        percentile([one.oracle_ms for one in known], 0.5) if known else 0.0, _median(known or answers, "warm")
    )
    found.figures[f"{prefix}gallery_over_warm"] = over(_median(answers, "gallery"), _median(answers, "warm"))
    for way in ("warm", "gallery", "cold"):
        name = prefix.rstrip("_") if prefix and way == "warm" else f"{prefix}{way}"
        found.figures |= spread(name, _times(answers, way))
    found.figures[f"{prefix}questions"] = len(answers)
    found.figures[f"{prefix}oracle_unknown"] = len(answers) - len(known)
    found.details[f"{prefix}chosen"] = dict(Counter(one.strategy for one in answers))
    found.details[f"{prefix}by_tags"] = _by_tags(answers)
    found.details[f"{prefix}slowest"] = _slowest(answers)
    found.differing += [f"{one.case.name} by {prefix}{way}" for one in answers for way in sorted(one.differs)]


def _by_tags(answers: list[_Answers]) -> dict[str, dict[str, float]]:
    levels = sorted({one.case.traits.tags for one in answers if one.case.traits})
    return {
        str(level): {
            key: value
            for way in ("warm", "gallery", "cold")
            for key, value in spread(way, _times(_of_level(answers, level), way)).items()
        }
        for level in levels
    }


def _of_level(answers: list[_Answers], level: int) -> list[_Answers]:
    return [one for one in answers if one.case.traits and one.case.traits.tags == level]


def _slowest(answers: list[_Answers]) -> dict[str, float]:
    medians = {one.case.name: round(percentile(one.times["warm"], 0.5), 3) for one in answers}
    return dict(sorted(medians.items(), key=lambda pair: -pair[1])[:10])


def _times(answers: Iterable[_Answers], way: str) -> list[float]:
    return [milliseconds for one in answers for milliseconds in one.times[way]]


def _median(answers: Iterable[_Answers], way: str) -> float:
    times = _times(answers, way)
    return percentile(times, 0.5) if times else 0.0


def _facet_cases(cases: Sequence[GridCase]) -> Mapping[str, GalleryQuery]:
    """Return the whole gallery and everybody's questions of few tags without exclusion."""
    wanted = [
        case
        for case in cases
        if case.traits and case.traits.tags <= FACET_TAGS
        and case.traits.use is not Use.EXCLUDE and case.traits.whose is Whose.EVERYBODY
    ]  # fmt: skip
    return {"everything": GalleryQuery()} | {case.name: case.query for case in wanted}


def _plainly(counts: Iterable[FacetCount]) -> list[tuple[str, int]]:
    return [(one.name, one.count) for one in counts]
