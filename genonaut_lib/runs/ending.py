"""How a run ended: one of five words, and for any but `ok` what ended it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from genonaut_lib.errors import GenonautError, KernelDied, NotebookFailed, RunInterrupted

LOST = "lost"
STATES = ("ok", "failed", "cancelled", "killed", LOST)
DEAD = "Its process is gone: killed, out of memory, or ended by the notebook itself."


@dataclass(frozen=True)
class Ending:
    """How a run ended; `failure` holds `cause`, the name of an error, and `message`, and is None for `ok`.

    `failed`: a cell raised, the deadline passed, or the record could not be written. `cancelled`: a
    signal stopped it. `killed`: its kernel died under it. `lost`: nobody was left to say.
    """

    state: str
    failure: Mapping[str, Any] | None = None


OK = Ending("ok")


def ending_of(error: BaseException) -> Ending:
    """Return how a run ended that an error ended."""
    if isinstance(error, RunInterrupted | KeyboardInterrupt):
        state = "cancelled"
    elif isinstance(error, DeadKernelError | KernelDied):
        state = "killed"
    else:
        state = "failed"
    return Ending(state, {"cause": cause_of(error), "message": message_of(error)})


def cause_of(error: BaseException) -> str:
    """Return the name of what ended a run; of an error within a cell, that error's own."""
    if isinstance(error, CellExecutionError | PapermillExecutionError):
        return str(error.ename)
    if isinstance(error, NotebookFailed) and error.cause:
        return error.cause
    return "KernelDied" if isinstance(error, DeadKernelError) else type(error).__name__


def message_of(error: BaseException) -> str:
    """Return one line of what happened."""
    if isinstance(error, CellExecutionError | PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, GenonautError):
        return error.message
    return DEAD if isinstance(error, DeadKernelError) else f"{type(error).__name__}: {error}"
