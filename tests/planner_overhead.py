"""How long the planner takes, by hand: `python -m tests.planner_overhead`. No test: a busy machine is not a fault."""

from __future__ import annotations

import random
import statistics as figures
import time
import uuid
from collections.abc import Callable

from genonaut_lib.gallery.estimates import estimate
from genonaut_lib.gallery.feedback import Feedback
from genonaut_lib.gallery.planner import choose
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.gallery.statistics import Sample, SourceStatistics, Statistics
from genonaut_lib.settings import PlannerSettings
from genonaut_lib.vocabulary import ContentSource
from tests.paper import REFRESHED, TAGS

ROUNDS = 2_000


def gallery(size: int) -> Statistics:
    """Return statistics of a million items whose popular tags are in most items of samples of `size`."""
    draw = random.Random(1)
    shares = {tag: draw.uniform(0.5, 0.97) for tag in TAGS}
    carriers = {tag: sum(1 << bit for bit in range(size) if draw.random() < share) for tag, share in shares.items()}
    cardinalities = {tag: int(1_000_000 * share) for tag, share in shares.items()}
    one = SourceStatistics(1_000_000, cardinalities, Sample(size, (1 << size) - 1, carriers))
    return Statistics(dict.fromkeys(ContentSource, one), REFRESHED)


def microseconds(work: Callable[[], object]) -> str:
    """Return median and 99th percentile of the processor time of many runs."""
    taken = []
    for _ in range(ROUNDS):
        started = time.thread_time_ns()
        work()
        taken.append((time.thread_time_ns() - started) / 1_000)
    return f"p50 {figures.median(taken):6.1f} us, p99 {figures.quantiles(taken, n=100)[98]:6.1f} us"


def main() -> None:
    """Print the figures for samples of several sizes, with few tags and with the most a query may have."""
    knobs, feedback = PlannerSettings(), Feedback()
    for size in (4_096, 16_384, 65_536):
        known = gallery(size)
        for tags in (1, 3, 20):
            # Ids of a request are equal to those of the statistics, never the same objects.
            query = GalleryQuery(tuple(uuid.UUID(int=tag.int) for tag in TAGS[:tags]), TagMatch.ALL)
            estimating = microseconds(lambda query=query, known=known: estimate(query, known))
            choosing = microseconds(lambda query=query, known=known: choose(query, known, knobs, feedback=feedback))
            print(f"sample {size:6,}, K {tags:2}: estimate {estimating}; choose {choosing}")  # noqa: T201  # its whole purpose


if __name__ == "__main__":
    main()
