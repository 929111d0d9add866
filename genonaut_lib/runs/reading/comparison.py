"""Two runs beside one another: what they were given, what they stood on, what they planned, did and showed.

Whatever a run does not tell any more (its files were retired, a kill cut it off) is None, and differs from anything
that is told.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genonaut_lib.runs.reading import showings
from genonaut_lib.runs.reading.card import moment_of, notebook_of, seconds_between
from genonaut_lib.runs.reading.showings import Showing, cells, child, objects, text_of
from genonaut_lib.runs.record_view import Record

MANIFEST_FIELDS = (
    "notebook", "notebook_digest", "outcome", "actor", "git_commit", "lock_digest", "server_version", "step",
)  # fmt: skip
_RATE = re.compile(r"\[[\d:]+<[\d:?]+, +[\d.?]+ ?\w+/s(?:, )?")
"""What a progress bar says of time, which is never the same twice."""


@dataclass(frozen=True)
class Told:
    """What one run tells: its manifest's content, its executed notebook, and its parameters; each may be empty."""

    run_id: str
    content: Mapping[str, Any]
    notebook: Mapping[str, Any]
    parameters: Mapping[str, Any] | None


@dataclass(frozen=True)
class Pair:
    """One thing as the two runs tell it; None is unknown."""

    name: str
    before: Any
    after: Any

    @property
    def is_same(self) -> bool:
        """Whether both tell the same; what neither tells is the same."""
        return bool(self.before == self.after)


@dataclass(frozen=True)
class CellDiff:
    """What a cell showed in the two runs as a unified diff, empty where it is the same; times are seconds."""

    number: int
    source: str
    seconds: Pair
    diff: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two runs beside one another, in groups of pairs, and cell by cell; None for cells that nothing tells any more."""

    before: str
    after: str
    groups: Mapping[str, tuple[Pair, ...]]
    cells: tuple[CellDiff, ...] | None

    @property
    def is_same(self) -> bool:
        """Whether nothing differs but times; what cannot be compared is not called the same."""
        pairs = [pair for name, group in self.groups.items() if name != "times" for pair in group]
        if self.cells is None:
            return False
        return all(pair.is_same for pair in pairs) and not any(cell.diff for cell in self.cells)


def told_by(folder: Path, record: Record) -> Told:
    """Return what a run tells, from its link and its executed notebook below the environment's folder."""
    content = record.link.content if record.link is not None else _of_row(record)
    path = None if record.row is None or record.row.output_path is None else Path(record.row.output_path)
    if content.get("output"):
        path = folder / str(content["output"])
    notebook = notebook_of(path) if path is not None else {}
    return Told(record.run_id, content, notebook, record.parameters)


def compare(before: Told, after: Told) -> Comparison:
    """Return two runs beside one another. Pure."""
    shown = showings.showings(before.notebook), showings.showings(after.notebook)
    groups = {
        "run": tuple(Pair(name, before.content.get(name), after.content.get(name)) for name in MANIFEST_FIELDS),
        "parameters": _pairs(before.parameters or {}, after.parameters or {}),
        "plan": _pairs(*(dict.fromkeys(showings.planned_actions(one) or (), "planned") for one in shown)),
        "figures": _pairs(*map(_figures, shown)),
        "failure": _pairs(*(child(one.notebook, "metadata", "genonaut", "failure") for one in (before, after))),
        "times": (Pair("duration, s", _seconds(before.content), _seconds(after.content)),),
    }
    told = before.notebook and after.notebook
    return Comparison(before.run_id, after.run_id, groups, _cells(before.notebook, after.notebook) if told else None)


def _of_row(record: Record) -> Mapping[str, Any]:
    """Return what the ledger tells of a run that is not sealed yet, by the names of a manifest."""
    row = record.row
    if row is None:
        return {}
    ended = None if row.ended_at is None else row.ended_at.isoformat()
    return {**vars(row), "outcome": row.state, "started_at": row.started_at.isoformat(), "ended_at": ended}


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Pair, ...]:
    return tuple(Pair(name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after]))


def _figures(shown: list[Showing]) -> dict[str, str]:
    """Return every figure a run showed, by title and name; a plan's rows are told apart."""
    tables = [one for one in shown if one.title.split(":")[0] != showings.PLAN]
    return {f"{one.title}: {name}": value for one in tables for name, value in one.figures.items()}


def _seconds(content: Mapping[str, Any]) -> float | None:
    return seconds_between(moment_of(content.get("started_at")), moment_of(content.get("ended_at")))


def _cells(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[CellDiff, ...]:
    """Return the code cells of both, each beside the one that is most likely the same."""
    first, second = _code(before), _code(after)
    matcher = difflib.SequenceMatcher(None, [_source(c) for c in first], [_source(c) for c in second], autojunk=False)
    found: list[CellDiff] = []
    for _, low, high, start, end in matcher.get_opcodes():
        for step in range(max(high - low, end - start)):
            one = first[low + step] if low + step < high else {}
            other = second[start + step] if start + step < end else {}
            found.append(_cell(len(found) + 1, one, other))
    return tuple(found)


def _code(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the code cells but the injected parameters, which are compared as such."""
    code = [cell for cell in cells(record) if cell.get("cell_type") == "code"]
    return [cell for cell in code if "injected-parameters" not in (child(cell, "metadata").get("tags") or ())]


def _cell(number: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> CellDiff:
    one, other = ([*_source(cell).splitlines(), *_shown(cell)] for cell in (before, after))
    diff = list(difflib.unified_diff(one, other, lineterm="", n=2))[2:]
    times = [child(cell, "metadata", "papermill").get("duration") for cell in (before, after)]
    return CellDiff(number, _source(after or before), Pair("seconds", *times), tuple(diff))


def _source(cell: Mapping[str, Any]) -> str:
    return text_of(cell.get("source"))


def _shown(cell: Mapping[str, Any]) -> list[str]:
    """Return what a cell showed as lines of text; of a picture its text alone, of a progress bar its last state."""
    found: list[str] = []
    streamed = ""
    for output in [*objects(cell.get("outputs")), {}]:
        if output.get("output_type") == "stream":
            streamed += text_of(output.get("text"))
            continue
        found += [_RATE.sub("[", line.rpartition("\r")[2]) for line in streamed.split("\n")]
        streamed = ""
        found += _displayed(output)
    return [line.rstrip() for line in found if line.strip()]


def _displayed(output: Mapping[str, Any]) -> list[str]:
    if output.get("output_type") == "error":
        return [f"{output.get('ename')}: {output.get('evalue')}"]
    data = child(output, "data")
    # Without a text it is told by the kinds it is of.
    return text_of(data.get("text/plain") or json.dumps(sorted(data))).splitlines() if data else []
