"""Verify the junction against the arrays and write the finding into the ledger: the gate of what follows."""

from __future__ import annotations

from dataclasses import dataclass

from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases.backfill_content_tags import (
    compare_junction,
    is_filled,
    junction_figures,
)
from genonaut_lib.migration.phases.base import Context, revision_check
from genonaut_lib.migration.plan import Check, Outcome, Plan, Verification


@dataclass(frozen=True)
class VerifyContentTags:
    """Phase 22; it changes nothing, so there is nothing to plan, apply or undo."""

    name: str = "verify_content_tags"
    title: str = "Verify the junction against the arrays"
    notebook: str = "22_verify_content_tags"

    def check(self, context: Context) -> list[Check]:
        """Return whether the junction is there and its backfill came to its end."""
        filled = is_filled(context.connection)
        finding = "every range worked off" if filled else "not finished; run 21_backfill_content_tags"
        done = Check("junction backfill", filled, finding)
        return [revision_check(context.connection, revisions.CREATE_CONTENT_TAGS), done]

    def plan(self, context: Context) -> Plan:
        """Return an empty plan: this phase only reads."""
        return Plan(self.name, (), note="reads only: compares every array with its junction rows")

    def apply(self, context: Context) -> Outcome:
        """Do nothing."""
        return Outcome(self.name, {"statements run": 0})

    def verify(self, context: Context) -> Verification:
        """Compare arrays and junction pair by pair, both ways."""
        found = compare_junction(context)
        return Verification(
            self.name, found.examined, found.mismatches, junction_figures(context), tuple(found.samples)
        )

    def require_undoable(self, context: Context) -> None:
        """Allow it always: there is nothing to take back but the record."""

    def undo(self, context: Context) -> Outcome:
        """Do nothing."""
        return Outcome(self.name, {"statements run": 0})
