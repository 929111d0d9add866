"""One notebook of the reference run by itself, on a gallery that the phases before it have passed.

No test of the suite, which runs all of them in order: a mutant names the notebook that should notice it.
"""

from __future__ import annotations

import pytest

from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings
from tests.notebooks.reference import STEPS, ReferenceStep, fill
from tests.notebooks.running import apply_what_stands_before, run_nbval


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.path.stem)
def test_a_notebook_alone_gives_its_reference_outputs(
    step: ReferenceStep, settings: Settings, context: Context
) -> None:
    """It shows what it showed in its place in the whole run."""
    fill(settings)
    apply_what_stands_before(step, context)
    result = run_nbval([step.path])
    assert result.returncode == 0, result.stdout[-3000:]
    assert "NOT RUN" not in result.stdout
