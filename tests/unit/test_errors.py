"""Every refusal says what happened."""

from __future__ import annotations

import inspect

import pytest

from genonaut_lib import errors
from genonaut_lib.errors import GenonautError, InvalidInput, Refused

CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__]
FAILURES = {
    "BackfillBusy": True, "GateClosed": True, "PlanChanged": True, "CheckFailed": True, "ProductionUnconfirmed": True,
    "LockNotAcquired": False, "VerificationFailed": False, "NotebookFailed": False, "DiskFull": False,
    "ServerStartFailed": False, "RunInterrupted": False, "RowsDiffer": False, "KernelDied": False, "NoRoom": True,
    "RunOverdue": False, "RecordUnwritable": False, "LedgerBehind": False, "RunDisowned": False,
    "ApprovalMissing": True, "CannotApprove": True, "CannotResume": True, "DatabaseStarting": True, "TryLater": True,
}  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_docstring_that_is_its_message(kind: type[GenonautError]) -> None:
    """Raised without words, an error still says a sentence of its own."""
    assert str(kind()) == kind().message == inspect.cleandoc(kind.__dict__["__doc__"])


@pytest.mark.parametrize("kind", CLASSES)
def test_every_default_message_is_one_sentence(kind: type[GenonautError]) -> None:
    """A message starts with a capital and ends with a full stop."""
    message = kind().message
    assert message[0].isupper()
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_the_one_root(kind: type[GenonautError]) -> None:
    """A caller can catch all of the library's errors by one name."""
    assert issubclass(kind, GenonautError)


def test_default_messages_differ() -> None:
    """No two errors say the same."""
    messages = [kind().message for kind in CLASSES]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(("name", "refused"), FAILURES.items())
def test_refusals_are_told_from_failures(name: str, refused: bool) -> None:
    """Refused means nothing was done; whatever may have done something is no refusal."""
    assert issubclass(getattr(errors, name), Refused) is refused


def test_given_message_replaces_the_default() -> None:
    """The raise site knows more than the class."""
    assert InvalidInput("page_size is 0.").message == "page_size is 0."


def test_hint_follows_the_message() -> None:
    """Text of an error says what to do next, while both parts stay apart for the command line."""
    error = InvalidInput("No such tag.", hint="Run 10_seed_tags.")
    assert str(error) == "No such tag. Run 10_seed_tags."
    assert (error.message, error.hint) == ("No such tag.", "Run 10_seed_tags.")


def test_hint_may_follow_the_default_message() -> None:
    """A hint needs no message of its own."""
    assert str(Refused(hint="Look.")) == "The request was refused before anything was done. Look."
