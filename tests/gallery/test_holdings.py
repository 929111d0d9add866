"""How many items a viewer may see: by a pass over the tables and by the bitmaps, always what the oracle finds."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from genonaut_lib.gallery.holdings import Holdings
from tests.gallery.built import USERS, Built
from tests.gallery.served import served, served_with_bitmaps

VIEWERS = (*USERS, "stranger", None)


def viewer_of(built: Built, name: str | None) -> uuid.UUID | None:
    if name is None:
        return None
    return uuid.UUID(int=99) if name == "stranger" else built.user(name)


def expected(built: Built, viewer: uuid.UUID | None) -> Holdings:
    """Return the viewer's own items, and everybody else's public ones, source by source."""
    found = Counter(
        (row.creator_id == viewer, row.source)
        for row in built.oracle.rows
        if row.creator_id == viewer or not row.is_private
    )
    return Holdings(*(found[mine, source] for mine in (True, False) for source in ("regular", "auto")))


@pytest.mark.parametrize("name", VIEWERS)
def test_holdings_are_counted_in_the_tables(name: str | None, still: Built) -> None:
    """Where there is no index."""
    viewer = viewer_of(still, name)
    with served(still) as found:
        assert still.run(found.gallery.holdings(viewer)) == expected(still, viewer)


def test_holdings_are_counted_by_the_bitmaps(own: Built) -> None:
    """Marked items included, and without a look at the tables."""
    with served_with_bitmaps(own) as found:
        viewers = [viewer_of(own, name) for name in VIEWERS]
        counted = [own.run(found.gallery.holdings(viewer)) for viewer in viewers]
    assert counted == [expected(own, viewer) for viewer in viewers]
