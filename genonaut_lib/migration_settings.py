"""The knobs of backfills and bulk loads, of when they give way to others on the server, and of approvals."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ThrottleSettings(_Section):
    """How hard a backfill may work: its sessions, and batches steered towards `batch_target_s`."""

    batch_target_s: float = Field(0.5, gt=0, le=60)
    batch_timeout_s: int = Field(30, ge=1, le=3600, description="a batch over it is halved and tried again")
    batch_rows_first: int = Field(2_000, ge=1)
    batch_rows_max: int = Field(100_000, ge=1)
    pause_s: float = Field(0.0, ge=0, le=60)
    workers: int = Field(2, ge=1, le=64, description="sessions that work on disjoint ranges at once")
    reconnect_s: float = Field(60.0, ge=0, le=3600, description="how long a lost connection is tried anew")


class ApprovalSettings(_Section):
    """Whether a plan that cannot be taken back wants a second person, and for how long that person's word holds."""

    required: bool = False
    valid_h: float = Field(72.0, gt=0, le=8_760, description="of the dry run to be approved, and of the approval")

    @property
    def valid_s(self) -> float:
        """The same in seconds."""
        return self.valid_h * 3_600


class BulkSettings(_Section):
    """How the indexes of a junction that was loaded in bulk are built; null leaves it to the server."""

    index_memory_mb: int | None = Field(None, ge=1, le=1_000_000, description="maintenance_work_mem of one build")
    index_workers: int | None = Field(None, ge=0, le=64, description="parallel workers beside each build's own")


class PressureSettings(_Section):
    """When a backfill holds back for the sake of others; null (for vacuum: false) switches a signal off.

    A rate of WAL that fits every machine does not exist, and what too much of it does shows in the
    replicas, the slots and the archiver: `wal_mb_per_s` is off until someone knows their figure.
    """

    replica_lag_s: float | None = Field(10.0, gt=0, description="of a physical replica")
    replicas_ignored: tuple[str, ...] = Field((), description="application names of replicas that lag on purpose")
    slot_retained_mb: float | None = Field(10_240.0, gt=0, description="WAL that a slot keeps on the server's disk")
    wal_mb_per_s: float | None = Field(None, gt=0)
    archiver_backlog_files: int | None = Field(100, ge=1, description="an archiver that fails counts from the start")
    pause_for_vacuum: bool = Field(True, description="a manual or an anti-wraparound one, not every autovacuum")
    waiting_session_s: float | None = Field(1.0, gt=0)
    query: str | None = Field(
        None,
        pattern=r"^(?i:[\s(]*(select|with)\b)",
        description="a SELECT of one boolean or number; true, or more than query_limit, pauses",
    )
    query_limit: float | None = None
    query_timeout_ms: int = Field(500, ge=1, le=60_000)
    resume_share: float = Field(0.7, gt=0, le=1, description="of its limit; a signal that paused goes on below it")
    resume_after_s: float = Field(2.0, ge=0, le=3600, description="how long it must be calm before that")


__all__ = ["ApprovalSettings", "BulkSettings", "PressureSettings", "ThrottleSettings"]
