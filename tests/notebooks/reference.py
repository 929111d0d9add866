"""The reference run: every notebook of the pipeline on a small, fixed gallery, outputs kept.

`make reference` makes it anew; look at the difference in git before committing it. nbval executes
these copies again and compares every output.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.parameterize import parameterize_notebook
from psycopg import conninfo

from genonaut_lib.content import generation
from genonaut_lib.db import embedded, engine
from genonaut_lib.migration import adoption
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION
from genonaut_lib.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "reference"
ITEMS, SEED = 1_500, 3


@dataclass(frozen=True)
class ReferenceStep:
    """A notebook of the reference run, in its place, with its parameters."""

    place: int
    notebook: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.place:02}_{self.notebook}.ipynb"


_APPLY = {"environment": "test", "dry_run": False}
STEPS = [
    ReferenceStep(place, notebook, {"environment": "test", **parameters})
    for place, (notebook, parameters) in enumerate(
        [
            ("00_preflight", {}),
            ("10_seed_tags", _APPLY),
            ("62_benchmark_gallery", {"moment": "before", "repeats": 3}),
            ("11_expand_tag_columns", {"dry_run": True}),
            ("11_expand_tag_columns", _APPLY),
            ("12_backfill_tag_uuids", _APPLY),
            ("13_drop_legacy_tags", {**_APPLY, "confirm": CONFIRMATION}),
            ("20_create_content_tags", _APPLY),
            ("21_backfill_content_tags", _APPLY),
            ("22_verify_content_tags", _APPLY),
            ("30_attach_partitions", _APPLY),
            ("31_create_sidecars", _APPLY),
            ("40_build_tag_bitmaps", _APPLY),
            ("50_refresh_tag_stats", {**_APPLY, "seed": 1}),
            ("54_seal_tag_bitmaps", _APPLY),
            ("62_benchmark_gallery", {"moment": "after", "repeats": 3}),
            ("63_explain_gallery", {"strategy": "time_walk"}),
        ],
        start=1,
    )
]


def fill(settings: Settings) -> None:
    """Make the gallery that the reference run migrates."""
    with engine.connect(settings) as connection:
        adoption.adopt(connection, settings)
        generation.generate(connection, generation.SHAPES["adversarial"], ITEMS, SEED)


def parameterised(step: ReferenceStep) -> nbformat.NotebookNode:
    """Return the notebook of a step as papermill would run it, without outputs and volatile metadata."""
    path = ROOT / "notebooks" / f"{step.notebook}.ipynb"
    source = nbformat.read(path, as_version=4)
    book = parameterize_notebook(papermill.iorw.load_notebook_node(str(path)), step.parameters)
    for number, cell in enumerate(book.cells):
        cell.metadata.pop("papermill", None)
        cell.id = f"{step.place:02}-{number:02}"
    book.metadata = source.metadata
    return book


def make() -> None:
    """Run every step on embedded servers of their own and write the executed copies."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with _own_database() as settings:
        fill(settings)
        for step in STEPS:
            nbformat.write(parameterised(step), step.path)
            papermill.execute_notebook(step.path, step.path, progress_bar=False, cwd=ROOT, kernel_name="python3")
            _keep(step)
            sys.stderr.write(f"{step.path.name}\n")


def _keep(step: ReferenceStep) -> None:
    """Write the outputs into the clean copy: no timings, no paths of this machine."""
    executed = nbformat.read(step.path, as_version=4)
    clean = parameterised(step)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    for target, done in zip((cell for cell in clean.cells if cell.cell_type == "code"), code, strict=True):
        target.outputs, target.execution_count = done.outputs, done.execution_count
    nbformat.write(clean, step.path)


@contextmanager
def _own_database() -> Iterator[Settings]:
    state = Path(tempfile.mkdtemp(prefix="gn-"))
    os.environ["GENONAUT_STATE"] = str(state)
    try:
        address = embedded.start_postgres("test", load_settings("test").servers)
        os.environ["DATABASE_URL"] = conninfo.make_conninfo(address)
        yield load_settings("test")
    finally:
        embedded.stop("test")
        shutil.rmtree(state)


if __name__ == "__main__":
    make()
