"""`make mutants`: every mutant against the tests that claim to notice it, and a table of how it went.

Exit code 1 when fewer than nine in ten are killed, 2 when the tests fail without any mutant, or did not begin.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests import servers
from tests.mutants.catalogue import GROUPS
from tests.mutants.mutant import Mutant
from tests.mutants.running import Result, Verdict, copied, judge, run_tests

WANTED_SHARE = 0.9
BASELINE_TIMEOUT_S = 1_800
Found = dict[Mutant, Result]


def main() -> int:
    """Run what was asked for and return the exit code."""
    asked = _arguments()
    groups = {name: _chosen(mutants, asked.only) for name, mutants in GROUPS.items() if asked.group in ("", name)}
    mutants = [mutant for chosen in groups.values() for mutant in chosen]
    started = time.monotonic()
    with workbench(asked.workers) as bench:
        if not asked.no_baseline and not _is_green(mutants, bench):
            return 2
        found = dict(zip(mutants, bench.pool.map(lambda mutant: _told(mutant, bench), mutants), strict=True))
    return _report(groups, found, time.monotonic() - started)


@dataclass(frozen=True)
class Workbench:
    """A copy of the checkout that stays as it is, workers, and the addresses of servers that nobody uses just now."""

    pristine: Path
    pool: ThreadPoolExecutor
    workers: int
    free: SimpleQueue[str]

    @contextmanager
    def borrowed(self) -> Iterator[str]:
        """Take a server for a while."""
        address = self.free.get()
        try:
            yield address
        finally:
            self.free.put(address)


@contextmanager
def workbench(workers: int) -> Iterator[Workbench]:
    """Start as many servers as there are workers; stop them all."""
    with ExitStack() as stack:
        pristine = stack.enter_context(copied())
        free: SimpleQueue[str] = SimpleQueue()
        for _ in range(workers):
            # Its own: what snapshots say of the oldest transaction depends on every database of a server.
            free.put(stack.enter_context(servers.primary()))
        yield Workbench(pristine, stack.enter_context(ThreadPoolExecutor(workers)), workers, free)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="mutants at once (2)")
    parser.add_argument("--group", default="", choices=list(GROUPS), help="of one group only")
    parser.add_argument("--only", default="", help="those whose name holds these words")
    parser.add_argument("--no-baseline", action="store_true", help="take it that the tests pass without a mutant")
    return parser.parse_args()


def _chosen(mutants: tuple[Mutant, ...], words: str) -> list[Mutant]:
    return [mutant for mutant in mutants if words in mutant.name]


def _is_green(mutants: list[Mutant], bench: Workbench) -> bool:
    """Whether the tests pass without a mutant; that a mutant turns them red tells nothing otherwise."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    shares = [share for share in (tests[number :: bench.workers] for number in range(bench.workers)) if share]
    results = list(bench.pool.map(lambda share: _unchanged(share, bench), shares))
    for result in results:
        sys.stdout.write(f"without a mutant: {result.verdict.value}, {result.seconds:.0f} s\n")
        sys.stdout.write("" if result.verdict is Verdict.SURVIVED else result.said)
    return all(result.verdict is Verdict.SURVIVED for result in results)


def _unchanged(tests: list[str], bench: Workbench) -> Result:
    with bench.borrowed() as address, copied(bench.pristine) as root:
        return run_tests(root, tests, address, BASELINE_TIMEOUT_S)


def _told(mutant: Mutant, bench: Workbench) -> Result:
    with bench.borrowed() as address:
        result = judge(mutant, address, bench.pristine)
    sys.stdout.write(f"{result.verdict.value:9}{result.seconds:6.0f} s  {mutant.name}\n")
    if result.verdict is Verdict.BROKEN:
        sys.stdout.write(result.said)
    sys.stdout.flush()
    return result


def _report(groups: dict[str, list[Mutant]], found: Found, seconds: float) -> int:
    verdicts = [*Verdict]
    sys.stdout.write(f"\n{'':14}" + "".join(f"{verdict.value:>10}" for verdict in verdicts) + "\n")
    for name, mutants in groups.items():
        counts = Counter(found[mutant].verdict for mutant in mutants)
        sys.stdout.write(f"{name:14}" + "".join(f"{counts[verdict]:10}" for verdict in verdicts) + "\n")
    total = Counter(result.verdict for result in found.values())
    sys.stdout.write(f"{'all':14}" + "".join(f"{total[verdict]:10}" for verdict in verdicts) + "\n\n")
    sys.stdout.write(f"{total[Verdict.KILLED]} of {len(found)} killed in {seconds:.0f} s\n")
    for mutant, result in found.items():
        if result.verdict is not Verdict.KILLED:
            sys.stdout.write(f"  {result.verdict.value}: {mutant.name} ({', '.join(mutant.tests)})\n")
    if total[Verdict.BROKEN] or not found:
        return 2
    return 0 if total[Verdict.KILLED] >= WANTED_SHARE * len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
