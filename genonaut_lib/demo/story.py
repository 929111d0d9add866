"""Load, measure, migrate, measure, report: what `make demo` does, one screen at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import JustifyMethod
from rich.panel import Panel
from rich.table import Table

from genonaut_lib.content import generation, seeding
from genonaut_lib.db import embedded, engine, guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import VerificationFailed, WrongEnvironment
from genonaut_lib.migration import adoption, ledger
from genonaut_lib.migration.phases import PHASES
from genonaut_lib.runs import pipelines
from genonaut_lib.runs.pipelines import StepReport
from genonaut_lib.settings import Settings, load_settings, project_root
from genonaut_lib.tuning import bench

ENVIRONMENT = "demo"
PIPELINE = "migrate_measured"
DENSE_ITEMS, SEED = 20_000, 1
VERIFIED = ("seed_tags", "backfill_tag_uuids", "backfill_content_tags", "verify_content_tags", "attach_partitions")

Print = Callable[[Any], None]


def tell(show: Print) -> None:
    """Run the demo and show its screen; stops the embedded servers it started, raises what its steps raise."""
    settings = load_settings(ENVIRONMENT)
    if settings.database_url is not None or settings.redis_url is not None:
        raise WrongEnvironment(
            "The demo fills and migrates a database, so it runs on the embedded servers only.",
            hint="Unset DATABASE_URL and REDIS_URL for it; `genonaut pipeline migrate` is for a database of your own.",
        )
    were_up = any(server.pid for server in embedded.status(ENVIRONMENT))
    started = time.monotonic()
    try:
        engine.connect_redis(settings).close()
        with engine.session(settings) as connection:
            _load(connection, settings, show)
            show("Migrating through the notebooks")
            pipelines.run_pipeline(settings, PIPELINE, lambda report: show(_step_line(report)))
            _screen(connection, settings, show, time.monotonic() - started)
    finally:
        if not were_up:
            embedded.stop(ENVIRONMENT)


def _load(connection: Connection, settings: Settings, show: Print) -> None:
    guard.require_ours(connection, settings)
    adoption.adopt(connection, settings)
    show("Loading content")
    rejects = project_root() / "outputs" / ENVIRONMENT / "rejects"
    real = seeding.load(connection, seeding.debian_file(), rejects)
    show(f"  {real.items_loaded:,} Debian packages, {real.lines_rejected} lines rejected{_again(real.repeated)}")
    made = generation.generate(connection, generation.SHAPES["dense"], DENSE_ITEMS, SEED)
    show(f"  {made.items:,} synthetic items, 75 tags each{_again(made.repeated)}")


def _again(repeated: bool) -> str:
    return " (loaded before)" if repeated else ""


def _step_line(report: StepReport) -> str:
    ended = f"{report.result.seconds:5.1f} s" if report.result else "done before"
    return f"  {report.number:2}/{report.of}  {report.step.key:26} {ended}"


def _screen(connection: Connection, settings: Settings, show: Print, seconds: float) -> None:
    show("")
    show(_verified_table(connection))
    show(_unmapped_line(connection))
    show("")
    show(_gallery_table(connection))
    where = project_root() / "outputs" / settings.environment
    show(
        Panel(
            f"Records (executed notebooks and their HTML): {where}\n"
            f"All runs on one page: {where / 'index.html'}\n"
            f"What ran: genonaut runs --env demo\n"
            f"Ask the gallery: genonaut gallery --tag role::program --env demo\n"
            f"Step through it yourself: make lab",
            title=f"Done in {seconds:.0f} s",
            title_align="left",
        )
    )


def _verified_table(connection: Connection) -> Table:
    table = Table(title="Migrated and verified", title_justify="left", box=None, header_style="bold")
    for column in ("notebook", "examined", "mismatches", "what"):
        justify: JustifyMethod = "right" if column in ("examined", "mismatches") else "left"
        table.add_column(column, justify=justify, no_wrap=column == "notebook")
    for name in VERIFIED:
        record = ledger.last_verification(connection, name)
        if record is None or not record.passed:
            raise VerificationFailed(f"Phase {name} is not verified in this database.")
        figures = ", ".join(f"{key} {value:,}" for key, value in record.details.items() if isinstance(value, int))
        table.add_row(PHASES[name].notebook, f"{record.examined:,}", str(record.mismatches), figures)
    return table


def _unmapped_line(connection: Connection) -> str:
    rows = connection.execute(block("backfill_tag_uuids", "unmapped_by_reason").sql()).fetchall()
    total = sum(row[1] for row in rows)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count, _, _ in rows)
    return f"Elements that became no tag, kept in workbench.unmapped_tags: {total:,} ({reasons})"


def _gallery_table(connection: Connection) -> Table:
    table = Table(title="Gallery, first page of 25, ms", title_justify="left", box=None, header_style="bold")
    columns = ("question", "faster", "p50 before", "p50 after", "p95 before", "p95 after", "same")
    for column in columns:
        table.add_column(column, justify="left" if column in ("question", "same") else "right", no_wrap=True)
    for pair in bench.comparisons(connection):
        times = (pair.before.p50_ms, pair.after.p50_ms, pair.before.p95_ms, pair.after.p95_ms)
        same = "yes" if pair.same_rows else "timed out"
        table.add_row(pair.before.case.name, f"{pair.speedup:.1f}x", *(f"{time:.2f}" for time in times), same)
    return table
