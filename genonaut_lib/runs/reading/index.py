"""The index of an environment's runs: `outputs/<env>/index.html` and a page for each day, renewed after every run.

All of it comes from the folder itself, manifests and executed notebooks, so it is right without a database. Pages
are for reading; what proves a record is the chain. An update looks only at days in which something changed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from jinja2 import TemplateError

from genonaut_lib.errors import GenonautError, RecordsBusy
from genonaut_lib.runs import file_lock
from genonaut_lib.runs.reading import pages, shelf
from genonaut_lib.runs.reading.pages import Place
from genonaut_lib.runs.reading.shelf import PAGES, Shelf
from genonaut_lib.runs.record_file import sweep, write_atomically
from genonaut_lib.runs.records import chain_folder, links
from genonaut_lib.runs.records.links import RETIRED
from genonaut_lib.runs.secrets.redaction import Redactor

NEWEST = 500
"""Runs on the first page."""
INDEX = "index.html"
LOCK = "lock"
LOCK_WAIT_S = 5.0
_WHATEVER_LIES_THERE = (
    OSError, GenonautError, TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
"""What files that somebody edited can raise; none of it may take a run's good end away."""
_LOG = logging.getLogger("genonaut.runs")


def update(folder: Path, redactor: Redactor, *, anew: bool = False) -> Path:
    """Renew the pages of an environment's folder and return the first one; `anew` reads every record again.

    Of two updates at once one waits for the other, and sees what the other saw. Raises RecordsBusy when it would
    wait for longer than a few seconds, OSError where the folder cannot be written.
    """
    (folder / PAGES).mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for swept in (folder, folder / PAGES):
            sweep(swept)
        found = shelf.look(folder, redactor, NEWEST, anew=anew)
        _write_days(found, redactor)
        place = Place("Runs", folder.name, "")
        text = pages.index_page(place, found.newest, found.days, _retired(folder))
        write_atomically(folder / INDEX, redactor.text(text).encode())
        shelf.keep(found, redactor)
    return folder / INDEX


def keep_up(folder: Path, redactor: Redactor) -> None:
    """Renew the pages after a run; a failure is said in the log, and never changes how the run ended."""
    try:
        update(folder, redactor)
    except _WHATEVER_LIES_THERE as error:
        _LOG.warning("The index of the runs could not be renewed: %s", redactor.text(str(error)))


def _write_days(found: Shelf, redactor: Redactor) -> None:
    for day in found.days:
        if day.name in found.renewed:
            text = pages.day_page(Place(f"Runs of {day.name}", found.folder.name, "../"), found.renewed[day.name], day)
            write_atomically(_page(found.folder, day.name), redactor.text(text).encode())
    for name in found.gone:
        _page(found.folder, name).unlink(missing_ok=True)


def _page(folder: Path, day: str) -> Path:
    return folder / PAGES / f"{day}.html"


def _retired(folder: Path) -> int:
    """Return how many runs were retired by policy; of the chain, only the entries that say so are read."""
    mark = f'"kind":"{RETIRED}"'.encode()
    found = [links.read(line) for line in chain_folder.read_lines(folder).whole if mark in line]
    entries = [link.content.get("runs") for link in found if link is not None and link.kind == RETIRED]
    return sum(len(runs) for runs in entries if isinstance(runs, list))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the pages for a block; the chain's own is left to those who seal."""
    busy = RecordsBusy("Another process renews the index.", hint="The next run renews it.")
    with file_lock.held(folder / PAGES / LOCK, LOCK_WAIT_S, busy):
        yield
