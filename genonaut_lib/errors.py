"""Every refusal of the library, as a class that says what happened and what to do next.

The docstring of a class is its default message. Fields stand where a caller acts on them.
The command line turns `TryLater` into exit code 75, any other `Refused` into 2, and any other `GenonautError` into 1.
"""

from __future__ import annotations

import inspect


class GenonautError(Exception):
    """The workbench could not do what was asked."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "")
        self.hint = hint
        super().__init__(self.message if hint is None else f"{self.message} {hint}")


class Refused(GenonautError):
    """The request was refused before anything was done."""


class TryLater(Refused):
    """The request was refused for a reason that goes away by itself."""


class InvalidInput(Refused):
    """A value given by the caller is malformed or unknown."""

    def __init__(self, message: str | None = None, *, hint: str | None = None, field: str | None = None) -> None:
        self.field = field
        super().__init__(message, hint=hint)


class CursorKeyMissing(Refused):
    """There is no key to sign cursors with."""


class InvalidSettings(Refused):
    """The settings cannot be used."""


class ProjectNotFound(Refused):
    """There is no `params/` folder with the asked-for environment here."""


class DatabaseUnreachable(Refused):
    """No PostgreSQL server answers at the configured address."""


class DatabaseStarting(DatabaseUnreachable, TryLater):
    """The database is starting or stopping, or has no session to spare."""


class DatabaseLost(DatabaseUnreachable):
    """The connection to the database was lost; what was committed stays."""


class RedisUnreachable(Refused):
    """No Redis server answers at the configured address."""


class UnsupportedVersion(Refused):
    """The server is older than what the workbench needs."""


class MissingPrivilege(Refused):
    """The database user lacks a right the step needs."""


class ReadOnlyDatabase(Refused):
    """The database is a read-only replica."""


class DiskFull(GenonautError):
    """The disk is full."""


class NotAGallery(Refused):
    """The database holds neither a gallery nor nothing."""


class WrongEnvironment(Refused):
    """The database belongs to another environment than the command was given."""


class ProductionUnconfirmed(Refused):
    """The database is a production database and the command did not confirm it by name."""


class ServerStartFailed(GenonautError):
    """An embedded server did not start."""


class ServerStopFailed(GenonautError):
    """An embedded server did not stop."""


class LockNotAcquired(GenonautError):
    """A lock was not to be had within its budget; nothing was changed by this statement."""


class SettingNotTaken(GenonautError):
    """A setting that bounds a statement did not take effect; the statement was not sent."""


class PoolerUnfit(Refused):
    """The sessions behind the connection pooler are not fit for the workbench."""


class ProofMissing(Refused):
    """The catalogue lacks what lets the statement do without a scan under its lock."""


class CheckFailed(Refused):
    """A precondition of the phase does not hold."""


class PlanChanged(Refused):
    """The plan is no longer the one that was shown; look at the new plan first."""


class ConfirmationMissing(Refused):
    """The step cannot be undone and was not confirmed."""


class ApprovalMissing(Refused):
    """The plan cannot be taken back, and no second person has approved it."""


class CannotApprove(Refused):
    """The plan of that run cannot be approved."""


class PolicyFixed(Refused):
    """The policy for dirty data was acted upon already and can no longer be changed."""


class VerificationFailed(GenonautError):
    """The verification found differences; nothing that depends on it may run."""


class GateClosed(Refused):
    """A contracting revision needs a passed verification that the ledger does not hold."""


class CannotUndo(Refused):
    """The step cannot be undone here."""


class BackfillBusy(TryLater):
    """Another worker holds this backfill."""


class BackfillCancelled(GenonautError):
    """The backfill was cancelled from another process; it goes on from its checkpoints when started again."""


class VerificationBusy(TryLater):
    """Another session verifies this phase."""


class PipelineBusy(TryLater):
    """Another pipeline runs on this database."""


class AlreadyMigrated(Refused):
    """The step works on the legacy schema, and this database is past it."""


class RowsDiffer(GenonautError):
    """The two ways of reading the gallery returned different rows."""


class StatisticsMissing(Refused):
    """The gallery has no statistics yet."""


class StatisticsBusy(TryLater):
    """Another session refreshes the gallery's statistics."""


class QueryTimedOut(GenonautError):
    """A query of the gallery ran into its time limit."""


class BaselineMissing(Refused):
    """There is no measurement from before the migration to compare with."""


class NotebookFailed(GenonautError):
    """A notebook stopped in one of its cells."""

    def __init__(self, message: str | None = None, *, hint: str | None = None, cause: str | None = None) -> None:
        # The name of the error that the cell raised.
        self.cause = cause
        super().__init__(message, hint=hint)


class KernelDied(NotebookFailed):
    """The process a notebook ran on is gone: killed, or out of memory."""


class RunOverdue(NotebookFailed):
    """The run went past its deadline and was ended."""


class RecordUnwritable(NotebookFailed):
    """The record of the run could not be written any more, so the run was ended."""


class RunInterrupted(GenonautError):
    """The run was interrupted."""

    def __init__(self, message: str | None = None, *, hint: str | None = None, by: str = "SIGINT") -> None:
        # The signal that did it, by its name.
        self.by = by
        super().__init__(message, hint=hint)


class RunDisowned(GenonautError):
    """The run was declared lost while it was still at work."""


class LedgerBehind(GenonautError):
    """The run ended, but the ledger could not be told how."""


class CannotResume(Refused):
    """The run cannot be gone on with."""


class NoRoom(TryLater):
    """There is no room on the disk for the record of a run."""


class HierarchyTooLarge(Refused):
    """The answer about the hierarchy of tags is larger than what was allowed."""


class CycleRefused(Refused):
    """The tag would become its own ancestor."""

    def __init__(self, message: str | None = None, *, hint: str | None = None, path: tuple[str, ...] = ()) -> None:
        # Names on the way from the tag back to itself, each the child of the next.
        self.path = path
        super().__init__(message, hint=hint)


class ProposalRefused(Refused):
    """The proposed knobs would make watched queries slower, and were not adopted."""


class ViewMissing(Refused):
    """The materialised view of the gallery is not there, or was never filled."""


class BitmapsUnavailable(Refused):
    """The tag bitmap index cannot answer: it is absent, switched off, or waits to be sealed."""


class BitmapsBusy(TryLater):
    """Another session builds or seals the tag bitmap index."""


class BitmapsForgotten(GenonautError):
    """While the tag bitmap index was being built, a table was truncated, or a trigger or it dropped."""


class UnexpectedAnswer(GenonautError):
    """A server that is measured answered with something else than a page."""


class RecordsBusy(GenonautError):
    """Another process has been sealing records in this folder for too long."""


class RecordNotSealed(GenonautError):
    """A run has ended, and its record could not be sealed."""


class SecretInParameter(InvalidInput):
    """A parameter holds a secret, which the record of the run would show."""


class WeakSecret(Refused):
    """A secret is too short or too common to be kept out of the records."""
