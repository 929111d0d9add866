"""Mutants run in copies of the checkout: killed, survived, or over their time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant

TIMEOUT_S = 240
TEST_TIMEOUT_S = 90
"""Within the other: a test that hangs on a mutant fails by itself, and its servers are put away."""
FEW = {"FUZZ_QUERIES": "200", "MACHINE_RUNS": "2", "MOMENTS": "2", "SOAK_OPERATIONS": "40"}
"""Random questions enough to notice what is wrong with every statement."""
_LEFT_OUT = shutil.ignore_patterns(".*", "outputs", "*.egg-info", "build", "*.pyc.*")


class Verdict(Enum):
    """How it ended. Broken: the tests did not begin, which tells nothing of them."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMEOUT = "timeout"
    BROKEN = "broken"


_OF_EXIT_CODE = {0: Verdict.SURVIVED, 1: Verdict.KILLED}


@dataclass(frozen=True)
class Result:
    """How the tests took a mutant, in how many seconds, and what they said last."""

    verdict: Verdict
    seconds: float
    said: str


@contextmanager
def copied(source: Path = ROOT) -> Iterator[Path]:
    """Make a copy of a checkout, without servers' data, environment and records."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        yield Path(shutil.copytree(source, Path(folder) / "checkout", ignore=_LEFT_OUT))


def judge(mutant: Mutant, address: str, source: Path = ROOT) -> Result:
    """Run the tests that claim to notice a mutant on a copy that has it."""
    with copied(source) as root:
        mutant.apply(root)
        return run_tests(root, mutant.tests, address)


def run_tests(root: Path, tests: Sequence[str], address: str, timeout_s: float = TIMEOUT_S) -> Result:
    """Run tests of a copy on a server until the first fails.

    What is not over in time is killed with all its processes.
    """
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT_S}", *tests,
    ]  # fmt: skip
    environment = {**os.environ, **FEW, "PYTHONPATH": str(root), "DATABASE_URL": address}
    started = time.monotonic()
    with (root / "said.txt").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        verdict = _verdict(process, timeout_s)
        said.seek(0)
        return Result(verdict, time.monotonic() - started, said.read()[-3000:])


def _verdict(process: subprocess.Popen[bytes], timeout_s: float) -> Verdict:
    try:
        return _OF_EXIT_CODE.get(process.wait(timeout_s), Verdict.BROKEN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return Verdict.TIMEOUT
