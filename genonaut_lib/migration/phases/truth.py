"""Which of the two representations of an item's tags is the truth: the array, or since the cut over the junction."""

from __future__ import annotations

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.plan import Check, Plan, Probe, Verification, probe
from genonaut_lib.vocabulary import ContentSource

REFUSAL = "refuse_tags_on_update"
NOTE = "done: the junction is the truth since the cut over"


def refusal(*, wanted: bool = True) -> Probe:
    """Return the probe for the trigger that makes the arrays read-only; it comes and goes on both tables at once."""
    return probe("has_trigger", ContentSource.REGULAR.table, wanted, trigger=REFUSAL)


def junction_is_truth(connection: Connection) -> bool:
    """Return whether the arrays are read-only.

    The catalogue is asked, not the revision: a start killed between the switch and the writing of its
    revision has switched all the same.
    """
    return refusal().holds(connection)


def settled_check() -> Check:
    """Return the check that stands in for looking at the arrays."""
    return Check("truth", True, NOTE)


def settled_plan(phase: str) -> Plan:
    """Return the empty plan of a phase that fed the junction from the arrays."""
    return Plan(phase, (), note=NOTE)


def settled(phase: str) -> Verification:
    """Return the verification of a phase that compared the junction with the arrays, now stale: nothing examined."""
    return Verification(phase, 0, 0, {"note": NOTE})
