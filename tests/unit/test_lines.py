"""A line of a content file becomes a staging row or a reason, whatever it holds."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genonaut_lib.content.lines import LAST_CREATED_AT, SPREAD, Position, Reject, parse_line
from genonaut_lib.vocabulary import ContentSource

COLUMNS = (
    "line", "source", "title", "content_type", "content_data", "item_metadata",
    "creator", "created_at", "quality_score", "is_private", "prompt", "tags",
)  # fmt: skip
FIRST = Position(1, 10)
POSTGRES_OFFSET_LIMIT = timedelta(hours=16)
"""PostgreSQL refuses a time zone displacement of sixteen hours or more (MAX_TZDISP_HOUR is 15)."""

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
FIELDS = (
    "title", "name", "creator", "maintainer", "tags", "source", "content_type", "content_data", "prompt",
    "created_at", "quality_score", "is_private", "further",
)  # fmt: skip
known = st.sampled_from(FIELDS)


def row(position: Position = FIRST, **fields: Any) -> dict[str, Any]:
    """Return the staging row of a good line with these fields, by column."""
    found = parse_line(json.dumps({"title": "a title", **fields}).encode(), position)
    assert not isinstance(found, Reject), found.reason
    return dict(zip(COLUMNS, found, strict=True))


def reason(raw: bytes | str) -> str:
    """Return why a line is rejected."""
    found = parse_line(raw.encode() if isinstance(raw, str) else raw, FIRST)
    assert isinstance(found, Reject)
    return found.reason


def test_title_alone_is_a_line() -> None:
    """Everything but the title has a default."""
    found = row()
    assert found["creator"] == "unknown"
    assert (found["tags"], found["item_metadata"], found["is_private"]) == (None, None, False)


def test_name_and_maintainer_are_other_words() -> None:
    """Package lists say name and maintainer where galleries say title and creator."""
    found = parse_line(b'{"name": "perl", "maintainer": 7}', FIRST)
    assert isinstance(found, tuple)
    assert (found[2], found[6]) == ("perl", "7")


def test_further_fields_are_kept_as_metadata() -> None:
    """Nothing of a line is lost."""
    assert json.loads(row(width=512, nested={"a": [1]})["item_metadata"]) == {"width": 512, "nested": {"a": [1]}}


@pytest.mark.parametrize("tags", [[], ["a", 1, None], "word", 5, {"a": 1}, [["deep"]], False])
def test_tags_are_taken_as_they_stand(tags: Any) -> None:
    """Judging dirt is the migration's business."""
    assert json.loads(row(tags=tags)["tags"]) == tags


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", "not JSON: Expecting value at column 1"),
        ("{", "not JSON: Expecting property name"),
        ('{"title": "x"} x', "not JSON: Extra data"),
        (b'{"title": "\xff"}', "not UTF-8: invalid start byte at byte 11"),
        ("[]", "not a JSON object but list"),
        ("null", "not a JSON object but NoneType"),
        ('"title"', "not a JSON object but str"),
        ("{}", "title: Field required"),
        ('{"title": ""}', "title: String should have at least 1 character"),
        ('{"title": null}', "title: Input should be a valid string"),
        ('{"title": true}', "title: Input should be a valid string"),
        (json.dumps({"title": "x" * 256}), "title: String should have at most 255"),
        (json.dumps({"title": "x", "creator": "c" * 151}), "creator: String should have at most 150"),
        (json.dumps({"title": "x", "content_type": "c" * 51}), "content_type: String should have at most 50"),
        (json.dumps({"title": "x", "prompt": "p" * 20_001}), "prompt: String should have at most 20000"),
        ('{"title": "x", "source": "items"}', "source: 'items' is neither 'regular' nor 'auto'"),
        ('{"title": "x", "source": 5}', "source: "),
        ('{"title": "x", "quality_score": 1.5}', "quality_score: Input should be less than or equal to 1"),
        ('{"title": "x", "quality_score": -1}', "quality_score: Input should be greater than or equal to 0"),
        ('{"title": "x", "created_at": "yesterday"}', "created_at: Input should be a valid datetime"),
        ('{"title": "x", "is_private": "perhaps"}', "is_private: Input should be a valid boolean"),
        ('{"title": "x\\u0000"}', "holds a NUL character"),
        ('{"title": "x", "deep": {"k\\u0000": 1}}', "holds a NUL character"),
        ('{"title": "x", "tags": ["\\ud800"]}', "holds half a surrogate pair"),
        ('{"title": "x", "further": "\\udfff"}', "holds half a surrogate pair"),
        ('{"title": "x", "further": {"\\udfff": 1}}', "holds half a surrogate pair"),
        ('{"title": "\\ud800"}', "title: "),
        ('{"title": "x", "tags": NaN}', "NaN is not a JSON number"),
        ('{"title": "x", "further": -Infinity}', "-Infinity is not a JSON number"),
        ('{"title": "x", "further": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"title": "x", "further": ' + "1" * 5_000 + "}", "Exceeds the limit"),
    ],
)
def test_every_kind_of_bad_line_has_its_reason(raw: bytes | str, expected: str) -> None:
    """A person can find and mend the line from the reason alone."""
    assert reason(raw).startswith(expected)


@pytest.mark.parametrize("field", ["title", "creator", "tags", "quality_score", "created_at", "further"])
def test_number_beyond_a_double_is_rejected(field: str) -> None:
    """A number that became infinite on reading is not loaded as the word `inf` either."""
    assert reason(f'{{"name": "x", "{field}": 1e999}}')


def test_key_with_half_a_surrogate_says_so() -> None:
    """A bad key among the further fields is explained like a bad value."""
    assert reason('{"title": "x", "\\ud800": 1}') == "holds half a surrogate pair"


@pytest.mark.parametrize("text", ["\\\\u0000", "\\\\\\\\u0000", "C:\\\\u0000dir"])
def test_backslash_and_zeros_are_no_nul(text: str) -> None:
    """An escaped backslash before u0000 is text that somebody wrote."""
    found = parse_line(f'{{"title": "{text}"}}'.encode(), FIRST)
    assert isinstance(found, tuple)
    assert found[2] == json.loads(f'"{text}"')


def test_reject_keeps_number_and_line() -> None:
    """The rejects file leads back to the line, bytes that are no text included."""
    assert parse_line(b"x\xff", Position(7, 9)) == Reject(7, "not UTF-8: invalid start byte at byte 1", "x\\xff")


def test_reason_is_short_however_long_the_line() -> None:
    """A huge value does not fill the rejects file twice."""
    assert len(reason(json.dumps({"title": "x", "source": "s" * 100_000}))) <= 200


@given(st.binary())
@example(b"\xef\xbb\xbf{}")
@example(b'{"title":"\x00"}')
def test_arbitrary_bytes_never_raise(raw: bytes) -> None:
    """One bad line never stops a load."""
    found = parse_line(raw, FIRST)
    assert isinstance(found, tuple | Reject)


@given(values | st.dictionaries(known, values) | st.fixed_dictionaries({"title": st.text()}, optional={"tags": values}))
def test_arbitrary_json_never_raises(value: Any) -> None:
    """Whatever JSON says, a line is a row or a reason."""
    found = parse_line(json.dumps(value).encode(), FIRST)
    assert isinstance(found, tuple | Reject)


@given(st.dictionaries(known, values), st.text(min_size=1, max_size=255))
def test_every_accepted_row_is_text_postgres_can_store(fields: dict[str, Any], title: str) -> None:
    """No row holds a NUL or half a surrogate pair, so COPY never stops."""
    found = parse_line(json.dumps({**fields, "title": title}).encode(), FIRST)
    if isinstance(found, tuple):
        assert b"\0" not in "".join(str(value) for value in found).encode()
        assert all("\\u0000" not in (found[place] or "").replace("\\\\", "") for place in (5, 11))


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_date_of_a_position_lies_within_the_spread(number: int, further: int) -> None:
    """No date lies before the two years or after the last line's."""
    assert LAST_CREATED_AT - SPREAD <= Position(number, number + further).created_at <= LAST_CREATED_AT


def test_dates_are_spread_evenly_in_file_order() -> None:
    """Lines without a date keep the file's order, and the last one has the constant date."""
    dates = [Position(number, 5).created_at for number in range(1, 6)]
    assert {later - earlier for earlier, later in itertools.pairwise(dates)} == {SPREAD / 5}
    assert dates[-1] == LAST_CREATED_AT


def test_line_with_a_date_keeps_it() -> None:
    """A position's date is for lines without one."""
    assert row(created_at="2020-02-03T04:05:06+02:00")["created_at"] == datetime(2020, 2, 3, 2, 5, 6, tzinfo=UTC)


def test_date_without_a_zone_is_utc() -> None:
    """Two machines in different zones load the same instant."""
    assert row(created_at="2020-02-03T04:05:06")["created_at"] == datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["+14:00", "-12:00", "+16:00", "-16:00", "+20:00", "-23:59"])
def test_date_of_an_accepted_row_has_a_zone_postgres_knows(zone: str) -> None:
    """An offset beyond PostgreSQL's limit becomes another offset or a reason, since it would stop COPY."""
    found = parse_line(json.dumps({"title": "x", "created_at": f"2025-01-01T00:00:00{zone}"}).encode(), FIRST)
    offset = timedelta(0) if isinstance(found, Reject) else found[7].utcoffset()
    assert abs(offset) < POSTGRES_OFFSET_LIMIT


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+15:00", "9999-12-31T23:59:59-15:00"])
def test_date_at_the_end_of_the_calendar_never_raises(date: str) -> None:
    """A date that has no UTC form in Python is a row or a reason."""
    assert isinstance(parse_line(json.dumps({"title": "x", "created_at": date}).encode(), FIRST), tuple | Reject)


def test_every_fourth_line_is_regular() -> None:
    """Without a source, one line in four is regular and the rest auto."""
    regular = [number for number in range(1, 13) if Position(number, 12).source is ContentSource.REGULAR]
    assert regular == [4, 8, 12]


@pytest.mark.parametrize("source", ContentSource)
@pytest.mark.parametrize("number", [1, 4])
def test_source_of_the_line_wins_over_its_position(source: ContentSource, number: int) -> None:
    """The position decides only where the line does not, and the row says the junction's word."""
    assert row(Position(number, 10), source=source.junction)["source"] == source.junction


def test_null_source_is_no_source() -> None:
    """A line may say null for what it does not know."""
    assert row(Position(4, 10), source=None)["source"] == "regular"
