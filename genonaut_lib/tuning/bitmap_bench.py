"""What the tag bitmap index costs and gives: build, seal, writers, reads, and a simulated layer of millions of items.

With content everything happens in throw-away databases on the environment's server. Without it the
environment's own gallery is measured: reads write nothing; whatever else was asked for builds and seals
its index, and takes out again every item that it inserted.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil

from genonaut_lib.db import engine, scratch
from genonaut_lib.errors import InvalidInput, RowsDiffer
from genonaut_lib.migration import bitmap_build
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.bitmap_effort import ALONE, BitmapEffort, Found, Place, Section
from genonaut_lib.tuning.bitmap_reads import measure_facets, measure_grid
from genonaut_lib.tuning.bitmap_simulated import measure_simulated
from genonaut_lib.tuning.bitmap_upkeep import measure_build, measure_seal
from genonaut_lib.tuning.bitmap_writers import measure_writers
from genonaut_lib.tuning.gallery_bench import Content, prepare
from genonaut_lib.tuning.race import Say

MEASURES: dict[str, Section] = {
    "build": measure_build,
    "grid": measure_grid,
    "facets": measure_facets,
    "seal": measure_seal,
    "writers": measure_writers,
    "simulated": measure_simulated,
}
"""By section, in the order they are run in."""
NO_GALLERY = {"simulated"}


@dataclass
class BitmapsBench:
    """One run over a gallery that is made for it (`content`), or over the environment's own (None)."""

    settings: Settings
    content: Content | None
    effort: BitmapEffort = field(default_factory=BitmapEffort)
    say: Say = lambda line: None

    def __post_init__(self) -> None:
        if self.content is None and ALONE in self.effort.sections:
            problem = "writers switches the index off and on, and is only measured in a database of its own."
            raise InvalidInput(problem, hint="Leave --here out, or name other sections.")

    def run(self) -> dict[str, Any]:
        """Measure and return everything, fit for JSON; answers that differ are told and not raised here."""
        wanted = [name for name in MEASURES if name in self.effort.sections]
        with self._gallery(wanted) as place:
            found = {name: self._measure(place, name) for name in wanted}
            return {**self._circumstances(place), "sections": {name: asdict(one) for name, one in found.items()}}

    def _measure(self, place: Place, name: str) -> Found:
        self.say(f"{name}:")
        return MEASURES[name](place)

    @contextmanager
    def _gallery(self, wanted: list[str]) -> Iterator[Place]:
        """Yield the gallery that is measured; one that was made has an index, unless building it is measured."""
        if self.content is None or set(wanted) <= NO_GALLERY:
            with self._place(self.settings) as place:
                yield place
            return
        with scratch.database(self.settings, "bitmaps_bench") as made:
            prepare(made, self.content, self.say)
            if "build" not in wanted:
                self.say("building the index")
                bitmap_build.build(made)
            with self._place(made) as place:
                yield place

    @contextmanager
    def _place(self, settings: Settings) -> Iterator[Place]:
        with engine.session(settings, writing=self.effort.writes) as connection:
            yield Place(settings, connection, self.effort, self.say)

    def _circumstances(self, place: Place) -> dict[str, Any]:
        content = None if self.content is None else asdict(self.content)
        return {
            "content": content,
            "postgresql": engine.facts(place.connection).version_text,
            "machine": machine(),
            "effort": asdict(self.effort),
            "bitmaps": self.settings.bitmaps.model_dump(mode="json"),
        }


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides: processors, memory, and versions of what computes."""
    return {
        "processors": os.cpu_count(),
        "architecture": platform.machine(),
        "memory_gibibytes": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def require_same_answers(found: dict[str, Any]) -> None:
    """Raise RowsDiffer where the index showed other rows or totals than the oracle; `found` is what `run` returned."""
    differing = [name for section in found["sections"].values() for name in section["differing"]]
    if differing:
        raise RowsDiffer(
            f"Not the oracle's answer: {'; '.join(differing[:5])}{' and others' if len(differing) > 5 else ''}.",
            hint="Content written meanwhile shows here too. If nobody wrote, run `genonaut bitmaps check`.",
        )
