"""What 62_benchmark_gallery calls: measure before, measure after, show both."""

from __future__ import annotations

from genonaut_lib.db import engine
from genonaut_lib.db.engine import translated
from genonaut_lib.errors import InvalidInput
from genonaut_lib.runs import views
from genonaut_lib.runs.session import settings_of
from genonaut_lib.runs.views import Chart, View
from genonaut_lib.tuning import bench


class GalleryBenchmark:
    """The canonical cases at one moment: `before` on the legacy path, `after` on the new one."""

    def __init__(self, environment: str, moment: str, repeats: int, timeout_s: float) -> None:
        if moment not in (bench.BEFORE, bench.AFTER):
            raise InvalidInput(f"moment is {moment!r}, and must be 'before' or 'after'.")
        if repeats < 1:
            raise InvalidInput(f"repeats is {repeats}, and must be at least 1.")
        self.moment, self.repeats, self.timeout_s = moment, repeats, timeout_s
        with translated():
            self.settings = settings_of(environment)
            self.connection = engine.connect(self.settings)
            # An application reads with the server's own setting, so the measurement does too.
            self.connection.execute("reset jit")

    def cases(self) -> View:
        """Show the questions that will be asked."""
        with translated():
            return views.cases_view(bench.cases_at(self.connection, self.moment))

    def measure(self) -> View:
        """Time every case; raise RowsDiffer when the new path shows other rows than the legacy one did."""
        with translated():
            if self.moment == bench.BEFORE:
                found = bench.measure_before(self.connection, self.repeats, self.timeout_s)
                return views.measurements_view("Legacy path, before the migration (ms)", found)
            return views.comparisons_view(self._after())

    def _after(self) -> list[bench.Comparison]:
        return bench.measure_after(self.connection, self.repeats, self.timeout_s, self.settings.planner)

    def chart(self) -> Chart | None:
        """Plot before and after, once there are both."""
        pairs = bench.comparisons(self.connection)
        return views.comparisons_chart(pairs) if pairs and self.moment == bench.AFTER else None
