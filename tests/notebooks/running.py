"""nbval under the guard, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.runner import apply_plan, verify_phase
from tests.notebooks.reference import ROOT

HERE = Path(__file__).parent


def run_nbval(paths: list[Path], *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Execute recorded notebooks again, in this order, and compare."""
    command = [
        sys.executable, "-m", "pytest", "-c", str(HERE / "nbval.ini"), "--rootdir", str(paths[0].parent),
        "-p", "tests.notebooks.guard", "--nbval", "--nbval-current-env",
        "--nbval-sanitize-with", str(HERE / "sanitise.cfg"), *options, *map(str, paths),
    ]  # fmt: skip
    environment = {**os.environ, "GENONAUT_ENVIRONMENT": "test", **variables}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)


def apply_up_to(context: Context, name: str) -> None:
    """Apply and verify every phase before `name`, as their notebooks would."""
    for phase in PHASES.values():
        if phase.name == name:
            return
        ready = DropLegacyTags(confirm=CONFIRMATION) if phase.name == "drop_legacy_tags" else phase
        apply_plan(ready, context, ready.plan(context))
        verify_phase(ready, context)
