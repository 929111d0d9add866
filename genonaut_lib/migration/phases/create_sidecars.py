"""Stand-in for the phase of revision 0008; does nothing."""

from __future__ import annotations

from dataclasses import dataclass

from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases.base import SchemaPhase
from genonaut_lib.migration.plan import Action


@dataclass(frozen=True)
class CreateSidecars(SchemaPhase):
    """Stand-in."""

    name: str = "create_sidecars"
    title: str = "Stand-in"
    notebook: str = "31_create_sidecars"
    revision: str = revisions.CREATE_SIDECARS
    before: str = revisions.ATTACH_PARTITIONS

    def actions(self) -> list[Action]:
        """Nothing."""
        return []

    def undo_actions(self) -> list[Action]:
        """Nothing."""
        return []
