"""What the tag bitmap index has to do for a query, in the amounts that `gallery.costs` speaks of."""

from __future__ import annotations

import math

from genonaut_lib.gallery.bitmaps.layout import CHUNK
from genonaut_lib.gallery.bitmaps.standing import Ready
from genonaut_lib.gallery.costs import Features, Outlook
from genonaut_lib.gallery.order import SortField


def bitmap(view: Outlook) -> Features:
    """Return the work of bringing bitmaps together, chunk after chunk, and reading rarer tags from the junction.

    A page by date begins with its end of the chunks and stops when it is full; a total, another sort and a
    search want them all.
    """
    index = view.bitmaps
    assert isinstance(index, Ready)
    tags = {tag for group in view.groups for tag in group} | set(view.query.exclude)
    return {
        **view.shared,
        "bitmaps": _chunks(view, index) * (len(tags & index.tags) + len(view.portraits) + 1.0),
        "postings": view.rare_rows,
        "marked": float(index.marks),
        "handed_on": handed_on(view),
    }


def handed_on(view: Outlook) -> float:
    """Return how many ids the bitmaps would hand on: none by date without a search, whose page they make themselves."""
    if view.query.search:
        return sum(one.carrying * one.share for one in view.portraits)
    return 0.0 if view.reach is None or view.query.sort.field is SortField.CREATED_AT else view.matching


def _chunks(view: Outlook, index: Ready) -> float:
    if view.reach is None or view.totals or view.query.search or view.query.sort.field is not SortField.CREATED_AT:
        return float(index.chunks)
    walked = sum(view.walked(one) for one in view.portraits)
    return min(float(index.chunks), math.ceil(walked / CHUNK) + 1.0)
