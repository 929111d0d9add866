"""One line of a content file, parsed and checked; a bad line is a reason, never a stop."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from genonaut_lib.vocabulary import ContentSource

LAST_CREATED_AT = datetime(2025, 10, 1, tzinfo=UTC)
"""When the last line of a file without dates was created; a constant, so that two loads agree."""
SPREAD = timedelta(days=730)
MAX_UTC_OFFSET = timedelta(hours=16)
"""PostgreSQL takes no time zone further away from UTC (MAX_TZDISP_HOUR in its sources)."""
REGULAR_EVERY = 4
"""One line in four without a source goes to the regular source, the rest to auto."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL; an even run of backslashes before the `u` is text, not an escape."""


class ContentLine(BaseModel):
    """A content item in its legacy shape: only a title (or name) is required.

    `creator` (or `maintainer`) is any word or number that names the creator. Further fields of the
    line are kept in `item_metadata`. `tags` is taken as it stands, dirt included: judging it is the
    migration's business.
    """

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)

    title: str = Field(validation_alias=AliasChoices("title", "name"), min_length=1, max_length=255)
    creator: str = Field("unknown", validation_alias=AliasChoices("creator", "maintainer"), max_length=150)
    tags: Any = None
    source: ContentSource | None = None
    content_type: str = Field("text", max_length=50)
    content_data: str = ""
    prompt: str = Field("", max_length=20_000)
    created_at: datetime | None = None
    quality_score: float | None = Field(None, ge=0, le=1)
    is_private: bool = False


@dataclass(frozen=True)
class Reject:
    """A line that was not loaded: its number (from 1), why, and the line itself."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Position:
    """Where a line stands in its file; decides source and date where the line gives none."""

    number: int
    total: int

    @property
    def created_at(self) -> datetime:
        """Return the date of this position: the file's order, spread evenly over two years."""
        return LAST_CREATED_AT - SPREAD * ((self.total - self.number) / max(self.total, 1))

    @property
    def source(self) -> ContentSource:
        """Return the source of this position: every fourth line is regular."""
        return ContentSource.REGULAR if self.number % REGULAR_EVERY == 0 else ContentSource.AUTO


def parse_line(raw: bytes, position: Position) -> tuple[Any, ...] | Reject:
    """Return the staging row of a line (see `sql/content.sql`, stage), or the Reject that says why not.

    What PostgreSQL can store in neither text nor JSONB is rejected here, so that COPY never stops:
    bytes that are not UTF-8, NUL characters, half surrogate pairs, numbers beyond a double.
    """
    try:
        return _row(_content_line(raw), position)
    except (ValueError, RecursionError) as error:
        return Reject(position.number, _reason(error), raw.decode("utf-8", "backslashreplace"))


def _content_line(raw: bytes) -> ContentLine:
    text = raw.decode("utf-8")
    found = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    if not isinstance(found, dict):
        raise ValueError(f"not a JSON object but {type(found).__name__}")  # noqa: TRY004  # a bad line, whatever its type
    if _NUL.search(text):
        raise ValueError("holds a NUL character")
    if isinstance(found.get("source"), str):
        found["source"] = _source(found["source"])
    return ContentLine.model_validate(found)


def _source(word: str) -> ContentSource:
    try:
        return ContentSource.from_junction(word)
    except KeyError:
        raise ValueError(f"source: {word!r} is neither 'regular' nor 'auto'") from None


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is beyond a double")
    return value


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _reason(error: Exception) -> str:
    """Return a sentence a person can act upon; values are cut, since a line may be huge."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(step) for step in first["loc"])
        return f"{field}: {first['msg']}" if field else "holds half a surrogate pair"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: {error.reason} at byte {error.start}"
    if isinstance(error, UnicodeEncodeError):
        return "holds half a surrogate pair"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def _row(line: ContentLine, position: Position) -> tuple[Any, ...]:
    created = line.created_at or position.created_at
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    if abs(created.utcoffset() or timedelta(0)) >= MAX_UTC_OFFSET:
        raise ValueError("created_at: an offset of 16 hours or more is no time zone")
    if not 1 < created.year < 9999:
        raise ValueError("created_at: not within the years 2 to 9998")
    row = (
        position.number,
        (line.source or position.source).junction,
        line.title,
        line.content_type,
        line.content_data,
        _json(line.model_extra or None),
        line.creator,
        created,
        line.quality_score,
        line.is_private,
        line.prompt,
        _json(line.tags),
    )
    "".join(str(value) for value in row).encode()  # raises for half a surrogate pair
    return row


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)
