"""What 50_refresh_tag_stats calls besides its phase: refresh, how fresh it was and is, what was counted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from genonaut_lib.db import guard
from genonaut_lib.db.engine import translated
from genonaut_lib.db.statements import block
from genonaut_lib.gallery.statistics import Freshness
from genonaut_lib.migration import tag_stats
from genonaut_lib.migration.phases.create_gallery_stats import TABLES
from genonaut_lib.migration.tag_stats import StepDone
from genonaut_lib.runs.session import NotebookRun
from genonaut_lib.runs.views import Chart, View, figures_view
from genonaut_lib.vocabulary import ContentSource

FILE = "statistics"
NOT_THERE = "The tables are not there yet; with dry_run = False they are made above."
COLOURS = {ContentSource.REGULAR: "#2f6fde", ContentSource.AUTO: "#d9722e"}


@dataclass(frozen=True)
class TagStatistics:
    """The second half of the notebook; `run` is the first, which made sure of the tables.

    `seed` 0 draws another sample each time. Statistics are called fresh up to `max_age_s`.
    """

    run: NotebookRun
    sample_items: int
    seed: int
    max_age_s: float

    def freshness(self) -> View:
        """Show how old the statistics are and what they hold."""
        if not self._is_there():
            return View("Statistics", remark=NOT_THERE)
        with translated():
            moment = self._rows("refreshed_at")[0][0]
            totals = self._rows("totals")
        columns = ["source", "items", "public items", "relationships", "tags in use", "items sampled"]
        table = pd.DataFrame(totals, columns=columns) if totals else None
        return View("Statistics", table, Freshness(moment).sentence(self.max_age_s))

    def refresh(self) -> View:
        """Rebuild them in one swap, step by step; with `dry_run`, say that nothing was done."""
        if self.run.dry_run:
            return View("Dry run: nothing was refreshed", remark="Set dry_run = False to refresh.")
        context = self.run.context
        with translated():
            guard.require_adopted(context.connection, context.settings)
            found = tag_stats.refresh(
                context.connection, sample_items=self.sample_items, seed=self.seed or None, report=_say
            )
        figures = {step.name: f"{step.rows:,} rows, {step.seconds:.2f} s" for step in found.steps}
        return figures_view("Refreshed", {**figures, "altogether": f"{found.seconds:.2f} s"})

    def most_used(self, tags: int = 10) -> View:
        """Show the most used tags of each source: how many items carry one, and how many of those are shown."""
        if not self._is_there():
            return View("Most used tags", remark=NOT_THERE)
        rows = self._rows("most_used", {"limit": tags, **ContentSource.spellings()})
        return View("Most used tags", pd.DataFrame(rows, columns=["source", "tag", "items", "shown"]))

    def chart(self) -> Chart:
        """Plot how many items carry a tag against its rank, both axes logarithmic."""
        counts = {
            source: [int(row[0]) for row in self._rows("by_rank", {"source": source.junction})]
            for source in (ContentSource if self._is_there() else ())
        }
        return rank_chart({source: found for source, found in counts.items() if found})

    def _is_there(self) -> bool:
        rows = (self._rows("has_relation", {"relation": table}, file="catalog") for table in TABLES.values())
        return all(row[0][0] for row in rows)

    def _rows(self, name: str, values: Mapping[str, Any] | None = None, file: str = FILE) -> list[tuple[Any, ...]]:
        return self.run.context.connection.execute(block(file, name).sql(), values or {}).fetchall()


def rank_chart(counts: Mapping[ContentSource, Sequence[int]]) -> Chart:
    """Return how many items carry the tag of each rank, from the most used one on, a line a source."""
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    for source, found in counts.items():
        ranks = range(1, len(found) + 1)
        axes.plot(ranks, found, marker=".", linewidth=1, label=source.junction, color=COLOURS[source])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rank of the tag (logarithmic)")
    axes.set_ylabel("items that carry it (logarithmic)")
    if counts:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    said = "; ".join(
        f"{source.junction}: {len(found):,} tags, {found[0]:,} to {found[-1]:,}" for source, found in counts.items()
    )
    return Chart(f"items by rank of their tag, {said or 'none yet'}", figure)


def _say(done: StepDone) -> None:
    sys.stdout.write(f"{done}\n")
