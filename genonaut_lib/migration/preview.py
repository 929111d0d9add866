"""A dry run as a value: a phase's plan with what it will cost, whether it fits, and where the phase stands."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from genonaut_lib.db import disk
from genonaut_lib.migration import ledger
from genonaut_lib.migration.estimate import Estimate, PlanEstimate, estimate_plan
from genonaut_lib.migration.figures import bytes_text
from genonaut_lib.migration.lock_modes import blocks
from genonaut_lib.migration.phases import PHASES, Context, Phase
from genonaut_lib.migration.plan import Action, Check, Plan

HEAVY_BYTES = 1_000_000
"""A phase that needs less is not asked for disk: every server has as much."""
FILLED_BY = {"create_content_tags": "backfill_content_tags"}
"""Phases that make an empty table, and the one that fills it: whoever begins should have room to end."""
TOLD_BY_RECORD = {"seed_tags", "backfill_tag_uuids", "verify_content_tags", "create_gallery_stats"}
"""Phases that are done when their newest verification passed.

Seeding may always be done again, the plan of the UUID backfill reads every row once none waits any more,
verifying has no plan, and the search indexes may have been left out on purpose.
"""


class Stand(enum.StrEnum):
    """Where a phase stands."""

    DONE = "done"
    NEXT = "next"
    WAITING = "waiting"


@dataclass(frozen=True)
class Preview:
    """A plan, what it will cost, and the free bytes of the server's disk (None: cannot be seen from here)."""

    plan: Plan
    estimate: PlanEstimate
    disk_free: int | None

    @property
    def disk_text(self) -> str:
        """Disk needed against disk free, as a sentence."""
        free = disk.UNKNOWN if self.disk_free is None else bytes_text(self.disk_free)
        return f"Disk needed on the way, WAL included: {bytes_text(self.estimate.disk_needed)}; free: {free}."

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON would hold it: bytes and seconds as numbers, unknown as null."""
        pairs = zip(self.plan.actions, self.estimate.actions, strict=True)
        return {
            "phase": self.plan.phase,
            "digest": self.plan.digest,
            "note": self.plan.note,
            "facts": dict(self.plan.facts),
            "actions": [_action_dict(step, estimate) for step, estimate in pairs],
            "total": {**_costs_dict(self.estimate.total), "complete": self.estimate.complete},
            "disk_needed_bytes": self.estimate.disk_needed,
            "disk_free_bytes": self.disk_free,
        }


def preview(phase: Phase, context: Context) -> Preview:
    """Return the dry run of a phase; nothing is written."""
    return preview_of(phase.plan(context), context)


def preview_of(plan: Plan, context: Context) -> Preview:
    """Return a plan with its costs."""
    return Preview(plan, estimate_plan(context.connection, plan), disk.free_bytes(context.connection))


def preflight_checks(phase: Phase, context: Context) -> list[Check]:
    """Return the phase's own checks and, once they hold and where it writes much, whether its disk suffices."""
    checks = phase.check(context)
    if not all(check.holds for check in checks):
        return checks
    names = [phase.name, *([FILLED_BY[phase.name]] if phase.name in FILLED_BY else [])]
    plans = [phase.plan(context), *(PHASES[name].plan(context) for name in names[1:])]
    needed = sum(estimate_plan(context.connection, plan).disk_needed for plan in plans if plans[0].actions)
    if needed >= HEAVY_BYTES:
        checks.append(_disk_check(needed, disk.free_bytes(context.connection)))
    return checks


def stands(context: Context) -> dict[str, Stand]:
    """Return where each phase stands; the first one not done is next."""
    found: dict[str, Stand] = {}
    for name, phase in PHASES.items():
        rest = Stand.WAITING if Stand.NEXT in found.values() else Stand.NEXT
        found[name] = Stand.DONE if rest is Stand.NEXT and _is_done(phase, context) else rest
    return found


def _is_done(phase: Phase, context: Context) -> bool:
    """Return whether nothing is left to do; where a plan is dear or says nothing, the record is asked first."""
    if phase.name in TOLD_BY_RECORD:
        record = ledger.last_verification(context.connection, phase.name)
        if record is not None and record.passed:
            return True
    return phase.name != "verify_content_tags" and not phase.plan(context).actions


def _disk_check(needed: int, free: int | None) -> Check:
    if free is None:
        return Check("disk", True, f"needs about {bytes_text(needed)}; free: {disk.UNKNOWN}")
    return Check("disk", needed <= free, f"needs about {bytes_text(needed)}, {bytes_text(free)} free")


def _action_dict(step: Action, estimate: Estimate) -> dict[str, Any]:
    return {
        "id": step.id,
        "statement": step.text,
        "lock": step.lock or "none",
        "blocks": blocks(step.lock),
        "reversible": step.reversible,
        "why": step.why,
        "rows": estimate.rows,
        "rows_exact": estimate.exact,
        **_costs_dict(estimate),
    }


def _costs_dict(estimate: Estimate) -> dict[str, Any]:
    return {
        "wal_bytes": estimate.wal_bytes,
        "seconds": None if estimate.seconds is None else round(estimate.seconds, 3),
        "disk_bytes": estimate.disk_bytes,
        "scratch_bytes": estimate.scratch_bytes,
    }
