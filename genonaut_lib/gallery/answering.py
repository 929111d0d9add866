"""How a planned query is answered: its page, its total and its facets, by statements or from the bitmaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from genonaut_lib.db.pool import AsyncConnection, Pool
from genonaut_lib.gallery import counts
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.bitmaps.standing import Standing
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.costs import Features
from genonaut_lib.gallery.counting import counting_strategy
from genonaut_lib.gallery.counts import NOT_COUNTED, CountMode, Total, exactly
from genonaut_lib.gallery.facets import Facets, exact_facets
from genonaut_lib.gallery.feedback import Feedback
from genonaut_lib.gallery.knowledge import Known
from genonaut_lib.gallery.page import Page, read_page
from genonaut_lib.gallery.planner import choose_for_count, features
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.reading import reading, timed
from genonaut_lib.gallery.sightings import seen_in_count
from genonaut_lib.gallery.strategies import BITMAP, approach_named
from genonaut_lib.settings import Settings

EXACTLY = (CountMode.EXACT, CountMode.AUTO)


@dataclass(frozen=True)
class Asked:
    """A request on its way: what is asked, what is known, what was chosen, and the time each part took.

    `forced` is the strategy that was asked for by name, None where the planner chose. `bitmaps` is how
    the tag bitmap index stands for this request.
    """

    query: GalleryQuery
    count: CountMode
    known: Known
    choice: Choice
    parts: dict[str, float]
    bitmaps: Standing
    forced: str | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the page comes from a view, as it was some time ago."""
        return approach_named(self.choice.strategy).stale

    @property
    def by_bitmaps(self) -> bool:
        """Whether the page comes from the bitmaps."""
        return self.choice.strategy == BITMAP.name


class Answering:
    """Reads what was asked, over a pool of sessions; one for a process, since it keeps the bitmaps it read."""

    def __init__(self, pool: Pool, settings: Settings, feedback: Feedback) -> None:
        self._pool = pool
        self._knobs = settings.planner
        self._feedback = feedback
        self._bitmaps = Bitmaps(settings.bitmaps)

    @property
    def kept_bytes(self) -> int:
        """How many bytes of bitmaps are kept between requests."""
        return self._bitmaps.kept_bytes

    async def answer(self, asked: Asked) -> tuple[Page, Total]:
        """Return the page and its total, of one snapshot.

        Raises BitmapsUnavailable where the bitmaps were to answer and cannot.
        """
        counts_too, limit_ms = asked.count is not CountMode.NONE, self._knobs.statement_timeout_ms
        transaction = reading(self._pool, limit_ms, one_snapshot=counts_too, by_bitmaps=asked.by_bitmaps)
        async with transaction as connection:
            with timed(asked.parts, "page"):
                page, total = await self._page(connection, asked)
            if total is None:
                total = _whole(asked, page)
            return page, await self._count(connection, asked) if total is None else total

    async def facets(self, query: GalleryQuery, top: int) -> Facets:
        """Return the exact facets by the bitmaps; raise BitmapsUnavailable where they cannot."""
        limit_ms = self._knobs.statement_timeout_ms
        async with reading(self._pool, limit_ms, one_snapshot=True, by_bitmaps=True) as connection:
            return await exact_facets(connection, self._bitmaps, query, top)

    async def totals(self, queries: Sequence[GalleryQuery]) -> list[int]:
        """Return how many items each query means, of one snapshot; raise BitmapsUnavailable where they cannot say."""
        limit_ms = self._knobs.statement_timeout_ms
        async with reading(self._pool, limit_ms, one_snapshot=True, by_bitmaps=True) as connection:
            return [await self._bitmaps.total(connection, query) for query in queries]

    async def _page(self, connection: AsyncConnection, asked: Asked) -> tuple[Page, Total | None]:
        """Return the page, and the total where the bitmaps gave it in the same pass, whatever kind was asked for."""
        choice, wants_total = asked.choice, asked.count is not CountMode.NONE
        if not asked.by_bitmaps:
            return await read_page(connection, asked.query, choice.strategy, choice.ranked or None), None
        found = await self._bitmaps.page(connection, asked.query, total=wants_total)
        return found.page, None if found.total is None or not wants_total else exactly(found.total)

    async def _count(self, connection: AsyncConnection, asked: Asked) -> Total:
        known = asked.known
        choice = choose_for_count(
            asked.query, known.statistics, self._knobs, feedback=self._feedback, bitmaps=asked.bitmaps
        )
        with timed(asked.parts, "count"):
            total, counted_by = await self._counted(connection, asked, choice)
        seen = seen_in_count(total, counted_by, asked.parts["count"])
        if seen is not None:
            self._feedback.learn(asked.query, known.statistics, seen)
        return total

    async def _counted(self, connection: AsyncConnection, asked: Asked, choice: Choice) -> tuple[Total, Choice]:
        if asked.count in EXACTLY and choice.strategy == BITMAP.name:
            return exactly(await self._bitmaps.total(connection, asked.query)), choice
        total = await counts.count(
            connection, asked.query, asked.count,
            choice=choice, statistics=asked.known.statistics, budget_ms=self._knobs.count_budget_ms,
        )  # fmt: skip
        return total, replace(choice, strategy=counting_strategy(choice, asked.query))


def _whole(asked: Asked, page: Page) -> Total | None:
    """Return the total that the page itself tells: one that is the last, and whose number says what came before."""
    if asked.count is CountMode.NONE:
        return NOT_COUNTED
    query = asked.query
    begins = query.position is None and (query.page == 1 or bool(page.rows))
    if asked.is_stale or page.has_next or not begins:
        return None
    return exactly((query.page - 1) * query.page_size + len(page.rows))


def work_of(asked: Asked) -> Mapping[str, Features]:
    """Return what each strategy that could answer would have to do for the page; nothing where no statistics tell."""
    statistics = asked.known.statistics
    if statistics is None or statistics.refreshed_at is None:
        return {}
    return features(asked.query, statistics, asked.bitmaps, totals=asked.count in EXACTLY)
