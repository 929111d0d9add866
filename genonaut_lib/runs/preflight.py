"""What 00_preflight looks at: is this a gallery, may we, will it fit, is anybody in the way."""

from __future__ import annotations

from genonaut_lib.db import disk, engine, guard
from genonaut_lib.db.engine import Connection, translated
from genonaut_lib.db.statements import block
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases.base import require, table_facts
from genonaut_lib.migration.plan import Check
from genonaut_lib.migration.tables import size_of
from genonaut_lib.runs import views
from genonaut_lib.runs.session import settings_of, show
from genonaut_lib.runs.views import View
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

GROWTH = 3
"""The finished schema needs up to this many times the legacy tables' bytes (measured: 2.4 on the dense shape)."""


class Preflight:
    """The look around before a migration; it writes nothing to the gallery."""

    def __init__(self, environment: str = "") -> None:
        self.settings = settings_of(environment)
        with translated():
            self.connection = engine.connect(self.settings, writing=False)

    def server(self) -> View:
        """Show what server and database this is."""
        facts = engine.facts(self.connection)
        figures = {
            "environment": self.settings.environment,
            "PostgreSQL": facts.version // 10_000,
            "database": facts.database,
            "is": guard.kind_of(self.connection).value,
            "schema revision": revisions.current(self.connection) or "none",
        }
        return views.figures_view("Server", figures)

    def tables(self) -> View:
        """Show rows and size of the content tables."""
        with translated():
            return views.figures_view("Content", table_facts(self.connection))

    def checks(self) -> View:
        """Show everything a migration needs; raise CheckFailed when something is missing."""
        with translated():
            checks = preflight_checks(self.connection, self.settings)
        view = views.checks_view(checks)
        if not all(check.holds for check in checks):
            show(view)
            require(checks)
        return view


def preflight_checks(connection: Connection, settings: Settings) -> list[Check]:
    """Return the checks: kind of database, environment, ownership, disk, long transactions, primary."""
    kind = guard.kind_of(connection)
    marked = guard.marked_environment(connection)
    strangers = [str(row[0]) for row in connection.execute(block("catalog", "not_owned").sql()).fetchall()]
    waiting = connection.execute(block("catalog", "long_transactions").sql()).fetchall()
    names = "; ".join(f"pid {pid} ({user}, {seconds} s)" for pid, user, seconds in waiting)
    return [
        Check("a gallery", kind in (guard.Kind.MARKED_GALLERY, guard.Kind.UNMARKED_GALLERY), kind.value),
        Check(
            "environment", marked in (None, settings.environment), marked or "not marked; `genonaut adopt` comes next"
        ),
        Check("owner of the tables", not strangers, ", ".join(strangers) or "yes"),
        Check("primary, not a replica", not engine.facts(connection).in_recovery, "accepts writes"),
        Check("no transaction older than a minute", not waiting, names or "none"),
        _disk_check(connection),
    ]


def _disk_check(connection: Connection) -> Check:
    """Compare free disk with what the whole migration needs; the disk of a server elsewhere cannot be seen."""
    needed = sum(size_of(connection, source.table).total_bytes * GROWTH for source in ContentSource)
    free = disk.free_bytes(connection)
    if free is None:
        return Check("disk", True, f"needs up to {needed / 1e6:,.0f} MB; free space {disk.UNKNOWN}")
    return Check("disk", free > needed, f"needs up to {needed / 1e6:,.0f} MB, {free / 1e9:,.0f} GB free")
