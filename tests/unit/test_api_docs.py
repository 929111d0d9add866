"""docs/api.md tells every knob and every code there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from genonaut_lib.service.problems import STATUSES
from genonaut_lib.service_settings import ServiceSettings

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
ERRORS = TEXT[TEXT.index("## Errors") : TEXT.index("## Who asks")]
KNOBS = TEXT[TEXT.index("## Knobs") : TEXT.index("## Operation")]


def knobs(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from knobs(section, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("knob", sorted(knobs(ServiceSettings)))
def test_every_knob_is_told(knob: str) -> None:
    """Whoever operates the service finds it in the table."""
    assert f"`{knob}`" in KNOBS


@pytest.mark.parametrize(("status", "code"), sorted(set(STATUSES.values())))
def test_every_code_is_told_with_its_status(status: int, code: str) -> None:
    """Programs go by codes."""
    assert re.search(rf"^\| {status} \|[^|]*`{code}`", ERRORS, re.MULTILINE)
