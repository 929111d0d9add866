"""What 40_build_tag_bitmaps calls besides its phase: what the build will cost, the build, what it left behind."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from genonaut_lib.db import guard
from genonaut_lib.db.engine import Connection, translated
from genonaut_lib.errors import VerificationFailed
from genonaut_lib.migration import bitmap_build, bitmap_epochs, bitmap_estimate
from genonaut_lib.migration.bitmap_estimate import Standing
from genonaut_lib.migration.figures import bytes_text, seconds_text
from genonaut_lib.runs.session import NotebookRun, show
from genonaut_lib.runs.views import Chart, View, bar_chart, figures_view

NOT_BUILT = "No index serves yet; with dry_run = False it is built above."
MIB = 1024 * 1024


@dataclass(frozen=True)
class TagBitmaps:
    """The second half of the notebook; `run` is the first, which made sure of the tables.

    `workers` 0 and a `least_share` below 0 stand for those of the settings.
    """

    run: NotebookRun
    workers: int = 0
    least_share: float = -1.0

    def plan(self) -> View:
        """Show about what a build will do and cost; nothing is changed."""
        with translated():
            about = bitmap_estimate.estimate(self._connection, self._sessions, self._share)
            left = bitmap_epochs.epochs(self._connection)
        figures = {
            "items to rank": f"~{about.items:,}",
            "tags that get bitmaps": f"~{about.tags:,}, carried by at least {self._share:.2%} of all items",
            "relationships to read": f"~{about.relationships:,}",
            "bitmaps to write": f"~{about.rows:,}",
            "room of the index": f"~{bytes_text(about.bytes)}, twice that until the old one is cleared away",
            "time": f"~{seconds_text(about.seconds)} with {self._sessions} sessions, the tables in memory",
            "serving now": "none" if left.serving is None else f"epoch {left.serving}",
            "begins": "anew" if left.building is None else f"with what is left of epoch {left.building}",
        }
        return figures_view("Build: about what it will take", figures)

    def build(self) -> View:
        """Build the index and let it serve; with `dry_run`, say that nothing was done."""
        if self.run.dry_run:
            return View("Dry run: nothing was built", remark="Set dry_run = False to build.")
        context = self.run.context
        with translated():
            guard.require_adopted(context.connection, context.settings)
            found = bitmap_build.build(
                context.settings, workers=self._sessions, least_share=self._share, report=context.report
            )
        figures = {
            "epoch": found.epoch,
            "items ranked": f"{found.items:,} in {found.rank_s:.1f} s",
            "tags counted in": f"{found.count_s:.1f} s",
            "tags written": f"{found.tags:,} in {found.tags_s:.1f} s, {found.tags_before:,} by an earlier start",
            "relationships read": found.relationships,
            "room of the index": bytes_text(found.bytes),
            "altogether": seconds_text(found.seconds),
        }
        return figures_view("Built", figures)

    def compare(self, tags: int = 20, seed: int = 0) -> View:
        """Compare so many tags' numbers of items with the junction's; raise VerificationFailed for too great a gap.

        Items that are marked have changed since they were sealed, so as many may differ.
        """
        if self._standing() is None:
            return View("Compared with the junction: nothing", remark=NOT_BUILT)
        with translated():
            found = bitmap_estimate.compare(self._connection, tags, seed)
        rows = [(one.tag, one.sealed, one.found, "yes" if one.agrees else "NO") for one in found]
        table = pd.DataFrame(rows, columns=["tag", "items in the bitmaps", "items in the junction", "agrees"])
        marked = found[0].marked if found else 0
        view = View("Compared with the junction", table, f"{marked:,} items are marked, and may differ.")
        if not all(one.agrees for one in found):
            show(view)
            hint = "Build the index anew: `genonaut run 40_build_tag_bitmaps`."
            raise VerificationFailed("The bitmaps are not what the junction says.", hint=hint)
        return view

    def sizes(self) -> View:
        """Show what serves, and the room that each table takes."""
        standing = self._standing()
        if standing is None:
            return View("The index", remark=NOT_BUILT)
        with translated():
            found = bitmap_estimate.sizes(self._connection)
        rows = [(size.table, size.rows, size.bytes / 1e6) for size in found]
        table = pd.DataFrame(rows, columns=["table", "rows", "MB"])
        text = (
            f"Epoch {standing.epoch}: {standing.items:,} items in {standing.chunks:,} chunks, {standing.tags:,} tags,"
            f" {standing.marks:,} marks. Altogether {bytes_text(float(sum(size.bytes for size in found)))}."
        )
        return View("The index", table, text)

    def chart(self) -> Chart:
        """Plot the room that each table takes."""
        with translated():
            found = bitmap_estimate.sizes(self._connection)
        return bar_chart("room of the tag bitmap index", {size.table: size.bytes / MIB for size in found}, "MiB")

    @property
    def _connection(self) -> Connection:
        return self.run.context.connection

    @property
    def _sessions(self) -> int:
        return self.workers or self.run.context.settings.throttle.workers

    @property
    def _share(self) -> float:
        return self.run.context.settings.bitmaps.least_share if self.least_share < 0 else self.least_share

    def _standing(self) -> Standing | None:
        with translated():
            return bitmap_estimate.standing(self._connection) if bitmap_build.is_built(self._connection) else None
