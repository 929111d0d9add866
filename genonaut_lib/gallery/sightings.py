"""What a page or a count shows of its filter, as `Feedback` takes it."""

from __future__ import annotations

from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.counts import CountMode, Total
from genonaut_lib.gallery.feedback import Seen, reach_of
from genonaut_lib.gallery.fitness import MODELS
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import GalleryQuery


def seen_on_page(query: GalleryQuery, page: Page, choice: Choice, milliseconds: float) -> Seen:
    """Return what a page showed: all matches if it was not full and nothing lies before it, else some of them.

    An empty page of a high number shows nothing: the filter may have ended anywhere before it.
    """
    skipped = (query.page - 1) * query.page_size if page.rows else 0
    from_the_start = query.position is None and (query.page == 1 or bool(page.rows))
    return Seen(
        strategy=choice.strategy,
        rows=skipped + len(page.rows) + (1 if page.has_next else 0),
        is_exact=from_the_start and not page.has_next,
        milliseconds=milliseconds,
        estimated_ms=_expected(choice),
        reach=reach_of(query),
        seed_rows=choice.seed_rows,
    )


def seen_in_count(total: Total, choice: Choice, milliseconds: float) -> Seen | None:
    """Return what a count showed, None if it was not an exact one; `choice` is the count's own."""
    if total.kind is not CountMode.EXACT or total.value is None:
        return None
    return Seen(choice.strategy, total.value, is_exact=True, milliseconds=milliseconds, estimated_ms=_expected(choice))


def _expected(choice: Choice) -> float | None:
    """Return what was expected of the time, None where the time says nothing of the next answer's."""
    return choice.estimated_ms if MODELS[choice.strategy].steady else None
