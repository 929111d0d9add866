"""A card: what an index says of one run, taken from its manifest and its executed notebook."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genonaut_lib.runs.reading import showings
from genonaut_lib.runs.reading.showings import child
from genonaut_lib.runs.record_file import read_record
from genonaut_lib.runs.records import links
from genonaut_lib.runs.records.manifest import MANIFEST

ENDINGS = {"html": ".html", "notebook": ".ipynb", "manifest": MANIFEST}
"""What a card links to, by the endings of its files."""
LONGEST_TEXT = 300
_STEM = re.compile(r"\d{6}_(?P<notebook>.+)_[0-9a-f]{6}\Z")


@dataclass(frozen=True)
class Card:
    """One run on an index; `day` and `stem` say where its files lie, `endings` which of them are there.

    None is unknown: `examined` and `changed` are rows, in the place of which a phase of DDL counts statements,
    `seconds` a duration, `lag` a sentence on the replicas at its end. `is_sealed` says that a sound manifest lies
    beside the record, so the card can change no more.
    """

    day: str
    stem: str
    endings: tuple[str, ...]
    run_id: str | None = None
    notebook: str | None = None
    outcome: str = "unknown"
    actor: str | None = None
    started_at: str | None = None
    seconds: float | None = None
    parameters: Mapping[str, str] | None = None
    why: str = ""
    examined: int | None = None
    changed: int | None = None
    verified_statements: int | None = None
    statements_run: int | None = None
    lag: str | None = None
    step: str | None = None
    is_sealed: bool = False

    def file(self, kind: str) -> str | None:
        """Return the path of a file below the environment's folder, None where it is not there."""
        ending = ENDINGS[kind]
        return f"{self.day}/{self.stem}{ending}" if ending in self.endings else None

    @property
    def started(self) -> datetime | None:
        """When it began, UTC; None where nothing tells."""
        return moment_of(self.started_at)


def card_of(folder: Path, day: str, stem: str, endings: tuple[str, ...]) -> Card:
    """Return the card of the run whose files are `<folder>/<day>/<stem>` and an ending each; raise OSError."""
    sealed = _manifest(folder / day / f"{stem}{MANIFEST}") if MANIFEST in endings else {}
    record = notebook_of(folder / day / f"{stem}.ipynb") if ".ipynb" in endings else {}
    said, timed = child(record, "metadata", "genonaut"), child(record, "metadata", "papermill")
    began = moment_of(sealed.get("started_at") or timed.get("start_time"))
    ended = moment_of(sealed.get("ended_at") or timed.get("end_time"))
    shown = showings.showings(record)
    verified, ran = showings.statements(shown)
    return Card(
        day,
        stem,
        endings,
        run_id=_text(sealed.get("run_id") or said.get("run_id")),
        notebook=_text(sealed.get("notebook")) or _notebook_in(stem),
        outcome=_text(sealed.get("outcome") or said.get("status")) or "unknown",
        actor=_text(sealed.get("actor")),
        started_at=None if began is None else began.isoformat(),
        seconds=seconds_between(began, ended),
        parameters=_parameters(timed),
        why=_why(child(said, "failure")),
        examined=showings.examined_rows(shown),
        changed=showings.changed_rows(shown),
        verified_statements=verified,
        statements_run=ran,
        lag=_lag(said.get("replicas")),
        step=_text(sealed.get("step")),
        is_sealed=bool(sealed),
    )


def moment_of(value: Any) -> datetime | None:
    """Return a point in time with its zone, None for anything else, and for one that UTC has no year for."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def seconds_between(began: datetime | None, ended: datetime | None) -> float | None:
    """Return how long something took, None where one of both times is unknown."""
    return (ended - began).total_seconds() if began is not None and ended is not None else None


def notebook_of(path: Path) -> Mapping[str, Any]:
    """Return an executed notebook, nothing where there is none; raise OSError.

    One that somebody edited until it is no JSON tells nothing either; `runs verify` names it.
    """
    try:
        return read_record(path) or {}
    except (ValueError, RecursionError):
        return {}


def _manifest(path: Path) -> Mapping[str, Any]:
    """Return what was sealed of a run, nothing where the manifest is not sound: what it says then is no one's word."""
    link = links.sound(path.read_bytes())
    return link.content if link is not None and link.run_id is not None else {}


def _notebook_in(stem: str) -> str | None:
    match = _STEM.match(stem)
    return match["notebook"] if match else None


def _parameters(timed: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the parameters as texts, references in the place of secrets as the record has them."""
    found = timed.get("parameters")
    if not isinstance(found, dict):
        return None
    return {str(name): _short(value if isinstance(value, str) else json.dumps(value)) for name, value in found.items()}


def _why(failure: Mapping[str, Any]) -> str:
    return _short(str(failure.get("message") or failure.get("cause") or ""))


def _lag(replicas: Any) -> str | None:
    """Return how far replicas were behind when the run ended, by what the record says of each; None is unknown.

    Time is what a replica reported last; bytes are the primary's own, and tell of one whose replay stands still.
    """
    if not isinstance(replicas, list):
        return None
    if not replicas:
        return "no replicas"
    lag, behind = (_largest(replicas, name) for name in ("lag_s", "behind_bytes"))
    told = [] if lag is None else [f"{lag:.1f} s"]
    return ", ".join([*told, f"{behind / 1e6:,.1f} MB"] if behind else told) or None


def _largest(replicas: list[Any], name: str) -> float | None:
    """Return the largest of a figure that each replica has, None where it is unknown of one."""
    found = [one.get(name) for one in showings.objects(replicas)]
    known = [figure for figure in found if isinstance(figure, int | float) and not isinstance(figure, bool)]
    return max(known) if known and len(known) == len(replicas) else None


def _text(value: Any) -> str | None:
    return _short(value) if isinstance(value, str) and value else None


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
