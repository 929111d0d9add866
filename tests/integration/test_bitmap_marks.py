"""Every kind of write leaves exactly the marks it should, in its own transaction, whoever writes and however."""

from __future__ import annotations

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.phases.create_tag_bitmaps import arm, disarm, is_armed
from tests.factories import Gallery
from tests.migration.test_phases import apply_before

Marks = set[tuple[str, int, bool]]


def marks(connection: Connection) -> Marks:
    """Return what is marked: source, id and whether it moved; the marks are forgotten."""
    return set(connection.execute("delete from workbench.bitmap_marks returning source_type, content_id, moved"))


@pytest.fixture
def armed(gallery: Gallery, context: Context) -> Connection:
    """A finished gallery before the cut over, its index armed and nothing marked."""
    gallery.legacy_item(["anime"])
    apply_before(context, "cut_over")
    arm(context.connection, context.settings.database)
    return context.connection


def test_arming_and_disarming(armed: Connection, context: Context) -> None:
    """."""
    assert is_armed(armed)
    armed.execute("update content_items set is_private = true")
    assert marks(armed) == {("items", 1, False)}
    armed.execute("update content_items_all set is_private = false")
    armed.execute("update workbench.bitmap_state set serving = 1")
    disarm(armed, context.settings.database)
    assert not is_armed(armed)
    assert marks(armed) == set()
