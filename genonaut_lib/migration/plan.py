"""Plans as values: what a phase would do, statement by statement, decided apart from doing it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block, block

WHOLE = 100.0
"""The coverage of a verification that left nothing out, in percent."""
_NO_TRANSACTION = re.compile(r"^vacuum\b|\bindex concurrently\b|\bdetach partition [^;]+ concurrently\b", re.IGNORECASE)


@dataclass(frozen=True)
class Probe:
    """A question to the catalogue that a boolean answers."""

    question: Block
    values: Mapping[str, str]
    wanted: bool = True

    def holds(self, connection: Connection) -> bool:
        """Return whether the catalogue answers as wanted."""
        row = connection.execute(self.question.sql(), self.values).fetchone()
        assert row is not None
        return bool(row[0]) is self.wanted


def probe(question: str, relation: str, wanted: bool = True, **values: str) -> Probe:
    """Return the probe that asks the catalogue block `question` about `relation`."""
    return Probe(block("catalog", question), {"relation": relation, **values}, wanted)


@dataclass(frozen=True)
class Requirement:
    """A question to the catalogue whose rows name what a statement lacks; no row means nothing does.

    `next_step` says what to do about it.
    """

    question: Block
    values: Mapping[str, str]
    next_step: str

    def missing(self, connection: Connection) -> list[str]:
        """Return what is missing, in words."""
        return [str(row[0]) for row in connection.execute(self.question.sql(), self.values).fetchall()]


@dataclass(frozen=True)
class Action:
    """One statement of a plan; `source` is the named block it was made of.

    Any probe of `done` that holds tells that it was carried out already, which makes a half-done plan
    go on where it stopped; a statement without probes is harmless to repeat. `transactional` is False
    for statements PostgreSQL refuses inside a transaction block. `requires` is asked right before the
    statement, which is not sent while something is missing. `waits` is how many locks it may have to
    wait for one after the other while others wait behind it; they share one lock timeout.
    """

    id: str
    statement: sql.Composed
    lock: str
    why: str = ""
    source: Block | None = field(default=None, compare=False, repr=False)
    reversible: bool = True
    transactional: bool = True
    done: tuple[Probe, ...] = ()
    requires: tuple[Requirement, ...] = ()
    waits: int = 1

    @property
    def patient(self) -> bool:
        """Whether no reader or writer waits behind it, so that it may wait long."""
        return not self.transactional and "ACCESS EXCLUSIVE" not in self.lock

    @property
    def text(self) -> str:
        """The statement as it is sent, identifiers quoted."""
        return self.statement.as_string(None)

    def is_done(self, connection: Connection) -> bool:
        """Return whether the catalogue shows the statement's effect."""
        return any(probe.holds(connection) for probe in self.done)


def action(
    id: str,
    source: Block,
    /,
    *,
    done: Probe | tuple[Probe, ...] = (),
    reversible: bool = True,
    requires: tuple[Requirement, ...] = (),
    waits: int = 1,
    **identifiers: Any,
) -> Action:
    """Return the action that runs a named block; lock and reason come from the block's own header."""
    return Action(
        id=id,
        statement=source.sql(**identifiers),
        lock=source.lock,
        why=source.why,
        source=source,
        reversible=reversible,
        transactional=not _NO_TRANSACTION.search(source.text),
        done=(done,) if isinstance(done, Probe) else done,
        requires=requires,
        waits=waits,
    )


@dataclass(frozen=True)
class Plan:
    """What is left to do of a phase.

    `facts` are figures for the reader (rows, bytes); they are not part of the digest, since they
    change while people write to the gallery. `note` says why a plan is empty.
    """

    phase: str
    actions: tuple[Action, ...]
    facts: Mapping[str, int | str] = field(default_factory=dict)
    note: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over `content` in canonical form, in hex: two plans with one digest do the same."""
        return content_digest(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """What the plan does as a JSON object: the phase, and of each action id, lock, statement, reversibility.

        Nothing in it changes with rows, statistics or estimates.
        """
        steps = [
            {"id": step.id, "lock": step.lock, "statement": step.text, "reversible": step.reversible}
            for step in self.actions
        ]
        return {"phase": self.phase, "actions": steps}


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the digest of a plan's content, the same before it goes into the ledger's jsonb and after."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Check:
    """One precondition: what was looked at, whether it holds, and what was found."""

    subject: str
    holds: bool
    finding: str


@dataclass(frozen=True)
class Outcome:
    """What applying or undoing a plan did: figures by name, in the order they should be read."""

    phase: str
    figures: Mapping[str, int | float | str]


@dataclass(frozen=True)
class Verification:
    """What was compared: `examined` things, of which `mismatches` differed, the first few in `samples`.

    `coverage` is the share of what there is to compare that was compared, in percent; `started_at` when
    that began, None for a look that takes no time.
    """

    phase: str
    examined: int
    mismatches: int
    figures: Mapping[str, int | str] = field(default_factory=dict)
    samples: tuple[str, ...] = ()
    coverage: float = 100.0
    started_at: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether everything was looked at and nothing differed."""
        return self.mismatches == 0 and self.coverage >= WHOLE
