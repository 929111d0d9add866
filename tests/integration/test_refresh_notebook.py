"""The notebook of the statistics, run as a user runs it."""

from __future__ import annotations

from collections.abc import Callable

from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.plan import probe
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before

NOTEBOOK = ("run", "50_refresh_tag_stats", "--env", "test")
KEPT = "select cardinality, display_count, updated_at from tag_cardinality_stats"


def test_the_notebook_makes_the_tables_and_refreshes_each_time(
    context: Context, gallery: Gallery, command: Callable[..., Ended]
) -> None:
    """A dry run makes nothing, the first run makes and fills, a later one counts again."""
    gallery.legacy_item(["anime"])
    gallery.legacy_item(["anime"], is_private=True)
    apply_before(context, "create_gallery_stats")
    table = probe("has_relation", "tag_cardinality_stats")
    assert command(*NOTEBOOK, "--dry-run").code == 0
    assert not table.holds(context.connection)
    assert command(*NOTEBOOK, "--apply", "-p", "search_index=false").code == 0
    ((every, shown, first),) = context.connection.execute(KEPT).fetchall()
    assert (every, shown) == (2, 1)
    context.connection.execute("delete from content_items where is_private")
    assert command(*NOTEBOOK, "--apply", "-p", "search_index=false").code == 0
    ((every, shown, second),) = context.connection.execute(KEPT).fetchall()
    assert (every, shown, second > first) == (1, 1, True)
