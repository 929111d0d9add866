"""The refusals of a request: by what it names, by whoever sends it, by a service that cannot answer now."""

from __future__ import annotations

from genonaut_lib.errors import GenonautError, InvalidInput, Refused


class UnknownTag(InvalidInput):
    """No tag is called by this word."""

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        field: str | None = None,
        word: str = "",
        near: tuple[str, ...] = (),
    ) -> None:
        self.word, self.near = word, near
        super().__init__(message, hint=hint, field=field)


class InvalidCursor(InvalidInput):
    """The cursor is none of this query's."""


class ItemNotFound(Refused):
    """There is no such item, or none that the caller may see."""


class ItemChanged(Refused):
    """The item is no longer the one that was read."""


class PromptImmutable(Refused):
    """The prompt of an item is written once, and never changed."""

    field = "prompt"


class UnknownCreator(InvalidInput):
    """Nobody has this id, so nobody can have made the item."""


class ItemRefused(Refused):
    """A rule of the gallery's own tables does not allow this item."""

    def __init__(self, message: str | None = None, *, hint: str | None = None, field: str | None = None) -> None:
        self.field = field
        super().__init__(message, hint=hint)


class WriteContended(GenonautError):
    """Others wrote the same rows at the same time, and this write had to give way."""


class BodyTooLarge(InvalidInput):
    """The body of the request is larger than any item."""


class Unauthenticated(Refused):
    """The request does not say who sends it."""


class TokenRefused(Unauthenticated):
    """The bearer token is not accepted."""


class Forbidden(Refused):
    """The caller may not do this."""

    def __init__(self, message: str | None = None, *, hint: str | None = None, field: str | None = None) -> None:
        self.field = field
        super().__init__(message, hint=hint)


class AddressTaken(Refused):
    """The service cannot listen at this address."""


class SessionsBusy(GenonautError):
    """All sessions with the database are taken."""


class StatementCancelled(GenonautError):
    """The statement was ended by somebody else, not by a time limit of ours."""


class TransactionConflict(GenonautError):
    """Another transaction was in the way, and this one was rolled back."""


class DeadlineExceeded(GenonautError):
    """The request ran into its deadline."""


class ShuttingDown(GenonautError):
    """The service was told to stop, and the request did not end in time."""


class TagNotFound(InvalidInput):
    """There is no such tag."""


class NotReady(GenonautError):
    """The service cannot answer for the gallery now."""
