"""The fields of an item that a caller may set: what is wrong with a value is said by the name of its field."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.naming import is_storable
from genonaut_lib.settings import nearest

LONGEST_TITLE = 255
LONGEST_CONTENT_TYPE = 50
LONGEST_PATH = 512
LONGEST_PROMPT = 20_000
"""In characters, as the columns allow."""

LONGEST_DATA = 1_000_000
"""Characters of `content_data`; its column has no limit, and a request must have one."""

LONGEST_JSON = 65_536
DEEPEST_JSON = 32
"""Characters of a JSON field, written without blanks, and how deep its values may be nested."""

MOST_TAGS = 500
"""Words for the tags of one item."""

LONGEST_WORD = 400

LEAST_NUMBER, GREATEST_NUMBER = -(2**63), 2**64 - 1
"""Whole numbers that JSON writers and readers agree upon; others would come back as something else."""

REQUIRED = ("title", "content_type", "prompt")

_Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Given:
    """Checked fields of an item: columns by name, ready to be bound, and the words for its tags, None if not given.

    `prompt` stands apart, since it is written once.
    """

    columns: Mapping[str, Any]
    tags: tuple[str, ...] | None = None
    prompt: str | None = None


def fields_of_new(given: Mapping[str, Any]) -> Given:
    """Return the fields of an item to be made; raise InvalidInput for what is missing, unknown or malformed."""
    for name in REQUIRED:
        if name not in given:
            raise InvalidInput(f"{name} is missing.", hint=f"An item needs {', '.join(REQUIRED)}.", field=name)
    return fields_of(given)


def fields_of(given: Mapping[str, Any]) -> Given:
    """Return the fields that are given and no others; raise InvalidInput for an unknown or malformed one."""
    checked = {name: _check_of(name)(name, value) for name, value in given.items()}
    tags, prompt = checked.pop("tags", None), checked.pop("prompt", None)
    return Given(checked, tags, prompt)


def _check_of(name: str) -> _Check:
    if name not in CHECKS:
        shown = name[:80]
        hint = f"{nearest(shown, list(CHECKS))}A caller sets {', '.join(CHECKS)}."
        raise InvalidInput(f"An item has no field {shown!r} that a caller sets.", hint=hint, field=shown)
    return CHECKS[name]


def _text(longest: int) -> _Check:
    def check(field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidInput(f"Invalid {field}; valid: text of at most {longest:,} characters.", field=field)
        if len(value) > longest:
            raise InvalidInput(f"{field} has {len(value):,} characters, and may have {longest:,}.", field=field)
        return _storable(field, value)

    return check


def _storable(field: str, text: str) -> str:
    if not is_storable(text):
        raise InvalidInput(f"{field} holds a NUL character or half a surrogate pair, which no text can.", field=field)
    return text


def _path(field: str, value: Any) -> str:
    text: str = _text(LONGEST_PATH)(field, value)
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise InvalidInput(f"{field} holds a control character, which no path does.", field=field)
    if ".." in text.replace("\\", "/").split("/"):
        raise InvalidInput(f"{field} leads upwards by '..'.", hint="Give the path without such steps.", field=field)
    return text


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise InvalidInput(f"Invalid {field}; valid: a finite number.", field=field)
    return float(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"Invalid {field}; valid: true, false.", field=field)
    return value


def _object(field: str, value: Any) -> Jsonb:
    if not isinstance(value, dict):
        raise InvalidInput(f"Invalid {field}; valid: a JSON object, or null.", field=field)
    for one, depth in _values_in(value):
        _require_plain(field, one, depth)
    written = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    if written > LONGEST_JSON:
        raise InvalidInput(f"{field} has {written:,} characters, and may have {LONGEST_JSON:,}.", field=field)
    return Jsonb(value)


def _values_in(value: Any) -> Iterator[tuple[Any, int]]:
    """Yield every key and value of a JSON value with its depth; without recursion, whatever was sent."""
    waiting = [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        yield one, depth
        if isinstance(one, dict):
            waiting += [(part, depth + 1) for pair in one.items() for part in pair]
        elif isinstance(one, list):
            waiting += [(part, depth + 1) for part in one]


def _require_plain(field: str, value: Any, depth: int) -> None:
    if depth > DEEPEST_JSON:
        raise InvalidInput(f"{field} is nested more than {DEEPEST_JSON} deep.", field=field)
    if isinstance(value, str):
        _storable(field, value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{field} holds a number that is too large.", field=field)
    elif isinstance(value, int) and not LEAST_NUMBER <= value <= GREATEST_NUMBER:
        raise InvalidInput(f"{field} holds a whole number of more than 64 bits.", hint="Send it as text.", field=field)


def _paths(field: str, value: Any) -> Jsonb:
    """Return thumbnails by resolution."""
    if not isinstance(value, dict):
        raise InvalidInput(f"Invalid {field}; valid: an object of paths by resolution, or null.", field=field)
    for path in value.values():
        _path(field, path)
    return _object(field, value)


def _words(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise InvalidInput(f"Invalid {field}; valid: a list of ids, names, slugs or aliases of tags.", field=field)
    if len(value) > MOST_TAGS:
        raise InvalidInput(f"{field} has {len(value):,} words, and may have {MOST_TAGS:,}.", field=field)
    if any(len(word) > LONGEST_WORD for word in value):
        raise InvalidInput(f"{field} has a word of more than {LONGEST_WORD} characters.", field=field)
    return tuple(dict.fromkeys(value))


def _or_null(check: _Check) -> _Check:
    return lambda field, value: None if value is None else check(field, value)


CHECKS: Mapping[str, _Check] = {
    "title": _text(LONGEST_TITLE),
    "content_type": _text(LONGEST_CONTENT_TYPE),
    "content_data": _text(LONGEST_DATA),
    "prompt": _text(LONGEST_PROMPT),
    "quality_score": _or_null(_number),
    "is_private": _flag,
    "path_thumb": _or_null(_path),
    "path_thumbs_alt_res": _or_null(_paths),
    "item_metadata": _or_null(_object),
    "tags": _words,
}
"""Every field that a caller sets, by the name it has as a column; only these names ever reach a statement."""
