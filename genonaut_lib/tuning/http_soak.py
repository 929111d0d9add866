"""Whether the service's memory stays what it is while clients ask for a long time."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from genonaut_lib.tuning.bitmap_effort import Found, spread
from genonaut_lib.tuning.http_client import load
from genonaut_lib.tuning.http_effort import Ground
from genonaut_lib.tuning.http_questions import soak_paths
from genonaut_lib.tuning.race import TELL_EVERY_S

FLAT_SHARE = 0.02
"""A process grows if the line through what it took in the second half rises by more than this part of it."""
SAMPLES = 120
SHORTEST_SLICE_S = 0.25
EXPECTED = {200, 400}
"""Pages, and refusals of the unknown tags that are asked for on purpose."""
MEBI = 2**20


@dataclass
class _Watched:
    """Resident memory of a process: seconds since the start, and bytes."""

    seconds: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)

    @property
    def rise(self) -> float:
        """Bytes by which the line through the second half rises from its first sample to its last."""
        half = len(self.seconds) // 2
        seconds, resident = np.array(self.seconds[half:]), np.array(self.resident[half:], dtype=float)
        if len(seconds) < 2:
            return 0.0
        slope = float(np.polyfit(seconds - seconds[0], resident, 1)[0])
        return slope * float(seconds[-1] - seconds[0])

    def figures(self) -> dict[str, float | bool]:
        """Return what became of the memory, in mebibytes."""
        half = len(self.seconds) // 2
        return {
            "first_mib": round(self.resident[0] / MEBI, 1),
            "half_way_mib": round(self.resident[half] / MEBI, 1),
            "last_mib": round(self.resident[-1] / MEBI, 1),
            "rise_mib": round(self.rise / MEBI, 2),
            "flat": self.rise <= FLAT_SHARE * self.resident[half],
        }


def measure_soak(ground: Ground) -> Found:
    """Ask many different questions, and look at the memory of every process of the service after each slice of time.

    The first half is for caches to fill. Clients connect anew for every slice.
    """
    paths, seconds = soak_paths(ground), ground.effort.soak_s
    slice_s = max(SHORTEST_SLICE_S, seconds / SAMPLES)
    watched: dict[int, _Watched] = {}
    statuses, times, told = Counter[int](), list[float](), 0.0
    started = time.monotonic()
    while (gone := time.monotonic() - started) < seconds:
        tally = load(ground.service.address, _turned(paths, statuses.total()), ground.effort.clients, slice_s)
        statuses += tally.statuses
        times += tally.times
        _look(ground, watched, time.monotonic() - started)
        if gone - told >= TELL_EVERY_S:
            ground.say(f"  {gone:,.0f} of {seconds:,.0f} s, {statuses.total():,} answers")
            told = gone
    return _report(watched, statuses, times)


def _turned(paths: list[str], done: int) -> list[str]:
    """Return the paths beginning with the one that comes after `done` answers."""
    place = done % len(paths)
    return paths[place:] + paths[:place]


def _look(ground: Ground, watched: dict[int, _Watched], seconds: float) -> None:
    for process in ground.service.processes:
        one = watched.setdefault(process.pid, _Watched())
        one.seconds.append(seconds)
        one.resident.append(process.memory_info().rss)


def _report(watched: dict[int, _Watched], statuses: Counter[int], times: list[float]) -> Found:
    processes = [one.figures() for one in watched.values()]
    figures = {
        "flat": all(one["flat"] for one in processes),
        "rise_mib": max(one["rise_mib"] for one in processes),
        "last_mib": sum(one["last_mib"] for one in processes),
        "answers": statuses.total(),
        "other_statuses": sum(number for status, number in statuses.items() if status not in EXPECTED),
        **spread("answer", times),
    }
    samples = {str(pid): [round(each / MEBI, 1) for each in one.resident] for pid, one in watched.items()}
    details = {"rows": processes, "samples_mib": samples, "statuses": {str(key): n for key, n in statuses.items()}}
    return Found(figures, {"flat": 1}, details)
