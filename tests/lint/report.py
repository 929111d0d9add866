"""All findings of the repository, less those that a waiver speaks for; a waiver that nothing needs is one itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from genonaut_lib.db.statements import Waiver, blocks, file_waivers, files
from tests.lint import squawk
from tests.lint.findings import Finding, Place
from tests.lint.rules import RULES
from tests.lint.scripts import Script, scripts, sql_path
from tests.lint.sources import SOURCE_RULES, Module, line_waivers, modules

WHOLE_FILE = ""

Waivers = dict[tuple[str, str], tuple[Waiver, ...]]
"""Waivers by the path of the file and the name of the block, or the line of Python; no name for the whole file."""


def lint() -> list[Finding]:
    """Return every finding in the repository, in the order of the scripts."""
    sources = modules()
    return judge(findings(scripts(), sources), sql_waivers() | python_waivers(sources))


def findings(subjects: Iterable[Script], sources: Iterable[Module]) -> list[Finding]:
    """Return what squawk and the rules of our own find, waivers not yet considered."""
    read = list(subjects)
    own = (finding for script in read for rule in RULES for finding in rule.findings(script))
    python = (finding for module in sources for rule in SOURCE_RULES for finding in rule.findings(module))
    return list(chain(own, python, squawk.findings(read)))


def judge(found: Iterable[Finding], waivers: Waivers) -> list[Finding]:
    """Return the findings no waiver speaks for, once each, and the waivers that spoke for none."""
    used: set[tuple[tuple[str, str], str]] = set()
    left: dict[Finding, None] = {}
    for finding in found:
        keys = [key for key in _places(finding.place) if _allows(waivers.get(key, ()), finding.rule)]
        used.update((key, finding.rule) for key in keys[:1])
        if not keys:
            left.setdefault(finding)
    return [*left, *_unused(waivers, used)]


def python_waivers(sources: Iterable[Module]) -> Waivers:
    """Return every waiver of the Python files."""
    found: Waivers = {}
    for module in sources:
        for line, waiver in line_waivers(module):
            key = (module.path, f"line {line}")
            found[key] = (*found.get(key, ()), waiver)
    return found


def sql_waivers() -> Waivers:
    """Return every waiver of the SQL files."""
    found: Waivers = {}
    for file in files():
        found[sql_path(file), WHOLE_FILE] = file_waivers(file)
        found |= {(sql_path(file), block.name): block.waivers for block in blocks(file).values()}
    return found


def _places(place: Place) -> tuple[tuple[str, str], ...]:
    beside = (place.file, place.block), (place.file, WHOLE_FILE)
    return (place.sender, *beside) if place.sender else beside


def _allows(waivers: Iterable[Waiver], rule: str) -> bool:
    return any(waiver.rule == rule for waiver in waivers)


def _unused(waivers: Waivers, used: set[tuple[tuple[str, str], str]]) -> Iterator[Finding]:
    for key, given in waivers.items():
        for waiver in given:
            if (key, waiver.rule) not in used:
                place = Place(key[0], key[1], "header")
                text = f"-- lint: allow {waiver.rule} because {waiver.reason}"
                yield Finding("unused-waiver", place, text, f"nothing here breaks {waiver.rule}", "Delete the line.")
