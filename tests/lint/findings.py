"""What a rule is and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Place:
    """Where a statement stands: its file, its block (empty outside sql/), and what runs it.

    `sender` is the Python file and the line that sends it, where that is known.
    """

    file: str
    block: str
    step: str
    sender: tuple[str, str] | None = None


@dataclass(frozen=True)
class Breach:
    """One statement that a rule forbids, and what is wrong with it."""

    place: Place
    statement: str
    problem: str


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """A rule of our own: what it is called, why it is there, how a breach is mended."""

    name: str
    why: str
    mend: str
    check: Callable[[Subject], Iterator[Breach]]

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Yield a finding for each breach in `subject`."""
        for breach in self.check(subject):
            yield Finding(self.name, breach.place, breach.statement, breach.problem, self.mend)


@dataclass(frozen=True)
class Finding:
    """One breach of one rule, with all that a reader needs to mend it."""

    rule: str
    place: Place
    statement: str
    problem: str
    mend: str

    def __str__(self) -> str:
        block = f" block {self.place.block}" if self.place.block else ""
        head = f"{self.place.file}{block} ({self.place.step}): {self.rule}: {self.problem}"
        statement = " ".join(self.statement.split())
        shown = statement if len(statement) <= 160 else f"{statement[:157]}..."
        return f"{head}\n    {shown}\n    {self.mend}"
