"""What a notebook calls: one object a run, one method a room.

run = open_run("12_backfill_tag_uuids", environment, dry_run=dry_run)
run.preflight()
run.plan()
run.apply()
run.verify()
run.summary()
"""

from __future__ import annotations

import dataclasses
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import translated
from genonaut_lib.errors import PlanChanged, VerificationFailed
from genonaut_lib.migration import approvals, decisions, revisions
from genonaut_lib.migration.backfill import Progress
from genonaut_lib.migration.phases import BY_NOTEBOOK, Context, Phase
from genonaut_lib.migration.phases.base import require
from genonaut_lib.migration.plan import Outcome, Plan, Verification
from genonaut_lib.migration.preview import preflight_checks, preview_of
from genonaut_lib.migration.runner import apply_plan, verify_phase
from genonaut_lib.runs import views
from genonaut_lib.runs.views import View
from genonaut_lib.settings import Settings, load_settings

RUN_VARIABLE = "GENONAUT_RUN_ID"


@dataclass
class NotebookRun:
    """A notebook at work on one phase: shows each room, refuses what the room before did not allow."""

    phase: Phase
    context: Context
    dry_run: bool
    shown: Plan | None = None
    outcome: Outcome | None = None
    verification: Verification | None = None

    def _repr_html_(self) -> str:
        return self._header()._repr_html_()

    def __repr__(self) -> str:
        return repr(self._header())

    def preflight(self) -> View:
        """Show the preconditions; raise CheckFailed when one does not hold."""
        with translated():
            checks = preflight_checks(self.phase, self.context)
            view = views.checks_view(checks)
            if not all(check.holds for check in checks):
                show(view)
                require(checks)
        return view

    def plan(self) -> View:
        """Show what would be done and what it will cost, statement by statement; nothing but the ledger is written.

        A plan that cannot be taken back is recorded with its run, for a second person to approve.
        """
        with translated():
            self.shown = self.phase.plan(self.context)
            view = views.plan_view(self.shown, preview_of(self.shown, self.context))
            if not approvals.concerns(self.phase, self.shown):
                return view
            approvals.record_plan(self.context, self.shown)
        return dataclasses.replace(view, remark=f"{view.remark} {self._asked(self.shown)}")

    def apply(self) -> View:
        """Do what the shown plan says; with `dry_run`, say that nothing was done.

        Raises PlanChanged and ApprovalMissing before anything was done.
        """
        if self.shown is None:
            raise PlanChanged("No plan was shown yet.", hint="Run the plan cell first.")
        if self.dry_run:
            return View("Dry run: nothing was applied", remark="Set dry_run = False to apply the plan above.")
        with translated():
            guard.require_adopted(self.context.connection, self.context.settings)
            self.outcome = apply_plan(self.phase, self.context, self.shown)
        return views.outcome_view(self.outcome)

    def verify(self) -> View:
        """Compare what is there with what should be; raise VerificationFailed when it differs.

        A dry run compares nothing: the finding would be written into the ledger.
        """
        if self.dry_run:
            return View("Dry run: nothing was compared", remark="With dry_run = False the finding goes to the ledger.")
        with translated():
            self.verification = verify_phase(self.phase, self.context)
        view = views.verification_view(self.verification)
        if not self.verification.passed:
            show(view)
            raise VerificationFailed(
                f"{self.phase.title}: {self.verification.mismatches} mismatches.",
                hint="The first of them stand above; nothing that depends on this phase will run.",
            )
        return view

    def summary(self) -> View:
        """Show how the phase ended and what it left behind."""
        applied = {} if self.outcome is None else dict(self.outcome.figures)
        found = {} if self.verification is None else dict(self.verification.figures)
        verdict = "dry run" if self.verification is None else "verified"
        return views.figures_view(f"{self.phase.title}: {verdict}", applied | found)

    def chart(self, title: str, prefix: str, unit: str) -> views.Chart:
        """Plot the figures of the verification whose name begins with `prefix`."""
        figures = {} if self.verification is None else self.verification.figures
        chosen = {name.removeprefix(prefix).strip(): v for name, v in figures.items() if name.startswith(prefix)}
        return views.bar_chart(title, {name: float(v) for name, v in chosen.items()}, unit)

    def decisions(self) -> View:
        """Show what was decided about dirty data, and how often."""
        with translated():
            return views.decisions_view(decisions.summary(self.context.connection))

    def decisions_chart(self) -> views.Chart:
        """Plot how many elements each decision concerned."""
        with translated():
            return views.decisions_chart(decisions.summary(self.context.connection))

    def _asked(self, plan: Plan) -> str:
        """Return the plan's whole digest and, where a second person is asked for, what that one types."""
        settings, run_id = self.context.settings, self.context.run_id
        said = f"Plan digest {plan.digest}."
        if not settings.approval.required:
            return said
        if run_id is None:
            return f"{said} It wants a second person's approval, of a dry run by `genonaut run`."
        if not self.dry_run:
            return f"{said} It wants a second person's approval."
        return f"{said} It wants a second person's approval: {approvals.command(run_id, settings.environment)}"

    def _header(self) -> View:
        connection = self.context.connection
        figures = {
            "environment": self.context.settings.environment,
            "schema revision": revisions.current(connection) or "none",
            "PostgreSQL": engine.facts(connection).version // 10_000,
            "mode": "dry run" if self.dry_run else "apply",
        }
        return views.figures_view(self.phase.title, figures)


def open_run(notebook: str, environment: str = "", *, dry_run: bool = True, **options: Any) -> NotebookRun:
    """Return the run of a phase's notebook on an environment's database.

    `options` are the phase's own fields (`confirm`, for one). Raises what `connect` and the guard
    raise; a dry run asks only for a database that can be read.
    """
    phase = BY_NOTEBOOK[notebook]
    if options:
        phase = dataclasses.replace(phase, **options)  # type: ignore[type-var]  # every phase is a dataclass
    settings = settings_of(environment)
    with translated():
        connection = engine.connect(settings, writing=not dry_run)
        if not dry_run:
            guard.require_adopted(connection, settings)
    bars = ProgressBars()
    return NotebookRun(phase, Context(connection, settings, current_run_id(), bars.show), dry_run)


def settings_of(environment: str) -> Settings:
    """Return the settings of a notebook's `environment` parameter; empty means the process's own."""
    return load_settings(environment or None)


def current_run_id() -> uuid.UUID | None:
    """Return the id the runner gave this kernel, or None in an interactive session."""
    text = os.environ.get(RUN_VARIABLE)
    return uuid.UUID(text) if text else None


def show(view: View) -> None:
    """Show a view before the cell ends (an error may follow)."""
    from IPython.display import display

    display(view)  # type: ignore[no-untyped-call]  # IPython ships no types for it


@dataclass
class ProgressBars:
    """Progress of a backfill as one bar a source, written where the notebook shows it."""

    bars: dict[str, Any] = field(default_factory=dict)
    make: Callable[..., Any] = tqdm

    def show(self, progress: Progress) -> None:
        """Move the bar of the progress's source."""
        name = f"{progress.task} {progress.source}"
        bar = self.bars.get(name)
        if bar is None:
            bar = self.bars[name] = self.make(
                total=progress.rows_total,
                initial=0,
                desc=name,
                unit="items",
                mininterval=1.0,
                file=sys.stdout,
            )
        bar.set_postfix_str(_state_of(progress), refresh=False)
        bar.update(progress.rows_read - bar.n)
        if progress.rows_read >= progress.rows_total:
            bar.close()


def _state_of(progress: Progress) -> str:
    """Return what stands behind a bar: rows changed, the time left, and why the work waits, if it does."""
    parts = [f"{progress.counted}={progress.rows_changed:,}"]
    if progress.held:
        parts.append(f"waiting: {'; '.join(progress.held)}")
    elif progress.eta_s is not None:
        parts.append(f"left={tqdm.format_interval(progress.eta_s)}")
    return ", ".join(parts)
