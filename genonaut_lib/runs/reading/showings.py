"""What the cells of an executed notebook show, read back from its own file: tables of figures, plans, other text.

A record may be old, cut off by a kill, or edited: whatever has not the expected shape is left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_EXAMINED = re.compile(r"([\d,]+) examined, ")
_HEADING = re.compile(r" *(figure|action) +(?:value$|lock\b)")
_VERIFIED = "Verification "
CHANGED = (
    "items changed", "relationships written", "items cleared", "relationships removed", "arrays rebuilt",
    "items sealed", "tags",
)  # fmt: skip
"""Figures that count rows a run wrote, the telling one first."""
READ = ("items read", "relationships read")
"""Figures that count rows a run read, for one that verified none."""
_DONE = ("Applied", "Summary")
PLAN = "Plan"


@dataclass(frozen=True)
class Showing:
    """A titled table as a cell shows it: the remark below its title, and what stands in its rows by name.

    Of a table of figures that is each one's value, of a plan the rest of each action's row; of any other nothing.
    """

    title: str
    remark: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)


def showings(record: Mapping[str, Any]) -> list[Showing]:
    """Return every titled table of a record, in the order of its cells."""
    return [_showing(text) for cell in cells(record) for text in _shown_texts(cell)]


def cells(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cells of a record."""
    return objects(record.get("cells"))


def objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the JSON objects of a list; what is neither is left out."""
    return [found for found in value if isinstance(found, dict)] if isinstance(value, list) else []


def child(value: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the JSON object at a path of names, an empty one where there is none."""
    for name in path:
        found = value.get(name)
        value = found if isinstance(found, dict) else {}
    return value


def text_of(value: Any) -> str:
    """Return a text that nbformat may have written as a list of lines."""
    return "".join(part for part in value if isinstance(part, str)) if isinstance(value, list) else str(value or "")


def examined_rows(found: list[Showing]) -> int | None:
    """Return how many rows a run examined, by its verification or by what it read; None where it says neither."""
    for one in found:
        match = _EXAMINED.match(one.remark)
        # Phases of DDL verify statements, and say so; those are no rows.
        if one.title.startswith(_VERIFIED) and match and "statements" not in one.figures:
            return whole_number(match[1])
    read = (one.figures[name] for name in READ for one in found if name in one.figures)
    return next((whole_number(text) for text in read), None)


def changed_rows(found: list[Showing]) -> int | None:
    """Return how many rows a run changed, None where it does not say; a dry run changed none."""
    if any(one.title.startswith("Dry run") for one in found):
        return 0
    for one in found:
        names = [name for name in CHANGED if name in one.figures]
        if one.title in _DONE and names:
            return whole_number(one.figures[names[0]])
    return None


def statements(found: list[Showing]) -> tuple[int | None, int | None]:
    """Return how many statements a phase of DDL verified and how many it ran, None where it does not say."""
    verified = (one.figures.get("statements") for one in found if one.title.startswith(_VERIFIED))
    ran = (one.figures.get("statements run") for one in found if one.title in _DONE)
    numbers = [next((whole_number(text) for text in texts if text), None) for texts in (verified, ran)]
    return numbers[0], numbers[1]


def planned_actions(found: list[Showing]) -> list[str] | None:
    """Return the ids of the actions a run planned, None where it shows no plan."""
    plans = [one for one in found if one.title == PLAN or one.title.startswith(f"{PLAN}:")]
    return [name for one in plans for name in one.figures if not name.startswith("total")] if plans else None


def whole_number(text: str) -> int | None:
    """Return a number with its thousands separated by commas, None for any other text."""
    plain = text.replace(",", "")
    return int(plain) if plain.isascii() and plain.isdigit() else None


def _shown_texts(cell: Mapping[str, Any]) -> Iterator[str]:
    for output in objects(cell.get("outputs")):
        text = text_of(child(output, "data").get("text/plain"))
        if text:
            yield text


def _showing(text: str) -> Showing:
    """Read what a view prints: its title, a remark or none, the table's headings, the rows."""
    title, *rest = text.split("\n")
    start = next((at for at, line in enumerate(rest) if _HEADING.match(line)), None)
    if start is None:
        return Showing(title, "\n".join(rest))
    return Showing(title, "\n".join(rest[:start]), _rows(rest[start], rest[start + 1 :]))


def _rows(heading: str, rows: list[str]) -> dict[str, str]:
    """Return name and rest of each row; the names end where their heading does, since columns end in line."""
    match = _HEADING.match(heading)
    edge = match.end(1) if match else 0
    return {row[:edge].strip(): row[edge:].strip() for row in rows if row[:edge].strip()}
