"""What `params/pipelines.yaml` says: sequences of notebooks, and when they run by themselves."""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from genonaut_lib.errors import InvalidInput, InvalidSettings
from genonaut_lib.runs.schedules.cron_times import CronTimes
from genonaut_lib.settings import nearest, project_root


class Step(BaseModel):
    """One notebook of a sequence; `name` tells it from another step with the same notebook."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notebook: str
    name: str = ""
    parameters: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """What the ledger calls the step."""
        return self.name or self.notebook


class Schedule(CronTimes):
    """When a sequence runs by itself, how long it may take, and what becomes of times that cannot be kept.

    `overlap` says what is done when its time comes while it still runs: `skip` that time, or `queue` it
    until the other has ended. `catch_up` says whether the newest of the times that nobody kept, as while
    no scheduler ran, is run `once` afterwards.
    """

    deadline_s: float | None = Field(None, gt=0)
    overlap: Literal["skip", "queue"] = "skip"
    catch_up: Literal["once", "none"] = "none"


class Sequence(BaseModel):
    """The steps of a sequence, and its schedule if it has one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: list[Step] = Field(min_length=1)
    schedule: Schedule | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        """Take a plain list of steps, a step by its notebook's name, and a schedule beside the steps."""
        content = {"steps": given} if isinstance(given, list) else dict(given)
        steps = [{"notebook": step} if isinstance(step, str) else step for step in content.pop("steps", [])]
        return {"steps": steps, "schedule": content or None}


def load_sequences() -> dict[str, Sequence]:
    """Return every sequence by name; raise InvalidSettings for a file that does not parse."""
    file = project_root() / "params" / "pipelines.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, Sequence]).validate_python(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        told = "; ".join(f"{'.'.join(str(step) for step in one['loc'])}: {one['msg']}" for one in found)
        raise InvalidSettings(f"params/pipelines.yaml cannot be read: {told}.") from None
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise InvalidSettings(f"params/pipelines.yaml cannot be read: {error}") from None


def scheduled_sequences() -> dict[str, Schedule]:
    """Return the schedules of the sequences that have one, by name; raise as `load_sequences` does."""
    return {name: found.schedule for name, found in load_sequences().items() if found.schedule is not None}


def sequence_of(name: str) -> Sequence:
    """Return a sequence; raise InvalidInput naming the nearest known one."""
    sequences = load_sequences()
    if name not in sequences:
        known = sorted(sequences)
        raise InvalidInput(f"There is no pipeline {name!r}.", hint=f"{nearest(name, known)}Known: {', '.join(known)}.")
    return sequences[name]
