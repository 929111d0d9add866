"""`redacted(...)`: inside its block nothing that a run leaves behind holds a secret.

It stands around the execution of a notebook and covers what is not the engine's own to write: log lines of any
library, and the messages of refusals that leave the block (and reach the ledger and the terminal).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from genonaut_lib.errors import GenonautError
from genonaut_lib.runs.secrets.redaction import Redactor


@contextlib.contextmanager
def redacted(redactor: Redactor) -> Iterator[None]:
    """Keep secrets out of log lines, and of refusals raised in the block."""
    with redacted_logs(redactor), redacted_errors(redactor):
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
