"""A cursor comes back exactly, for its own query only, and in no other text than was given out."""

from __future__ import annotations

import math
import struct
import uuid
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.errors import InvalidInput, InvalidSettings
from genonaut_lib.gallery import cursor
from genonaut_lib.gallery.cursor import LONGEST, Signer
from genonaut_lib.gallery.order import Position, Sort, SortField, SortValue
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.request_errors import InvalidCursor
from genonaut_lib.vocabulary import ContentSource

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SIGNER = Signer(KEY)
ONE, TWO, THREE, FOUR = (uuid.UUID(int=number) for number in range(1, 5))
MOMENT = datetime(2025, 3, 30, 1, 2, 3, 456789, tzinfo=UTC)
HERE = Position(MOMENT, ContentSource.AUTO, 17)
QUERY = GalleryQuery(
    tags=(ONE,), match=TagMatch.ALL, viewer=FOUR, scope=Scope(Creators.MINE, Creators.COMMUNITY), exclude=(TWO,),
    families=((ONE, TWO), (THREE, FOUR)), search="a cat", sort=Sort(SortField.CREATED_AT, descending=True),
)  # fmt: skip
OTHERS: dict[str, list[object]] = {
    "tags": [(), (TWO,), (ONE, TWO)],
    "match": [TagMatch.ANY],
    "viewer": [ONE],
    "scope": [
        Scope(Creators.COMMUNITY, Creators.MINE), Scope(Creators.MINE, Creators.EVERYBODY),
        Scope(Creators.NOBODY, Creators.COMMUNITY),
    ],
    "exclude": [(), (ONE,), (ONE, TWO)],
    "families": [(), ((ONE, TWO),), ((ONE, TWO, THREE), (FOUR,)), ((ONE, TWO, THREE, FOUR),)],
    "search": ["", "a dog", "a cat b"],
    "sort": [Sort(SortField.CREATED_AT, descending=False), Sort(SortField.UPDATED_AT, descending=True)],
}  # fmt: skip
"""For each field that a cursor is bound to, values other than QUERY's."""

OF_THE_PAGE = {"page_size", "page", "after", "before", "stale"}
"""What may differ between two pages of one query."""

zones = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones)  # noqa: DTZ001  # zones follow
titles = st.text(max_size=255)
ids = st.integers(-(2**31), 2**63 - 1)
VALUES: dict[SortField, st.SearchStrategy[SortValue]] = {
    SortField.CREATED_AT: moments,
    SortField.UPDATED_AT: moments,
    SortField.QUALITY_SCORE: st.none() | st.floats(),
    SortField.TITLE: titles,
    SortField.ID: ids,
}
places = st.sampled_from(SortField).flatmap(
    lambda field: st.tuples(
        st.builds(Sort, st.just(field), st.booleans()),
        st.builds(Position, VALUES[field], st.sampled_from(ContentSource), ids),
    )
)


def bits(value: SortValue) -> object:
    """Return a value so that equal means the same in every bit; NaN is not equal to itself otherwise."""
    return struct.pack(">d", value) if isinstance(value, float) else value


def refused(text: str, query: GalleryQuery = QUERY, signer: Signer = SIGNER) -> bool:
    """Say whether text is refused as cursors are: with the field, and what to do next."""
    try:
        signer.decode(text, query)
    except InvalidCursor as error:
        return error.field == "cursor" and error.hint == "Start again from the first page."
    return False


@given(places, st.booleans())
def test_every_place_comes_back_exactly(place: tuple[Sort, Position], backwards: bool) -> None:
    """Every sort field, every value, both sources, both directions; floats bit by bit, moments to the microsecond."""
    sort, position = place
    query = replace(QUERY, sort=sort)
    found = SIGNER.decode(SIGNER.encode(query, position, backwards=backwards), query)
    assert (found.before is not None, found.after is not None) == (backwards, not backwards)
    assert found.position is not None
    assert bits(found.position.value) == bits(position.value)
    assert (found.position.source, found.position.id) == (position.source, position.id)


@given(places)
def test_the_rest_of_the_query_stays_as_it_is(place: tuple[Sort, Position]) -> None:
    """A cursor says where the page is and nothing else."""
    query = replace(QUERY, sort=place[0], page_size=7, stale=True)
    found = SIGNER.decode(SIGNER.encode(query, place[1], backwards=False), query)
    assert replace(found, after=None) == query


def test_one_moment_is_one_cursor_in_every_zone() -> None:
    """The cursor does not depend on the session that answered."""
    away = replace(HERE, value=MOMENT.astimezone(timezone(timedelta(hours=-3, minutes=-30))))
    assert SIGNER.encode(QUERY, away, backwards=False) == SIGNER.encode(QUERY, HERE, backwards=False)


def test_a_cursor_for_the_newest_first_is_short() -> None:
    """It goes into an address: 34 bytes, 46 characters, none of which needs escaping there."""
    text = SIGNER.encode(QUERY, HERE, backwards=False)
    assert len(text) == 46
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("letter", ["x", "é", "猫", "🐈"])
def test_the_longest_title_of_any_script_fits(letter: str) -> None:
    """255 characters of up to four bytes."""
    query = replace(QUERY, sort=Sort(SortField.TITLE))
    position = replace(HERE, value=letter * 255)
    text = SIGNER.encode(query, position, backwards=False)
    assert len(text) <= LONGEST
    assert SIGNER.decode(text, query).after == position


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324])
def test_odd_floats_keep_their_place(value: float) -> None:
    """PostgreSQL orders NaN and infinities like any other number, so a page may end at one."""
    query = replace(QUERY, sort=Sort(SortField.QUALITY_SCORE))
    found = SIGNER.decode(SIGNER.encode(query, replace(HERE, value=value), backwards=True), query)
    assert found.before is not None
    assert bits(found.before.value) == bits(value)


@given(places)
def test_any_flipped_bit_is_refused(place: tuple[Sort, Position]) -> None:
    """Each bit of each character, the spare ones of the last character too."""
    query = replace(QUERY, sort=place[0])
    text = SIGNER.encode(query, place[1], backwards=False)
    flipped = [
        f"{text[:index]}{chr(ord(letter) ^ 1 << bit)}{text[index + 1 :]}"
        for index, letter in enumerate(text)
        for bit in range(8)
    ]
    assert [one for one in flipped if not refused(one, query)] == []


@given(places, st.data())
def test_any_cut_or_doubled_text_is_refused(place: tuple[Sort, Position], data: st.DataObject) -> None:
    """Missing ends, missing middles, and more than was given out."""
    query = replace(QUERY, sort=place[0])
    text = SIGNER.encode(query, place[1], backwards=False)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    changed = {text[:start] + text[end:], text[:start], text[end:], text + text, text[:end] + text[start:]} - {text}
    assert [one for one in changed if not refused(one, query)] == []


@pytest.mark.parametrize("text", ["", " ", "x", "page=1", "null", "=" * 46, "é" * 46, "猫", "A" * 46, "\0", "\ud800"])
def test_text_that_never_was_a_cursor_is_refused(text: str) -> None:
    """Nothing of it is page one."""
    assert refused(text)


@pytest.mark.parametrize("change", ["{}=", "{}==", " {}", "{}\n", "{}A", "\ufeff{}"])
def test_one_cursor_has_one_spelling(change: str) -> None:
    """Padding and blanks about it are not ours, lenient as decoders are with them."""
    assert refused(change.format(SIGNER.encode(QUERY, HERE, backwards=False)))


def test_text_beyond_any_cursor_is_refused_unread() -> None:
    """Nobody makes the service decode megabytes."""
    assert refused("A" * (LONGEST + 1))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, several in OTHERS.items() for value in several])
def test_a_cursor_is_refused_by_a_query_that_differs_in_one_field(name: str, value: object) -> None:
    """It is a place in the answer to one question."""
    other = replace(QUERY, **{name: value})  # type: ignore[arg-type]
    assert refused(SIGNER.encode(QUERY, HERE, backwards=False), other)
    assert refused(SIGNER.encode(other, HERE, backwards=False), QUERY)


def test_a_stranger_s_cursor_is_refused_by_nobody_in_particular() -> None:
    """No viewer is a viewer like any other."""
    query = replace(QUERY, scope=Scope(), viewer=None)
    assert refused(SIGNER.encode(query, HERE, backwards=False), replace(query, viewer=ONE))


def test_every_field_of_a_query_is_bound_or_of_the_page() -> None:
    """A new field must be put on one of the two lists, and then into the digest."""
    assert {field.name for field in fields(GalleryQuery)} == set(OTHERS) | OF_THE_PAGE


@pytest.mark.parametrize("change", [{"page_size": 100}, {"stale": True}, {"after": HERE}, {"before": HERE}])
def test_a_cursor_fits_another_page_of_its_query(change: dict[str, object]) -> None:
    """The size of the pages may change on the way, and the query may be one that was paged before."""
    text = SIGNER.encode(QUERY, HERE, backwards=False)
    found = SIGNER.decode(text, replace(QUERY, **change))  # type: ignore[arg-type]
    assert (found.after, found.before) == (HERE, None)


def test_a_cursor_and_a_page_number_are_refused_together() -> None:
    """Which of them is meant nobody knows."""
    text = SIGNER.encode(QUERY, HERE, backwards=False)
    with pytest.raises(InvalidInput, match="one of the three") as caught:
        SIGNER.decode(text, replace(QUERY, page=2))
    assert caught.value.field == "page"


def test_a_cursor_of_another_format_is_refused_though_the_seal_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout that was given up is never read as today's."""
    with monkeypatch.context() as older:
        older.setattr(cursor, "FORMAT", 2)
        text = SIGNER.encode(QUERY, HERE, backwards=False)
    with pytest.raises(InvalidCursor, match="another format"):
        SIGNER.decode(text, QUERY)


def test_the_format_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first byte put right by hand makes no cursor of this format."""
    with monkeypatch.context() as older:
        older.setattr(cursor, "FORMAT", 2)
        sealed = cursor._bytes_of(SIGNER.encode(QUERY, HERE, backwards=False))
    assert refused(cursor._text_of(b"\x01" + sealed[1:]))


def test_another_key_s_cursor_is_refused() -> None:
    """The key is what makes it ours."""
    assert refused(Signer(OTHER_KEY).encode(QUERY, HERE, backwards=False))


def test_cursors_of_an_older_key_are_read_until_it_is_taken_away() -> None:
    """Keys are changed without a reader losing their place; the first one signs."""
    text = SIGNER.encode(QUERY, HERE, backwards=False)
    both = Signer(OTHER_KEY, (KEY,))
    assert both.decode(text, QUERY).after == HERE
    assert both.encode(QUERY, HERE, backwards=False) == Signer(OTHER_KEY).encode(QUERY, HERE, backwards=False)
    assert refused(text, signer=Signer(OTHER_KEY))


@pytest.mark.parametrize("keys", [(b"",), (b"short",), (KEY, b"short")])
def test_a_short_key_is_refused(keys: tuple[bytes, ...]) -> None:
    """A key that can be guessed signs for anybody."""
    with pytest.raises(InvalidSettings, match="fewer than 16 bytes"):
        Signer(keys[0], keys[1:])


def test_a_signer_does_not_show_its_keys() -> None:
    """Whoever reads a log could forge cursors otherwise."""
    assert repr(Signer(KEY, (OTHER_KEY,))) == "Signer()"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (SortField.CREATED_AT, None),
        (SortField.CREATED_AT, MOMENT.replace(tzinfo=None)),
        (SortField.TITLE, None),
        (SortField.TITLE, 5),
        (SortField.ID, "5"),
        (SortField.QUALITY_SCORE, "high"),
    ],
)
def test_a_value_that_no_item_has_is_not_written(field: SortField, value: SortValue) -> None:
    """A mistake in a program shows where it is made, and never as a reader's cursor."""
    with pytest.raises((TypeError, ValueError, struct.error)):
        SIGNER.encode(replace(QUERY, sort=Sort(field)), replace(HERE, value=value), backwards=False)
