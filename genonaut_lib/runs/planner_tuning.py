"""What 60_tune_planner calls: sweep, fit, propose, adopt."""

from __future__ import annotations

from genonaut_lib.db.engine import translated
from genonaut_lib.errors import InvalidInput
from genonaut_lib.runs import tuning_views
from genonaut_lib.runs.session import settings_of, show
from genonaut_lib.runs.views import Chart, View, figures_view
from genonaut_lib.settings import project_root
from genonaut_lib.tuning import params_file, planner_fit
from genonaut_lib.tuning.gallery_bench import Effort
from genonaut_lib.tuning.planner_fit import Fit, Sweep
from genonaut_lib.tuning.proposal import Proposal


class PlannerTuning:
    """One tuning of an environment's planner: measured on its database, adopted into its params file."""

    def __init__(self, environment: str, queries: int, repeats: int, timeout_s: float, seed: int) -> None:
        self.settings = settings_of(environment)
        self.effort = Effort(queries=queries, repeats=repeats, timeout_s=timeout_s, seed=seed)
        self.settings_file = project_root() / "params" / f"{self.settings.environment}.yaml"
        self.swept: Sweep | None = None
        self.fits: dict[str, Fit] = {}
        self.proposal: Proposal | None = None

    def __repr__(self) -> str:
        return repr(self._header())

    def _repr_html_(self) -> str:
        return self._header()._repr_html_()

    def sweep(self) -> View:
        """Measure the watched queries under every strategy."""
        with translated():
            self.swept = planner_fit.sweep(self.settings, self.effort)
        return tuning_views.sweep_view(self.swept.contests)

    def fit(self) -> View:
        """Fit every strategy's coefficients to what was measured."""
        self.fits = planner_fit.fit_all(self._measured().observations(), self.settings.planner.coefficients)
        return tuning_views.fits_view(self.fits)

    def predictions(self) -> Chart:
        """Plot predicted against measured times."""
        return tuning_views.predictions_chart(self._measured().observations(), self.fits)

    def propose(self) -> View:
        """Show what the proposed knobs would be worth; nothing is written.

        Queries that seem to become slower are measured once more before that is said.
        """
        with translated():
            self.proposal = planner_fit.settle(self.settings, self._measured(), self.fits, self.effort)
        return tuning_views.proposal_view(self.proposal)

    def regrets(self) -> Chart:
        """Plot the choices' times over the best strategy's, before and after."""
        return tuning_views.regrets_chart(self._proposed())

    def adopt(self, adopt: bool) -> View:
        """Show the change of the params file and, with `adopt`, write it.

        Raises ProposalRefused, with nothing written, where a watched query would become over 5 % slower.
        """
        proposal = self._proposed()
        if not proposal.changes:
            return tuning_views.diff_view("Nothing to adopt", "")
        if not adopt:
            diff = params_file.preview(self.settings_file, proposal)
            return tuning_views.diff_view("Not adopted: set adopt = True to write this", diff)
        params_file.adopt(self.settings_file, proposal, lambda diff: show(tuning_views.diff_view("Change", diff)))
        return View(f"Adopted into {self.settings_file.name}", remark="Commit it with the reason for it.")

    def _measured(self) -> Sweep:
        if self.swept is None:
            raise InvalidInput("Nothing was measured yet.", hint="Run the cell that measures first.")
        return self.swept

    def _proposed(self) -> Proposal:
        if self.proposal is None:
            raise InvalidInput("Nothing was proposed yet.", hint="Run the cell that proposes first.")
        return self.proposal

    def _header(self) -> View:
        figures = {
            "environment": self.settings.environment,
            "params file": self.settings_file.name,
            "planner mode": str(self.settings.planner.mode),
            "queries of the grid": self.effort.queries,
            "repeats": self.effort.repeats,
            "limit of one statement, s": self.effort.timeout_s,
        }
        return figures_view("Tuning the planner", figures)
