"""The cards of each day, kept beside the pages so that no update reads every record again.

Whatever is kept here can be thrown away: it is read again from the records. A day is looked at when the time of its
folder says that something in it changed; a card is made anew when its files are others, or when nothing sealed it yet.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from genonaut_lib.runs.reading.card import ENDINGS, Card, card_of
from genonaut_lib.runs.record_file import write_atomically
from genonaut_lib.runs.secrets.redaction import Redactor

PAGES = "index"
"""The folder beside the days' folders that holds pages and cards."""
VERSION = 1
SETTLED_NS = 2_000_000_000
"""The time of a folder tells changes apart only once it lies so far back."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_FIELDS = {one.name for one in fields(Card)}


@dataclass(frozen=True)
class Day:
    """A day's runs in numbers: how many of each outcome, and the time of its folder when they were counted."""

    name: str
    counts: Mapping[str, int]
    modified_ns: int | None = None
    previous: str | None = None
    following: str | None = None

    @property
    def runs(self) -> int:
        """How many runs it holds."""
        return sum(self.counts.values())

    @property
    def month(self) -> str:
        """The month it lies in."""
        return self.name[:7]


@dataclass(frozen=True)
class Shelf:
    """Every day of an environment, newest first, the newest cards of all, and those of each day whose page is due."""

    folder: Path
    days: tuple[Day, ...]
    newest: tuple[Card, ...]
    renewed: Mapping[str, tuple[Card, ...]]
    gone: tuple[str, ...] = ()


def look(folder: Path, redactor: Redactor, newest: int, *, anew: bool = False) -> Shelf:
    """Return the runs below an environment's folder, with the `newest` so many cards of all.

    With `anew` every record is read, whatever is kept. Raises OSError.
    """
    kept = {} if anew else _kept_days(folder)
    names = sorted((path.name for path in folder.iterdir() if _DAY.match(path.name) and path.is_dir()), reverse=True)
    reader, days = _Reader(folder, redactor, anew), []
    for name in names:
        modified = _settled(folder / name)
        day = kept.get(name)
        if day is None or modified is None or day.modified_ns != modified or not _cards_path(folder, name).exists():
            day = Day(name, dict(Counter(card.outcome for card in reader.read(name))), modified)
        days.append(day)
    found = _neighboured([day for day in days if day.runs])
    for day in found:
        before = kept.get(day.name)
        if before is not None and (before.previous, before.following) != (day.previous, day.following):
            reader.found[day.name] = reader.cards(day)
    shown = reader.newest(found, newest)
    gone = {*kept, *names} - {day.name for day in found}
    renewed = {name: cards for name, cards in reader.found.items() if name not in gone}
    return Shelf(folder, found, shown, renewed, tuple(sorted(gone)))


@dataclass(frozen=True)
class _Reader:
    """Takes the cards of days from what is kept, or from the records; `found` has the days to be shown anew."""

    folder: Path
    redactor: Redactor
    anew: bool
    found: dict[str, tuple[Card, ...]] = field(default_factory=dict)

    def read(self, day: str) -> tuple[Card, ...]:
        """Return the cards of a day, newest first; those whose record is sealed and the same are taken as they are."""
        kept = () if self.anew else _kept_cards(self.folder, day) or ()
        known = {card.stem: card for card in kept if card.is_sealed}
        made = []
        for stem, endings in _stems(self.folder / day).items():
            card = known.get(stem)
            if card is None or card.endings != endings:
                card = _card(self.folder, Card(day, stem, endings), self.redactor)
            made.append(card)
        self.found[day] = tuple(sorted(made, key=lambda card: card.stem, reverse=True))
        return self.found[day]

    def cards(self, day: Day) -> tuple[Card, ...]:
        """Return the cards of a day, newest first, read anew where what is kept is not all that was counted."""
        if day.name in self.found:
            return self.found[day.name]
        kept = _kept_cards(self.folder, day.name)
        return kept if kept is not None and len(kept) == day.runs else self.read(day.name)

    def newest(self, days: Iterable[Day], count: int) -> tuple[Card, ...]:
        """Return the newest cards of all."""
        found: list[Card] = []
        for day in days:
            if len(found) >= count:
                break
            found += self.cards(day)
        return tuple(found[:count])


def keep(shelf: Shelf, redactor: Redactor) -> None:
    """Write down what was read, so that the next update need not; raise OSError. The days come last: they vouch."""
    for name, cards in shelf.renewed.items():
        _write(_cards_path(shelf.folder, name), (vars(card) for card in cards), redactor)
    for name in shelf.gone:
        _cards_path(shelf.folder, name).unlink(missing_ok=True)
    _write(shelf.folder / PAGES / "days.json", (vars(day) for day in shelf.days), redactor)


def _card(folder: Path, bare: Card, redactor: Redactor) -> Card:
    """Return the card of a run; the bare one where its files, edited by somebody, make none that could be shown."""
    try:
        found = _clean(card_of(folder, bare.day, bare.stem, bare.endings), redactor)
        json.dumps(vars(found), ensure_ascii=False).encode()
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return bare
    return found


def _stems(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the runs that have files in a folder, each with the endings that are there."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208  # names alone: a day may hold thousands
        ending = next((one for one in ENDINGS.values() if name.endswith(one)), None)
        # Drafts of records begin with a dot.
        if ending is not None and not name.startswith("."):
            found.setdefault(name.removesuffix(ending), []).append(ending)
    return {stem: tuple(endings) for stem, endings in found.items()}


def _clean(card: Card, redactor: Redactor) -> Card:
    told = redactor.node(vars(card))
    return replace(Card(**told), endings=card.endings)


def _settled(folder: Path) -> int | None:
    """Return the time a folder was last changed, None where that is so recent that it may change unseen."""
    modified = folder.stat().st_mtime_ns
    return modified if time.time_ns() - modified > SETTLED_NS else None


def _neighboured(days: list[Day]) -> tuple[Day, ...]:
    names = [None, *(day.name for day in days), None]
    return tuple(replace(day, following=names[at], previous=names[at + 2]) for at, day in enumerate(days))


def _kept_days(folder: Path) -> dict[str, Day]:
    rows = _loaded(folder / PAGES / "days.json") or []
    try:
        # A name leads to files that are removed with their day, so it must be one of ours.
        return {row["name"]: Day(**row) for row in rows if isinstance(row["counts"], dict) and _DAY.match(row["name"])}
    except (TypeError, KeyError):
        # Made by another version, or edited: read again.
        return {}


def _kept_cards(folder: Path, day: str) -> tuple[Card, ...] | None:
    """Return the cards that were kept of a day, None where there are none that can be used."""
    rows = _loaded(_cards_path(folder, day))
    if rows is None or not all(set(row) == _FIELDS and isinstance(row["endings"], list) for row in rows):
        return None
    return tuple(Card(**{**row, "endings": tuple(row["endings"])}) for row in rows)


def _loaded(path: Path) -> list[dict[str, Any]] | None:
    """Return the rows of a file that was kept, None where it is not there or not ours."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        return None
    rows = found.get("rows")
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


def _write(path: Path, rows: Iterable[Mapping[str, Any]], redactor: Redactor) -> None:
    text = json.dumps({"version": VERSION, "rows": list(rows)}, separators=(",", ":"))
    write_atomically(path, redactor.text(text).encode())


def _cards_path(folder: Path, day: str) -> Path:
    return folder / PAGES / f"{day}.json"
