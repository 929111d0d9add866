"""Which strategy answers a query: a pure function of the query, the statistics, the knobs and what was seen before.

Mode `cost` counts the work of every strategy that is fit and takes the cheapest. Mode `seed` follows
the decision tree of the paper that first described this planner, which knows no bitmaps. The tree also
decides where there are no statistics, since nothing can be counted then; but where the tag bitmap index
serves, mode `cost` takes that, whose work is bounded whatever the tags.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery import costs, estimates, reasons, seed_tree
from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Ready, Standing
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.costs import Features, Outlook
from genonaut_lib.gallery.estimates import Estimate, Portrait, Survey
from genonaut_lib.gallery.feedback import NOTHING_SEEN, Feedback, Lesson, reach_of
from genonaut_lib.gallery.fitness import MODELS, Terms
from genonaut_lib.gallery.query import GalleryQuery, Group
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.gallery.strategies import BITMAP
from genonaut_lib.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class _Case:
    """All that a choice rests on; `outlook` and `estimate` are None where there are no statistics."""

    terms: Terms
    ranked: tuple[Group, ...]
    rarest_count: int | None
    lesson: Lesson
    outlook: Outlook | None
    estimate: Estimate | None
    unfit: Mapping[str, str]


def require_few_tags(query: GalleryQuery, knobs: PlannerSettings) -> None:
    """Refuse a query of more tags than the knob `planner.max_tags` allows; raise InvalidInput.

    A family counts as one tag, however many descendants it has. Excluded tags are counted by themselves.
    """
    for count, what in ((len(query.tags) + len(query.families), "asks for"), (len(query.exclude), "excludes")):
        if count > knobs.max_tags:
            raise InvalidInput(
                f"The query {what} {count} tags, and may have {knobs.max_tags} at most.",
                hint="Ask for fewer, or raise the knob planner.max_tags.",
            )


def choose(
    query: GalleryQuery,
    statistics: Statistics | None,
    knobs: PlannerSettings,
    *,
    feedback: Feedback | None = None,
    view_ready: bool = False,
    bitmaps: Standing | None = None,
) -> Choice:
    """Return the strategy for a page of the query.

    `view_ready` says that the materialised view is there and fresh enough, `bitmaps` how the tag bitmap
    index stands. Times are milliseconds in the database. Never raises, whatever the statistics hold.
    """
    terms = Terms(query, knobs, view_ready, bitmaps or UNKNOWN)
    return _decided(_case(terms, statistics, feedback), feedback)


def choose_with_total(
    query: GalleryQuery,
    statistics: Statistics | None,
    knobs: PlannerSettings,
    *,
    feedback: Feedback | None = None,
    view_ready: bool = False,
    bitmaps: Standing | None = None,
) -> Choice:
    """Return the strategy for a page of the query that is to have its exact total; see `choose`.

    The bitmaps find both at once; beside any other strategy's page the total is counted, as cheaply as
    it can be. What is told of each strategy is its page alone.
    """
    terms = Terms(query, knobs, view_ready, bitmaps or UNKNOWN, totals=True)
    return _decided(_case(terms, statistics, feedback), feedback)


def choose_for_count(
    query: GalleryQuery,
    statistics: Statistics | None,
    knobs: PlannerSettings,
    *,
    feedback: Feedback | None = None,
    view_ready: bool = False,
    bitmaps: Standing | None = None,
) -> Choice:
    """Return the strategy for an exact count of the query's filter, which cannot stop early; see `choose`."""
    terms = Terms(query, knobs, view_ready, bitmaps or UNKNOWN, pages=False, totals=True)
    return _decided(_case(terms, statistics, feedback), feedback)


def features(
    query: GalleryQuery, statistics: Statistics, bitmaps: Standing | None = None, *, totals: bool = False
) -> Mapping[str, Features]:
    """Return the work of a page by strategy and feature (see `costs`): for every strategy that can answer the query.

    Whether it is switched on, and whether its memory and seeds are within bounds, is not asked here; of
    the bitmaps, whether they serve. With `totals` they find the page's total as well.
    """
    survey = estimates.survey(query, statistics)
    portraits = estimates.portray(query, statistics, survey)
    outlook = _outlook(query, survey, portraits, NOTHING_SEEN, reach_of(query))
    outlook = _with_bitmaps(outlook, statistics, bitmaps or UNKNOWN, totals=totals)
    tagged = [name for name in MODELS if name != BITMAP.name] if survey.groups else [reasons.PLAIN]
    able = [*tagged, BITMAP.name] if isinstance(outlook.bitmaps, Ready) else tagged
    return {name: MODELS[name].work(outlook) for name in able}


def _case(terms: Terms, statistics: Statistics | None, feedback: Feedback | None) -> _Case:
    query, survey = terms.query, estimates.survey(terms.query, statistics)
    lesson = feedback.recall(query, statistics) if feedback else NOTHING_SEEN
    if statistics is None or not estimates.are_known(statistics):
        return _Case(terms, survey.ranked, _rarest(terms, survey, statistics), lesson, None, None, _unfit(terms, None))
    portraits = estimates.portray(query, statistics, survey)
    outlook = _outlook(query, survey, portraits, lesson, reach_of(query) if terms.pages else None)
    outlook = _with_bitmaps(outlook, statistics, terms.bitmaps, totals=terms.totals)
    estimate = lesson.corrected(estimates.summed(query, portraits))
    by_cost = terms.knobs.mode == "cost"
    rarest = survey.rarest_count if by_cost else _rarest(terms, survey, statistics)
    return _Case(terms, survey.ranked, rarest, lesson, outlook, estimate, _unfit(terms, outlook if by_cost else None))


def _unfit(terms: Terms, outlook: Outlook | None) -> Mapping[str, str]:
    return {name: why for name, model in MODELS.items() if (why := model.unfit(terms, outlook))}


def _outlook(
    query: GalleryQuery, survey: Survey, portraits: tuple[Portrait, ...], lesson: Lesson, reach: int | None
) -> Outlook:
    """Put search and lesson into the portraits' rows; an exact lesson knows the search already."""
    if query.search and lesson.exact is None:
        portraits = tuple(_searched(one) for one in portraits)
    return Outlook(query, survey.groups, lesson.portraits(portraits), reach)


def _with_bitmaps(outlook: Outlook, statistics: Statistics, bitmaps: Standing, *, totals: bool) -> Outlook:
    """Put in how the index stands, and what it leaves to the junction."""
    if not isinstance(bitmaps, Ready):
        return outlook
    query, sources = outlook.query, statistics.sources
    rare = {*(tag for group in outlook.groups for tag in group), *query.exclude} - bitmaps.tags
    known = [sources[source].cardinalities for source in query.sources if source in sources]
    rows = sum(cardinalities.get(tag, 0) for cardinalities in known for tag in rare)
    return replace(outlook, bitmaps=bitmaps, totals=totals, rare_rows=float(rows))


def _searched(one: Portrait) -> Portrait:
    low, rows, high = (costs.SEARCH_SHARE * value for value in (one.low, one.rows, one.high))
    return replace(one, low=low, rows=rows, high=high)


def _rarest(terms: Terms, survey: Survey, statistics: Statistics | None) -> int | None:
    """Return how many items carry the rarest group, where a tag without statistics counts as the knob says."""
    unknown, sources = terms.knobs.stats.fallback_default_count, statistics.sources if statistics else {}
    known = [sources[source].cardinalities for source in terms.query.sources if source in sources]
    return min((sum(_count(known, tag, unknown) for tag in group) for group in survey.groups), default=None)


def _count(known: Sequence[Mapping[uuid.UUID, int]], tag: uuid.UUID, unknown: int) -> int:
    found = [cardinalities[tag] for cardinalities in known if tag in cardinalities]
    return sum(found) if found else unknown


def _decided(case: _Case, feedback: Feedback | None) -> Choice:
    knobs = case.terms.knobs
    works = _works(case)
    priced = {name: _price(case, name, work) for name, work in works.items()}
    if knobs.mode == "cost" and case.outlook is not None and (case.ranked or BITMAP.name in priced):
        weighed = _with_totals(case, priced)
        strategy = min(weighed, key=lambda name: (weighed[name], name))
        reason = reasons.of_cost(case.outlook, works, weighed, case.rarest_count)
    elif knobs.mode == "cost" and case.outlook is None and BITMAP.name not in case.unfit:
        strategy, reason = BITMAP.name, reasons.BOUNDED
    elif not case.ranked:
        strategy, reason = reasons.PLAIN, reasons.plain(works.get(reasons.PLAIN), priced.get(reasons.PLAIN))
    else:
        overflowing = feedback.seeds_overflow(knobs.seed_candidate_cap) if feedback else False
        question = seed_tree.Question(len(case.ranked), case.rarest_count or 0, overflowing)
        strategy, reason = seed_tree.pick_strategy(question, knobs)
        reason = reason if case.outlook else f"no statistics: {reason}"
    return _choice(case, strategy, reason, priced)


def _with_totals(case: _Case, priced: Mapping[str, float]) -> Mapping[str, float]:
    """Return the prices with that of a count beside each page that does not bring its total along.

    Where the bitmaps are not fit, all pages have the same count beside them, and it tells none apart. Where they
    are the cheapest as it is, no count need be priced: it would make the others dearer still.
    """
    assert case.outlook is not None
    terms = case.terms
    if (
        not (terms.pages and terms.totals and BITMAP.name in priced)
        or min(priced, key=priced.__getitem__) == BITMAP.name
    ):
        return priced
    counting = replace(case, terms=replace(terms, pages=False), outlook=replace(case.outlook, reach=None))
    counting = replace(counting, unfit=_unfit(counting.terms, counting.outlook))
    counted = min(_price(counting, name, work) for name, work in _works(counting).items())
    return {name: price if MODELS[name].totals else price + counted for name, price in priced.items()}


def _works(case: _Case) -> dict[str, Features]:
    if case.outlook is None:
        return {}
    return {name: model.work(case.outlook) for name, model in MODELS.items() if name not in case.unfit}


def _price(case: _Case, name: str, work: Features) -> float:
    assert case.outlook is not None
    modelled = costs.cost(work, case.terms.knobs.coefficients.get(name, {}))
    return max(modelled, case.lesson.floor(name, case.outlook.reach))


def _choice(case: _Case, strategy: str, reason: str, priced: Mapping[str, float]) -> Choice:
    seed = MODELS[strategy].seed
    return Choice(
        strategy,
        reason,
        case.ranked,
        case.estimate.rows if case.estimate else None,
        priced.get(strategy),
        priced,
        case.unfit,
        case.estimate,
        case.rarest_count,
        seed(case.outlook) if seed and case.outlook else None,
    )


__all__ = ["Choice", "Feedback", "choose", "choose_for_count", "choose_with_total", "features", "require_few_tags"]
