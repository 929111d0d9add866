"""The record of a run while it comes about: honest states of its cells, saved as they change.

Papermill's own manager marks cells completed that never ran and writes in place. This one keeps its
interface, so that papermill's clients work with it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellExecutionError
from papermill.engines import NotebookExecutionManager
from papermill.iorw import papermill_io

from genonaut_lib.errors import RecordUnwritable
from genonaut_lib.runs.ending import Ending, cause_of, message_of
from genonaut_lib.runs.record_file import Spare, as_bytes, mend, read_record, write_atomically
from genonaut_lib.runs.secrets.redaction import Redactor

SAVE_EVERY_S = 0.5
"""Pause between two saves; with the time a save takes, the file is less than two seconds behind."""
PATIENCE_S = 10.0
"""How long saving may fail before the run is ended: work without a record is not to go on."""


@dataclass(frozen=True)
class Target:
    """Where a record goes: a file of this machine, any other address papermill knows, or nowhere."""

    path: Path | None = None
    address: str | None = None
    redactor: Redactor = field(default_factory=Redactor)

    def publish(self, snapshot: str) -> None:
        """Write a record, given as JSON in nbformat's form in memory; raise OSError where that fails."""
        found = self.redactor.node(json.loads(snapshot))
        text: str = nbformat.v4.writes(nbformat.from_dict(found))  # type: ignore[no-untyped-call]  # loosely typed
        if self.path is not None:
            write_atomically(self.path, text.encode())
        elif self.address is not None:
            papermill_io.write(text, self.address)


class Record(NotebookExecutionManager):  # type: ignore[misc]  # papermill ships no types
    """A notebook at work and the file that follows it.

    The notebook is changed by the thread that runs its cells only; a save takes a snapshot there and
    writes it in a thread of its own.
    """

    def __init__(self, nb: Any, target: Target, run_id: uuid.UUID | None = None, **options: Any) -> None:
        super().__init__(nb, **options)
        self.target = target
        self.run_id = run_id
        self._spare = Spare(target.path) if target.path is not None else None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._saving: Future[None] | None = None
        self._changed = False
        self._saved_at = 0.0
        self._failing_since: float | None = None

    def notebook_start(self, **options: Any) -> None:
        """Begin the record: every cell pending, the run running, a first copy on the disk or RecordUnwritable."""
        self._say("running", None)
        super().notebook_start(**options)
        try:
            self._put(self._snapshot())
        except OSError as error:
            self._release()
            raise _unwritable(error) from error

    def save(self, **options: Any) -> None:
        """Note that something changed; `tick` writes it."""
        self._changed = True

    def autosave_cell(self, **options: Any) -> None:
        """Note that a message of the kernel may have changed something."""
        self._changed = True

    def tick(self) -> None:
        """Save when something changed and the last save is over; raise RecordUnwritable when that fails for long."""
        self._collect()
        due = time.monotonic() - self._saved_at >= SAVE_EVERY_S
        if self._changed and due and self._saving is None:
            self._changed, self._saved_at = False, time.monotonic()
            self._saving = self._pool.submit(self._put, self._snapshot())

    def cell_failed(self, index: int, error: BaseException) -> None:
        """Mark the cell that was at work as failed; what the notebook itself did not say is said in its output."""
        cell = self.nb.cells[index]
        self.cell_exception(cell, cell_index=index)
        if not isinstance(error, CellExecutionError) and cell.cell_type == "code":
            name, message = cause_of(error), message_of(error)
            said = {"output_type": "error", "ename": name, "evalue": message, "traceback": [f"{name}: {message}"]}
            cell.outputs.append(nbformat.NotebookNode(said))  # type: ignore[no-untyped-call]
        self.cell_complete(cell, cell_index=index)

    def end(self, ending: Ending) -> None:
        """Write the last state of the record and free its room.

        Raises RecordUnwritable when the disk does not take it; what it took last then says `failed`.
        """
        self._say(ending.state, ending.failure)
        if ending.state != "ok":
            self.nb.metadata.papermill["exception"] = True
        self._pool.shutdown()
        self.notebook_complete()
        try:
            self._write_the_end(ending)
        finally:
            self._release()

    def notebook_complete(self, **options: Any) -> None:
        """Write down when the run ended; cells that did not run stay pending."""
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()
        self.complete_pbar()
        self.cleanup_pbar()

    def _say(self, status: str, failure: Mapping[str, Any] | None) -> None:
        run_id = str(self.run_id) if self.run_id else None
        said = {"run_id": run_id, "status": status, "failure": None if failure is None else dict(failure)}
        self.nb.metadata["genonaut"] = said

    def _snapshot(self) -> str:
        self.nb.metadata["genonaut"]["saved_at"] = datetime.now(UTC).isoformat()
        return json.dumps(self.nb, default=str)

    def _put(self, snapshot: str) -> None:
        self.target.publish(snapshot)
        if self._spare is not None and self.target.path is not None:
            self._spare.hold(self.target.path.stat().st_size)

    def _collect(self) -> None:
        """Look how the last save went; a failed one is tried again with what is there by then."""
        if self._saving is None or not self._saving.done():
            return
        saving, self._saving = self._saving, None
        try:
            saving.result()
        except OSError as error:
            self._changed = True
            self._failing_since = self._failing_since or time.monotonic()
            if time.monotonic() - self._failing_since > PATIENCE_S:
                raise _unwritable(error) from error
        else:
            self._failing_since = None

    def _write_the_end(self, ending: Ending) -> None:
        try:
            self.target.publish(self._snapshot())
        except OSError:
            # The room held for the last words may be all that is lacking.
            self._release()
            try:
                self.target.publish(self._snapshot())
            except OSError as error:
                self._last_words(ending, error)

    def _last_words(self, ending: Ending, error: OSError) -> None:
        """Let the last good copy say how the run ended."""
        said = {"cause": "RecordUnwritable", "message": _unwritable(error).message, "after": ending.failure}
        state = "failed" if ending.state == "ok" else ending.state
        found = read_record(self.target.path) if self.target.path is not None else None
        if found is not None and self.target.path is not None:
            mended = mend(found, state, self.target.redactor.node(said))
            try:
                write_atomically(self.target.path, as_bytes(mended))
            except OSError as last:
                raise _unwritable(last) from last
        if ending.state == "ok":
            raise _unwritable(error) from error

    def _release(self) -> None:
        if self._spare is not None:
            self._spare.release()


def _unwritable(error: OSError) -> RecordUnwritable:
    return RecordUnwritable(
        f"The record could not be written: {error.strerror or error}.",
        hint="The last copy that could be is kept. Free space there, then run the same command again.",
    )
