"""What was decided about dirty data: the policies in force, and the count and place of every decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput, PolicyFixed
from genonaut_lib.migration import ledger
from genonaut_lib.migration.plan import Action, action
from genonaut_lib.migration.policies import Decision, DirtyKind, Policy, defaults, parse_policy, policy_text
from genonaut_lib.settings import nearest

FILE = "decisions"


@dataclass(frozen=True)
class DecisionCount:
    """How often something was decided about a kind.

    `spellings` distinct elements were counted `counted` times by the seeding; `elements` of `items` items
    were written down, each with its place, by the backfill (None for what was simply mapped).
    """

    kind: str
    decision: str
    spellings: int
    counted: int
    elements: int | None
    items: int | None


@dataclass(frozen=True)
class Quarantined:
    """An element that became no tag: where it stood (position from 1), why, and its JSON value."""

    source: str
    content_id: int
    position: int
    reason: str
    element: Any


def wanted(phase: str, text: str) -> Policy:
    """Return a phase's policy: what `text` names, the defaults for the rest; raise InvalidInput."""
    return defaults(phase) | parse_policy(text, phase)


def in_force(connection: Connection, phase: str) -> dict[DirtyKind, Decision]:
    """Return the policy that the ledger holds for a phase; empty before the phase was applied."""
    if not ledger.exists(connection):
        return {}
    rows = connection.execute(block(FILE, "policies").sql(), {"phase": phase}).fetchall()
    return {DirtyKind(kind): Decision(decision) for kind, decision in rows}


def decide(connection: Connection, phase: str, policy: Policy) -> None:
    """Write a phase's policy into the ledger."""
    for kind, decision in policy.items():
        values = {"kind": kind.value, "decision": decision.value, "phase": phase}
        connection.execute(block(FILE, "decide").sql(), values)


def forget(connection: Connection, phase: str) -> None:
    """Take a phase's policy out of the ledger."""
    connection.execute(block(FILE, "forget_policies").sql(phase=sql.Literal(phase)))


def forget_action(phase: str) -> Action:
    """Return the undo action that takes a phase's policy out of the ledger."""
    return action("forget:policies", block(FILE, "forget_policies"), phase=sql.Literal(phase))


def require_kept(connection: Connection, phase: str, text: str, undo: str) -> None:
    """Raise PolicyFixed where `text` names a decision other than the one acted upon.

    `undo` is the first phase to take back for another policy. Raises InvalidInput as the parser does.
    """
    kept = defaults(phase) | in_force(connection, phase)
    other = {kind: decision for kind, decision in parse_policy(text, phase).items() if kept[kind] != decision}
    if other:
        acted = policy_text({kind: kept[kind] for kind in other})
        raise PolicyFixed(
            f"The data was mapped with {acted}; {policy_text(other)} comes too late.",
            hint=f"Undo the phases down to {undo} (newest first: `genonaut undo {undo}`), then run again.",
        )


def summary(connection: Connection) -> list[DecisionCount]:
    """Return every decision with its counts, by kind; none before there is a ledger."""
    if not ledger.exists(connection):
        return []
    return [DecisionCount(*row) for row in connection.execute(block(FILE, "summary").sql()).fetchall()]


def quarantined(connection: Connection, reason: str | None, limit: int) -> list[Quarantined]:
    """Return the first elements in quarantine, of one reason or of all, by source, item and position.

    Raises InvalidInput for a reason that no element has.
    """
    known = [str(row[0]) for row in connection.execute(block(FILE, "reasons").sql()).fetchall()]
    if reason is not None and reason not in known:
        raise InvalidInput(
            f"Nothing is in quarantine for {reason!r}.",
            hint=f"{nearest(reason, known)}Reasons: {', '.join(known) or 'none'}.",
        )
    rows = connection.execute(block(FILE, "quarantined").sql(), {"reason": reason, "limit": limit}).fetchall()
    return [Quarantined(*row) for row in rows]
