"""How many answers a second several clients get, of the service and of the baseline in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from genonaut_lib.errors import CheckFailed
from genonaut_lib.tuning.bitmap_effort import Found, over
from genonaut_lib.tuning.http_client import Client, Tally, load
from genonaut_lib.tuning.http_effort import PATIENCE_MS, Ground
from genonaut_lib.tuning.http_latency import OK
from genonaut_lib.tuning.http_questions import PLAIN_PAGE, by_name, hard_questions
from genonaut_lib.tuning.http_servers import Served
from genonaut_lib.tuning.race import percentile

TARGETS = {"grid_over_baseline": 2.0, "page_over_baseline": 2.0}
"""The least there should be."""
WARM_UP_S = 1.0


@dataclass
class _Rounds:
    """The rounds of one server: answers a second, milliseconds of each answer, processor time, other statuses."""

    per_second: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    others: int = 0

    def take(self, tally: Tally, cpu_seconds: float) -> None:
        self.per_second.append(tally.per_second)
        self.times += tally.times
        self.cpu_seconds += cpu_seconds
        self.others += tally.statuses.total() - tally.statuses[OK]

    def figures(self, prefix: str) -> dict[str, float]:
        return {
            f"{prefix}_per_second": round(percentile(self.per_second, 0.5), 1),
            f"{prefix}_p50_ms": round(percentile(self.times, 0.5), 2),
            f"{prefix}_p99_ms": round(percentile(self.times, 0.99), 2),
            f"{prefix}_cpu_ms_each": round(1000 * self.cpu_seconds / len(self.times), 3),
            f"{prefix}_other_statuses": self.others,
        }


def measure_throughput(ground: Ground) -> Found:
    """Let clients ask both servers in turn: the questions the baseline is quick about, and the plainest page.

    Raises CheckFailed where the baseline is quick about no question at all.
    """
    found = Found(targets=dict(TARGETS))
    for name, paths in (("grid", _quick_questions(ground)), ("page", [PLAIN_PAGE])):
        ground.say(f"  {name}: {len(paths)} questions, {ground.effort.clients} clients")
        service, baseline = _raced(ground, paths)
        pairs = zip(service.per_second, baseline.per_second, strict=True)
        ratios = [ratio for one, other in pairs if (ratio := over(one, other)) is not None]
        found.figures |= {
            f"{name}_over_baseline": percentile(ratios, 0.5) if ratios else None,
            f"{name}_questions": len(paths),
            **service.figures(f"{name}_service"),
            **baseline.figures(f"{name}_baseline"),
        }
        found.details[f"{name}_ratios"] = ratios
    return found


def _quick_questions(ground: Ground) -> list[str]:
    """Return the paths of the questions that the baseline answers soon, each asked once where that is not known."""
    paths, known = by_name(hard_questions(ground)), ground.baseline_ms
    with Client(ground.baseline.address) as client:
        for name, path in paths.items():
            if name not in known:
                known[name] = client.get(path).milliseconds
    quick = [path for name, path in paths.items() if known[name] <= PATIENCE_MS]
    if not quick:
        problem = f"The baseline answers none of {len(paths)} questions within {PATIENCE_MS:.0f} ms."
        raise CheckFailed(problem, hint="Measure a smaller gallery, or more questions.")
    return quick


def _raced(ground: Ground, paths: Sequence[str]) -> tuple[_Rounds, _Rounds]:
    """Load one server after the other, and the other first in every second round."""
    service, baseline = (ground.service, _Rounds()), (ground.baseline, _Rounds())
    for server, _ in (service, baseline):
        load(server.address, paths, ground.effort.clients, WARM_UP_S)
    for turn in range(ground.effort.rounds):
        for server, rounds in (service, baseline) if turn % 2 == 0 else (baseline, service):
            rounds.take(*_loaded(ground, server, paths))
    return service[1], baseline[1]


def _loaded(ground: Ground, server: Served, paths: Sequence[str]) -> tuple[Tally, float]:
    before = server.cpu_seconds()
    tally = load(server.address, paths, ground.effort.clients, ground.effort.round_s)
    return tally, server.cpu_seconds() - before
