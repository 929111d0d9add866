"""`redacted(...)`: inside its block nothing that a run leaves behind holds a secret.

It stands around the execution of a notebook and covers what is not the engine's own to write: the files papermill
saves, log lines of any library, and the messages of refusals that leave the block (and reach the
ledger and the terminal).
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from papermill.iorw import LocalHandler, papermill_io

from genonaut_lib.errors import GenonautError
from genonaut_lib.runs.redaction import Redactor


@contextlib.contextmanager
def redacted(output: Path, redactor: Redactor) -> Iterator[None]:
    """Keep secrets out of the notebook saved as `output`, of log lines, and of refusals raised in the block."""
    with _saved(output, redactor), redacted_logs(redactor), redacted_errors(redactor):
        yield


@contextlib.contextmanager
def redacted_errors(redactor: Redactor) -> Iterator[None]:
    """Take secrets out of the message and the hint of a GenonautError that leaves the block."""
    try:
        yield
    except GenonautError as error:
        error.message = redactor.text(error.message)
        error.hint = error.hint and redactor.text(error.hint)
        error.args = redactor.node(error.args)
        raise


@contextlib.contextmanager
def redacted_logs(redactor: Redactor) -> Iterator[None]:
    """Take secrets out of every log record made in the block, in whatever thread, before a handler sees it."""
    make: Callable[..., logging.LogRecord] = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *given, **named: _clean(make(*given, **named), redactor))
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)


def _clean(record: logging.LogRecord, redactor: Redactor) -> logging.LogRecord:
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Values that do not fit their message; logging itself would only say so on standard error.
        message = f"{record.msg} {record.args}"
    record.msg, record.args = redactor.text(message), None
    if record.exc_info:
        # A formatter shows the text that is there already, and makes one of the exception only if there is none.
        record.exc_text = redactor.text(logging.Formatter().formatException(record.exc_info))
        record.exc_info = None
    record.stack_info = record.stack_info and redactor.text(record.stack_info)
    return record


@contextlib.contextmanager
def _saved(output: Path, redactor: Redactor) -> Iterator[None]:
    """Let papermill write this one file through the redactor."""
    entry = (str(output), _RedactingHandler(redactor))
    papermill_io.register(*entry)
    try:
        yield
    finally:
        papermill_io._handlers.remove(entry)  # noqa: SLF001  # papermill has no way to take a handler back


class _RedactingHandler(LocalHandler):  # type: ignore[misc]  # papermill ships no types
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def write(self, buf: str, path: str) -> None:
        notebook: Any = self._redactor.node(json.loads(buf))
        # As nbformat writes it, so that the file of a run without secrets is the same byte for byte.
        super().write(json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": ")), path)
