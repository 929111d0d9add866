"""The planner's register: of each strategy when it is fit, what it has to do, and how that reads in a sentence.

A further strategy is one further entry here, one in `strategies` and its coefficients in the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genonaut_lib.gallery import costs
from genonaut_lib.gallery.bitmaps import costs as bitmap_costs
from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Standing, Unready
from genonaut_lib.gallery.costs import Features, Outlook, Work
from genonaut_lib.gallery.order import SortField
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.strategies import BITMAP
from genonaut_lib.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class Terms:
    """What fitness is judged by, beside the amounts of work.

    `pages` says that a page is wanted, `totals` that its exact total is: both, or one of the two.
    """

    query: GalleryQuery
    knobs: PlannerSettings
    view_ready: bool = False
    bitmaps: Standing = UNKNOWN
    pages: bool = True
    totals: bool = False

    @property
    def names_tags(self) -> bool:
        """Whether the query wants any tag."""
        return bool(self.query.tags or self.query.families)


Judge = Callable[[Terms, Outlook | None], str | None]


@dataclass(frozen=True)
class Model:
    """One strategy as the planner sees it.

    `unfit` returns why a query is not for it, None if it is; bounds of memory and seeds are asked of the
    outlook, and not at all without one. `work` wants a query with tags, but for `time_walk` and `bitmap`.
    `seed` says how many candidates a two-phase strategy begins with. One that `totals` finds the total with
    the page. Of one that is not `steady`, what an answer took says nothing of the next: the first ones fill a
    cache of the process.
    """

    unfit: Judge
    work: Work
    phrase: Callable[[Outlook, Features], str]
    seed: Callable[[Outlook], float] | None = None
    totals: bool = False
    steady: bool = True


def many(number: float, what: str) -> str:
    """Return `1 item`, `31,000 items`."""
    return f"{number:,.0f} {what}" if round(number) == 1 else f"{number:,.0f} {what}s"


def _always(_terms: Terms, _view: Outlook | None) -> str | None:
    return None


def _self_join(terms: Terms, _view: Outlook | None) -> str | None:
    return _off(terms, "enable_self_join")


def _group_having(terms: Terms, view: Outlook | None) -> str | None:
    off = _off(terms, "enable_group_having")
    if off or view is None:
        return off
    megabytes, most = costs.grouping_megabytes(view), terms.knobs.max_work_mem_mb
    return f"its groups would take {megabytes:,.0f} MB, over {most:,} (max_work_mem_mb)" if megabytes > most else None


def _two_phase_single(terms: Terms, view: Outlook | None) -> str | None:
    return _two_phase(terms, view, 2, costs.seed_of)


def _two_phase_dual(terms: Terms, view: Outlook | None) -> str | None:
    return _two_phase(terms, view, 3, costs.pair_of)


def _two_phase(terms: Terms, view: Outlook | None, least: int, seed: Callable[[Outlook], float]) -> str | None:
    off = _off(terms, "enable_two_phase")
    if off or view is None:
        return off
    if len(view.groups) < least:
        return f"nothing is left to look up with fewer than {least} tags that all must be carried"
    rows, cap = seed(view), terms.knobs.seed_candidate_cap
    return f"its seed would have {rows:,.0f} candidates, over {cap:,} (seed_candidate_cap)" if rows > cap else None


def _materialized_view(terms: Terms, _view: Outlook | None) -> str | None:
    if not terms.names_tags:
        return "the query names no tag"
    if not terms.query.stale:
        return "the query does not allow a stale answer"
    return None if terms.view_ready else "the view is missing, or older than view_staleness_seconds"


def _bitmap(terms: Terms, view: Outlook | None) -> str | None:
    query, index = terms.query, terms.bitmaps
    if isinstance(index, Unready):
        return index.why
    if not (terms.names_tags or query.exclude or terms.totals):
        return "the query names no tag, and no total is wanted"
    if query.search and not terms.pages:
        return "the words of a search are counted where they stand"
    if not query.search and (query.sort.field is SortField.CREATED_AT or not terms.pages):
        return None
    if view is None:
        return "nothing is known of how many items it would hand on"
    ids, most = bitmap_costs.handed_on(view), index.filter_max
    return f"it would hand {ids:,.0f} items on, over {most:,} (bitmaps.filter_max)" if ids > most else None


def _off(terms: Terms, knob: str) -> str | None:
    if not terms.names_tags:
        return "the query names no tag"
    return None if getattr(terms.knobs, knob) else f"switched off ({knob})"


def _walking(_view: Outlook, work: Features) -> str:
    if work["scanned"]:
        return f"reading all {many(work['scanned'], 'item')}"
    return f"walking {many(work['walked'], 'item')}"


def _joining(view: Outlook, _work: Features) -> str:
    groups = len(view.groups)
    return "reading 1 posting" if groups == 1 else f"joining {groups} postings"


def _grouping(_view: Outlook, work: Features) -> str:
    return f"counting {many(work['grouped'], 'row')} of postings"


def _looking_up(view: Outlook, _work: Features) -> str:
    return f"looking up {many(costs.seed_of(view), 'carrier')} of the rarest tag"


def _looking_pairs_up(view: Outlook, _work: Features) -> str:
    return f"looking up {many(costs.pair_of(view), 'carrier')} of the two rarest tags"


def _viewing(_view: Outlook, work: Features) -> str:
    if work["walked"]:
        return f"walking {many(work['walked'], 'row')} of the view"
    return f"fetching {many(work['fetched'], 'row')} of the view"


def _bringing_together(_view: Outlook, work: Features) -> str:
    told = [f"bringing {many(work['bitmaps'], 'bitmap')} together"]
    told += [f"reading {many(work['postings'], 'row')} of rarer tags"] if work["postings"] else []
    told += [f"handing {many(work['handed_on'], 'item')} on"] if work["handed_on"] else []
    return ", ".join(told)


MODELS: dict[str, Model] = {
    "time_walk": Model(_always, costs.time_walk, _walking),
    "self_join": Model(_self_join, costs.self_join, _joining),
    "group_having": Model(_group_having, costs.group_having, _grouping),
    "two_phase_single": Model(_two_phase_single, costs.two_phase_single, _looking_up, costs.seed_of),
    "two_phase_dual": Model(_two_phase_dual, costs.two_phase_dual, _looking_pairs_up, costs.pair_of),
    "materialized_view": Model(_materialized_view, costs.materialized_view, _viewing),
    BITMAP.name: Model(_bitmap, bitmap_costs.bitmap, _bringing_together, totals=True, steady=False),
}
