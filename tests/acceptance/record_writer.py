"""A run whose cells print without a pause, so that it is always about to save; for others to kill."""

from __future__ import annotations

import itertools
from pathlib import Path

import nbformat

from genonaut_lib.runs import record as record_module
from genonaut_lib.runs.record import Record, Target

CELLS, WORDS = 8, 2_000


def write_forever(path: str) -> None:
    """Save the record again and again; every cell of one copy shows the same number."""
    record_module.SAVE_EVERY_S = 0.0
    book = nbformat.v4.new_notebook(metadata={"papermill": {}})
    book.cells = [nbformat.v4.new_code_cell("print()", metadata={"papermill": {}}) for _ in range(CELLS)]
    record = Record(book, Target(Path(path)), progress_bar=False)
    record.notebook_start()
    record.cell_start(book.cells[0], cell_index=0)
    for number in itertools.count():
        for cell in book.cells:
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"{number} " * WORDS)]
        record.save()
        record.tick()
