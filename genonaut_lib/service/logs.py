"""The service's log: one JSON object a line, on standard error, uvicorn's own lines among them."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import psycopg
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

from genonaut_lib.service.trace import CURRENT

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

COLOURED = "color_message"
"""What uvicorn adds to its records for terminals."""


class Lines(OrjsonFormatter):
    """Formats a record as an object: time, level, logger, message, and whatever the record bears beside it."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message", "process"],
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, COLOURED],
            timestamp="time",
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Add the id of the request at hand to a line that is written beside one; say nothing twice."""
        trace = CURRENT.get(None)
        if trace is not None:
            log_data.setdefault("request_id", trace.request_id)
        if "gallery" in log_data:
            # The gallery's telemetry is its own message as text, for those who read it elsewhere.
            log_data["message"] = log_data["gallery"]["event"]
        return log_data

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802  # the standard library's name
        """Return where an exception came from and what kinds it and its causes are, without any of their messages.

        A message may quote what was asked for: a value that did not fit, a statement with its values.
        """
        return "\n".join(_told(ei[1]))


def configuration() -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "genonaut_lib.service.logs.Lines"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {name: {"level": "INFO"} for name in ("genonaut", "uvicorn")},
    }


def _told(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        yield kind if state is None else f"{kind} (SQLSTATE {state})"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
