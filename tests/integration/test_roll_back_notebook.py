"""The notebooks of cut over and roll back, run as a user runs them."""

from __future__ import annotations

from collections.abc import Callable

from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases import PHASES, Context
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply, apply_before


def test_cutting_over_and_rolling_back_by_command(
    context: Context, gallery: Gallery, command: Callable[..., Ended]
) -> None:
    """The pipeline verifies and cuts over; the roll back is refused without a target, and goes to the one given."""
    gallery.legacy_item(["a", "b"])
    apply_before(context, "cut_over")
    done = command("pipeline", "cut_over", "--env", "test", "--apply")
    assert (done.code, revisions.current(context.connection)) == (0, revisions.CUT_OVER)
    assert command("run", "90_roll_back", "--env", "test", "--apply").code == 1
    shown = command("run", "90_roll_back", "--env", "test", "-p", "target=create_content_tags")
    assert (shown.code, revisions.current(context.connection)) == (0, revisions.CUT_OVER)
    back = command("run", "90_roll_back", "--env", "test", "-p", "target=create_content_tags", "--apply")
    assert (back.code, revisions.current(context.connection)) == (0, revisions.CREATE_CONTENT_TAGS)
    apply(context, "backfill_content_tags")
    assert all(phase.notebook != "90_roll_back" for phase in PHASES.values())
