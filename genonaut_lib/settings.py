"""Typed knobs: `params/<environment>.yaml`, with environment variables on top.

Secrets come only from the environment (`DATABASE_URL`, `REDIS_URL`, `GENONAUT_CURSOR_KEY`,
`GENONAUT_JWT_KEY`, `GENONAUT_SIGNING_KEY`); a params file that holds a password is refused. Unknown keys are refused
with the nearest known name. Units are in the names.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from genonaut_lib.errors import InvalidSettings, ProjectNotFound
from genonaut_lib.migration_settings import ApprovalSettings, BulkSettings, PressureSettings, ThrottleSettings
from genonaut_lib.planner_settings import PlannerSettings
from genonaut_lib.run_settings import RecordSettings, RunSettings
from genonaut_lib.service_settings import KEY_VARIABLE, ServiceSettings

ENVIRONMENT_VARIABLE = "GENONAUT_ENVIRONMENT"
PREFIX = "GENONAUT_"
CURSOR_KEY_VARIABLE = "GENONAUT_CURSOR_KEY"
SHORTEST_CURSOR_KEY = 32
SIGNING_KEY_VARIABLE = "GENONAUT_SIGNING_KEY"
_SECRETS = {
    "database_url": "DATABASE_URL", "redis_url": "REDIS_URL",
    "cursor_key": CURSOR_KEY_VARIABLE, "jwt_key": KEY_VARIABLE,
    "signing_key": SIGNING_KEY_VARIABLE,
}  # fmt: skip
_NOT_KNOBS = {ENVIRONMENT_VARIABLE, "GENONAUT_STATE", "GENONAUT_RUN_ID", "GENONAUT_CONFIRM", *_SECRETS.values()}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    """How the workbench's own sessions behave."""

    connect_timeout_s: int = Field(10, ge=1, le=300)
    lock_timeout_ms: int = Field(500, ge=1, le=60_000)
    concurrent_wait_s: int = Field(600, ge=1, le=86_400, description="for CREATE INDEX CONCURRENTLY and VACUUM")
    lock_attempts: int = Field(30, ge=1, le=1_000)
    lock_retry_max_s: float = Field(5.0, gt=0, le=300)


class ServerSettings(_Section):
    """The embedded servers; `memory_share` is the part of this machine's memory they may use."""

    embedded: bool = False
    memory_share: float = Field(0.25, gt=0, le=0.8)
    durable: bool = True


class RedisSettings(_Section):
    """How the Redis client behaves."""

    connect_timeout_s: float = Field(5.0, gt=0, le=60)


class BitmapSettings(_Section):
    """The tag bitmap index: what gets bitmaps, when marked items are sealed, and what readers keep in memory."""

    enabled: bool = Field(True, description="false: no query is answered from the index, whatever is there")
    least_share: float = Field(0.0025, ge=0, le=1, description="tags of a smaller share of all items have no bitmaps")
    marks_max: int = Field(20_000, ge=1, description="with more marked items the index waits for its sealing")
    filter_max: int = Field(20_000, ge=1, description="items it may hand on to a search or to another sort")
    seal_items: int = Field(1_000, ge=1, description="54 seals from so many marked items on")
    seal_age_s: float = Field(60.0, ge=0, le=86_400, description="54 seals whatever is older")
    cache_mb: int = Field(256, ge=0, description="bitmaps a reading process keeps, checked against every snapshot")


class Settings(_Section):
    """All knobs of one environment.

    `notebooks` maps a notebook's name to the parameters this environment gives it.
    `protected` makes every writing command ask for `--confirm <environment>`.
    """

    environment: str
    protected: bool = False
    database: DatabaseSettings = DatabaseSettings()
    servers: ServerSettings = ServerSettings()
    redis: RedisSettings = RedisSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    bulk: BulkSettings = BulkSettings()
    pressure: PressureSettings = PressureSettings()
    planner: PlannerSettings = PlannerSettings()
    bitmaps: BitmapSettings = BitmapSettings()
    runs: RunSettings = RunSettings()
    approval: ApprovalSettings = ApprovalSettings()
    records: RecordSettings = RecordSettings()
    service: ServiceSettings = ServiceSettings()
    notebooks: dict[str, dict[str, Any]] = {}
    database_url: SecretStr | None = Field(None, exclude=True)
    redis_url: SecretStr | None = Field(None, exclude=True)
    cursor_key: SecretStr | None = Field(None, exclude=True)
    jwt_key: SecretStr | None = Field(None, exclude=True)
    signing_key: SecretStr | None = Field(None, exclude=True)

    @field_validator("cursor_key")
    @classmethod
    def _require_long_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and any(len(key) < SHORTEST_CURSOR_KEY for key in _split(value)):
            raise ValueError(f"each key of {CURSOR_KEY_VARIABLE} needs at least {SHORTEST_CURSOR_KEY} characters")
        return value

    @property
    def cursor_keys(self) -> tuple[bytes, ...]:
        """The keys of `cursor_key`, which commas separate: the first signs cursors, all are accepted."""
        return () if self.cursor_key is None else tuple(key.encode() for key in _split(self.cursor_key))

    @property
    def database_kind(self) -> Literal["external", "embedded"]:
        """Say whether a database of the user's is used or the embedded one."""
        return "embedded" if self.database_url is None else "external"


def project_root() -> Path:
    """Return the folder that holds `params/` and `notebooks/`: here, or the nearest one above.

    Falls back to the checkout the package was installed from. Raises ProjectNotFound.
    """
    here = Path.cwd()
    checkout = Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, checkout):
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise ProjectNotFound(
        f"No project found in {here} or above it.",
        hint="Run the command inside a checkout of the workbench (a folder with params/ and notebooks/).",
    )


def state_folder() -> Path:
    """Return the folder of the embedded servers' data: `GENONAUT_STATE`, or `.genonaut` in the project."""
    given = os.environ.get("GENONAUT_STATE")
    return Path(given).resolve() if given else project_root() / ".genonaut"


def environments() -> list[str]:
    """Return the names of the environments that have a params file, sorted."""
    return sorted(file.stem for file in (project_root() / "params").glob("*.yaml") if file.stem != "pipelines")


def load_settings(environment: str | None = None) -> Settings:
    """Return the settings of `environment` (default: `GENONAUT_ENVIRONMENT`, else demo).

    Raises ProjectNotFound for an environment without a file, InvalidSettings for anything in it
    that is not a known key with a fitting value.
    """
    name = environment or os.environ.get(ENVIRONMENT_VARIABLE) or "demo"
    known = environments()
    if name not in known:
        raise ProjectNotFound(
            f"There is no environment {name!r}.",
            hint=f"{nearest(name, known)}Known: {', '.join(known)}; each is a file params/<name>.yaml.",
        )
    return _parse(project_root() / "params" / f"{name}.yaml", name)


def load_other_settings(environment: str) -> Settings:
    """Return the settings of an environment to compare with, whose database is not the one of DATABASE_URL.

    Its address comes from the variable `DATABASE_URL_<ENVIRONMENT>`, in capitals; without it the
    embedded server of that environment is meant. Raises as `load_settings` does, and InvalidSettings
    for an environment that has neither.
    """
    settings = load_settings(environment)
    variable = f"DATABASE_URL_{re.sub('[^A-Z0-9]', '_', environment.upper())}"
    address = os.environ.get(variable)
    if address is None and not settings.servers.embedded:
        raise InvalidSettings(f"Environment {environment!r} has no address to compare with.", hint=f"Set {variable}.")
    return settings.model_copy(update={"database_url": SecretStr(address) if address else None})


def nearest(word: str, known: list[str]) -> str:
    """Return `Did you mean 'x'? ` for the known word nearest to `word`, or an empty string."""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {match[0]!r}? " if match else ""


def _parse(file: Path, name: str) -> Settings:
    content = _read(file)
    if {*_SECRETS, "environment"} & set(content):
        raise InvalidSettings(
            f"{file.name} holds {', '.join(_SECRETS)} or environment.",
            hint=f"They come from {', '.join(_SECRETS.values())}, the environment's name from the file's own.",
        )
    _overlay(content)
    values = {"environment": name, **content, **_secrets()}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidSettings(_explain(error, file.name)) from None


def _read(file: Path) -> dict[str, Any]:
    """Return a params file as a mapping, empty sections left out; its text is never repeated in an error."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{file.name} is not UTF-8, at byte {error.start}.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidSettings(f"{file.name} is not YAML: {error.problem}{place}.") from None
    except yaml.YAMLError:
        raise InvalidSettings(f"{file.name} is not YAML.") from None
    if not isinstance(content, dict):
        raise InvalidSettings(f"{file.name} must hold a mapping of sections.")
    return {key: value for key, value in content.items() if value is not None}


def _secrets() -> dict[str, str]:
    return {field: os.environ[name] for field, name in _SECRETS.items() if os.environ.get(name)}


def _overlay(content: dict[str, Any]) -> None:
    """Put `GENONAUT_<SECTION>__<KEY>` variables over the file's values; text is read as YAML."""
    for variable, text in os.environ.items():
        if not variable.startswith(PREFIX) or variable in _NOT_KNOBS or variable.endswith("_KEY"):  # keys are secrets
            continue
        path = variable.removeprefix(PREFIX).lower().split("__")
        section = content
        for step in path[:-1]:
            section = section.setdefault(step, {})
            if not isinstance(section, dict):
                raise InvalidSettings(f"{variable} names a key inside {step!r}, which is a value.")
        try:
            section[path[-1]] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InvalidSettings(f"The value of {variable} is not YAML.") from None


def _split(keys: SecretStr) -> list[str]:
    return [key.strip() for key in keys.get_secret_value().split(",")]


def _explain(error: ValidationError, source: str) -> str:
    """Turn pydantic's findings into one sentence each; values are never repeated (they may be secret)."""
    sentences = []
    for finding in error.errors(include_input=False, include_url=False):
        path = [str(step) for step in finding["loc"]]
        if finding["type"] == "extra_forbidden":
            hint = nearest(path[-1], _known_keys(path[:-1]))
            sentences.append(f"{source}: unknown key {'.'.join(path)!r}. {hint}".rstrip())
        else:
            sentences.append(f"{source}: {'.'.join(path)}: {finding['msg']}.")
    return " ".join(sentences)


def _known_keys(path: list[str]) -> list[str]:
    model: Any = Settings
    for step in path:
        model = model.model_fields[step].annotation
    return [name for name, field in model.model_fields.items() if not field.exclude]


__all__ = [
    "BulkSettings", "DatabaseSettings", "PlannerSettings", "PressureSettings", "RedisSettings", "ServerSettings",
    "Settings", "ThrottleSettings", "environments", "load_other_settings", "load_settings", "nearest", "project_root",
    "state_folder",
]  # fmt: skip
