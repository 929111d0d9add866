"""Changing one value of a params file, with every comment and every other line as it was."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from genonaut_lib.errors import InvalidSettings
from genonaut_lib.settings import PlannerSettings
from genonaut_lib.tuning.proposal import Coefficients, Proposal, require_no_worsening

SECTION, KEY = "planner", "coefficients"
INDENT = "  "


def adopt(settings_file: Path, proposal: Proposal, show: Callable[[str], None]) -> str:
    """Write the proposed coefficients into a params file and return the unified diff, shown before it is written.

    An empty diff means that the file says this already. Raises ProposalRefused where a watched query
    would become slower, InvalidSettings for a file this cannot be written into.
    """
    require_no_worsening(proposal)
    old, new = _texts(settings_file, proposal.knobs)
    diff = _diff(settings_file, old, new)
    show(diff)
    if diff:
        _replace(settings_file, new)
    return diff


def preview(settings_file: Path, proposal: Proposal) -> str:
    """Return the unified diff that `adopt` would write; nothing is written."""
    return _diff(settings_file, *_texts(settings_file, proposal.knobs))


def with_coefficients(text: str, coefficients: Coefficients) -> str:
    """Return a params file's text with `planner.coefficients` as given.

    What stood at that key goes, comments inside it included; the rest stays as it is, byte for byte.
    Raises InvalidSettings where the file's own style leaves no place for it.
    """
    rows = [f"{name}: {_flow(values)}" for name, values in coefficients.items()]
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    section = _child(root, SECTION)
    if section is None:
        head = text if not text or text.endswith("\n") else f"{text}\n"
        return _checked(text, head + _block([f"{SECTION}:", f"{INDENT}{KEY}:", *(INDENT * 2 + row for row in rows)]))
    key, value = section
    if not isinstance(value, yaml.MappingNode) and not _is_null(value):
        raise _unfit("is no mapping")
    if isinstance(value, yaml.MappingNode) and value.flow_style:
        raise _unfit("is written in braces")
    return _checked(text, _into_section(text, key, value, rows))


def _into_section(text: str, key: yaml.Node, section: yaml.Node, rows: list[str]) -> str:
    """Return the text with the rows put at the section's key, or behind the section's last line."""
    lines = text.splitlines(keepends=True)
    found = _child(section, KEY)
    if found is None:
        first = section.value[0][0] if isinstance(section, yaml.MappingNode) else None
        indent = " " * first.start_mark.column if first is not None else INDENT
        start = end = _last_line(section if first is not None else key) + 1
    else:
        indent = " " * found[0].start_mark.column
        start, end = found[0].start_mark.line, _last_line(found[1] if not _is_null(found[1]) else found[0]) + 1
    if start and not lines[start - 1].endswith("\n"):
        lines[start - 1] += "\n"
    lines[start:end] = [_block([f"{indent}{KEY}:", *(f"{indent}{INDENT}{row}" for row in rows)])]
    return "".join(lines)


def _child(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next(((key, value) for key, value in pairs if key.value == name), None)


def _last_line(node: yaml.Node) -> int:
    """Return the line of a node's last character; a block's own end mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        key, value = last if isinstance(last, tuple) else (last, last)
        return _last_line(key if _is_null(value) else value)
    return int(node.end_mark.line)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _checked(old: str, new: str) -> str:
    """Return the new text once it is seen to say what the old one said, but for the coefficients."""
    try:
        before, after = (yaml.safe_load(text) or {} for text in (old, new))
    except yaml.YAMLError:
        raise _unfit("cannot be written into as it stands") from None
    for content in (before, after):
        content[SECTION] = {key: value for key, value in (content.get(SECTION) or {}).items() if key != KEY}
    if before != after:
        raise _unfit("cannot be written into as it stands")
    return new


def _texts(settings_file: Path, knobs: PlannerSettings) -> tuple[str, str]:
    old = settings_file.read_bytes().decode()
    coefficients = knobs.model_dump(mode="json")[KEY]
    new = with_coefficients(old, coefficients)
    if yaml.safe_load(new)[SECTION][KEY] != coefficients:
        raise _unfit("cannot be written into as it stands")
    return old, new


def _diff(settings_file: Path, old: str, new: str) -> str:
    lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    return "".join(difflib.unified_diff(*lines, f"{settings_file.name} (now)", f"{settings_file.name} (proposed)"))


def _replace(settings_file: Path, text: str) -> None:
    """Write a file whole or not at all, with the rights it had."""
    draft = settings_file.with_name(f"{settings_file.name}.draft")
    draft.write_bytes(text.encode())
    draft.chmod(settings_file.stat().st_mode)
    draft.replace(settings_file)


def _flow(values: Mapping[str, Any]) -> str:
    """Return a mapping in braces, in one line however long; a number keeps its digits."""
    return "{" + ", ".join(f"{name}: {_number(float(value))}" for name, value in values.items()) + "}"


def _number(value: float) -> str:
    """Return a number as YAML reads it back: with a point, since 1e-05 would be a word."""
    text = repr(value)
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _block(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _unfit(why: str) -> InvalidSettings:
    return InvalidSettings(
        f"The section {SECTION!r} of the params file {why}.",
        hint=f"Write it as a block, `{SECTION}:` and each key on a line of its own, then adopt again.",
    )
