"""nbval under the guard, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.runner import apply_plan, verify_phase
from tests.notebooks.reference import ROOT, STEPS, ReferenceStep

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


def apply_what_stands_before(step: ReferenceStep, context: Context) -> None:
    """Apply and verify the phases whose notebooks stand before a step in the reference run."""
    done = {
        before.notebook for before in STEPS if before.place < step.place and before.parameters.get("dry_run") is False
    }
    for phase in PHASES.values():
        if phase.notebook in done:
            ready = DropLegacyTags(confirm=CONFIRMATION) if phase.name == "drop_legacy_tags" else phase
            apply_plan(ready, context, ready.plan(context))
            verify_phase(ready, context)
