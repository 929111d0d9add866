"""A runner killed at any moment of a save leaves a whole record: the last good copy, readable and of one moment.

Fifteen kills in the suite, any number by RECORD_KILLS.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

import nbformat
import pytest

from genonaut_lib.runs.record_file import as_bytes, mend, read_record, sweep, write_atomically
from tests.acceptance.record_writer import CELLS, WORDS, write_forever

KILLS = int(os.environ.get("RECORD_KILLS", "15"))
LONGEST_LIFE_S = 0.2


@pytest.mark.timeout(300 + 20 * KILLS)
def test_no_kill_during_a_save_leaves_an_unreadable_record(tmp_path: Path) -> None:
    """Every copy is whole; what a killed save left beside it is swept away by the next start."""
    seed = random.randrange(10_000)
    moments = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.acceptance.record_writer"])
    path, drafts = tmp_path / "a record.ipynb", 0
    # Whether a kill falls into a save is chance: they go on until one has.
    for number in range(20 * KILLS):
        if number >= KILLS and drafts:
            break
        process = context.Process(target=write_forever, args=(str(path),))
        process.start()
        while not path.exists():
            time.sleep(0.005)
        time.sleep(moments.uniform(0, LONGEST_LIFE_S))
        process.kill()
        process.join()
        drafts += len(list(tmp_path.glob(".*.draft")))
        assert copies_of(path) == CELLS, f"kill {number} of seed {seed}"
        lost = read_record(path)
        assert lost is not None
        write_atomically(path, as_bytes(mend(lost, "lost", None)))
        assert nbformat.read(path, as_version=4).metadata.genonaut.status == "lost"
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [path]
        path.unlink()
    assert drafts > 0, f"no kill of seed {seed} fell into a save, so nothing was shown"


def copies_of(path: Path) -> int:
    """Return how many cells of a record hold the whole output of one and the same moment."""
    record = nbformat.read(path, as_version=4)
    texts = [cell.outputs[0].text for cell in record.cells if cell.outputs]
    whole = [text for text in texts if text == texts[0] and text.count(" ") == WORDS]
    return len(whole) if texts else CELLS
