"""The notebook of the tag bitmap index, run as a user runs it."""

from __future__ import annotations

from collections.abc import Callable

from genonaut_lib.migration.bitmap_build import is_built
from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.plan import probe
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.bitmaps import state
from tests.migration.test_phases import apply_before

NOTEBOOK = ("run", "40_build_tag_bitmaps", "--env", "test")


def test_the_notebook_makes_the_tables_and_builds_each_time(
    context: Context, gallery: Gallery, command: Callable[..., Ended]
) -> None:
    """A dry run makes nothing, the first run makes and builds, a later one builds anew."""
    for _ in range(3):
        gallery.legacy_item(["anime"])
    apply_before(context, "create_tag_bitmaps")
    assert command(*NOTEBOOK, "--dry-run").code == 0
    assert not probe("has_relation", "workbench.bitmap_state").holds(context.connection)
    assert command(*NOTEBOOK, "--apply", "-p", "workers=1").code == 0
    assert is_built(context.connection)
    assert command(*NOTEBOOK, "--dry-run").code == 0
    assert state(context.connection)["serving"] == 1
    assert command(*NOTEBOOK, "--apply", "-p", "least_share=1.0").code == 0
    found = state(context.connection)
    assert (found["serving"], found["building"], found["ranks"]) == (2, None, 3)
