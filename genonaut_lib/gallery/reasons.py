"""Why a strategy was chosen, as a sentence an engineer understands."""

from __future__ import annotations

from collections.abc import Mapping

from genonaut_lib.gallery.costs import Features, Outlook
from genonaut_lib.gallery.fitness import MODELS, many

PLAIN = "time_walk"
"""What answers a query that names no tag."""

BOUNDED = "no statistics: the work of the bitmaps is bounded, whatever the tags"


def plain(work: Features | None, milliseconds: float | None) -> str:
    """Return why a query without tags walks."""
    if work is None or milliseconds is None:
        return "no tags: items are taken in the order of the page"
    verb, items = ("reading", work["scanned"]) if work["scanned"] else ("walking", work["walked"])
    return f"no tags: {verb} {many(items, 'item')} ({_milliseconds(milliseconds)})"


def of_cost(view: Outlook, works: Mapping[str, Features], priced: Mapping[str, float], rarest_count: int | None) -> str:
    """Return why the cheapest strategy beats the next one."""
    best, *others = sorted(priced, key=lambda name: (priced[name], name))
    told = [f"{MODELS[name].phrase(view, works[name])} ({_milliseconds(priced[name])})" for name in (best, *others[:1])]
    return f"{_subject(view, rarest_count)}: {' beats '.join(told)}"


def _subject(view: Outlook, rarest_count: int | None) -> str:
    if not view.groups:
        return "no tags"
    items = many(rarest_count or 0, "item")
    if len(view.groups) > 1:
        return f"rarest tag carried by {items}"
    return f"tag carried by {items}" if len(view.groups[0]) == 1 else f"{len(view.groups[0])} tags, {items} in all"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"
