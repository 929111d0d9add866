"""One gallery with clean and dirty content in both sources, as it is before each phase; tests get copies."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from genonaut_lib.migration.phases import PHASES, Context
from tests.databases import prepared
from tests.factories import Gallery
from tests.migration.test_phases import apply, fill

END = "end"
"""After the last phase."""


@dataclass
class Stages:
    """The databases before each phase, each made from the one before it when it is first asked for."""

    admin_url: str
    adopted: str
    stack: ExitStack
    names: dict[str, str] = field(default_factory=dict)

    def before(self, phase: str) -> str:
        """Return the name of the database in which every phase before this one was applied and verified."""
        if phase not in self.names:
            self.names[phase] = self.stack.enter_context(self._made(phase))
        return self.names[phase]

    def _made(self, phase: str) -> AbstractContextManager[str]:
        phases = [*PHASES, END]
        place = phases.index(phase)
        if place == 0:
            return prepared(self.admin_url, _filled, self.adopted)
        last = phases[place - 1]
        return prepared(self.admin_url, lambda context: apply(context, last), self.before(last))


def _filled(context: Context) -> None:
    fill(Gallery(context.connection))
