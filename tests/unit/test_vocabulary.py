"""What makes two spellings one tag, and the two words for each source."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genonaut_lib.vocabulary import (
    MAX_TAG_LENGTH,
    ContentSource,
    SpellingKind,
    canonical_tag_name,
    classify_spelling,
    facet_of,
    tag_id,
    tag_slug,
)


@pytest.mark.parametrize("spelling", ["Anime", "  anime ", "ANIME", "\tanime\n"])
def test_spellings_of_one_tag_share_a_name(spelling: str) -> None:
    """Case and outer white space do not make another tag."""
    assert canonical_tag_name(spelling) == "anime"


def test_inner_runs_of_white_space_become_one_blank() -> None:
    """Tabs, line ends and no-break blanks inside a name count as one blank."""
    assert canonical_tag_name("blue \t\n\u00a0 sky") == "blue sky"


def test_composed_and_decomposed_letters_are_one_name() -> None:
    """An accent typed as a mark of its own makes the same tag as the accented letter."""
    assert canonical_tag_name("cafe\u0301") == canonical_tag_name("CAF\u00c9") == "caf\u00e9"


@given(st.text())
@example("\u0130")
@example("J\u030c")
@example("H\u0331")
def test_canonical_name_is_idempotent(spelling: str) -> None:
    """A canonical name is its own canonical name, or one tag would be found under two ids."""
    name = canonical_tag_name(spelling)
    assert canonical_tag_name(name) == name


@pytest.mark.parametrize("capital", ["J\u030c", "H\u0331", "T\u0308", "W\u030a", "Y\u030a"])
def test_capital_without_composed_form_is_the_same_tag_as_its_small_letter(capital: str) -> None:
    """Letters that are composed in lower case only still fold with their capitals."""
    assert canonical_tag_name(capital) == canonical_tag_name(capital.lower())


@given(st.text())
def test_canonical_name_has_no_white_space_but_single_blanks(spelling: str) -> None:
    """No name starts or ends with white space or holds any but single blanks."""
    assert " ".join(canonical_tag_name(spelling).split()) == canonical_tag_name(spelling)


def test_tag_id_is_the_one_existing_galleries_hold() -> None:
    """The id of a name never changes between versions, since databases keep it."""
    assert tag_id("anime") == uuid.UUID("6e2f9be5-7116-55a8-9bc2-ce20ace35d08")


@given(st.text(), st.text())
def test_tag_ids_are_equal_exactly_where_names_are(one: str, other: str) -> None:
    """Two names have one id only when they are one name."""
    assert (tag_id(one) == tag_id(other)) == (one == other)


@given(st.text())
def test_slug_is_never_empty_and_safe_in_a_url(name: str) -> None:
    """Whatever the name, its slug is ASCII letters and digits joined by hyphens."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", tag_slug(name))


@pytest.mark.parametrize(
    ("name", "slug"), [("café au lait", "cafe-au-lait"), ("lang:c++", "lang-c"), ("--a__b--", "a-b"), ("ﬁne", "fine")]
)
def test_slug_keeps_what_ascii_can_say(name: str, slug: str) -> None:
    """Accents and ligatures are dropped to their letters, everything else to single hyphens."""
    assert tag_slug(name) == slug


def test_slug_of_a_name_without_ascii_is_the_head_of_its_id() -> None:
    """A name in another script has a slug of its own."""
    assert tag_slug("日本") == tag_id("日本").hex[:8]


@pytest.mark.parametrize(("name", "facet"), [("devel::lang:perl", "devel"), ("a::b::c", "a"), ("a ::b", "a")])
def test_facet_is_what_stands_before_the_first_separator(name: str, facet: str) -> None:
    """The facet is the parent of the tag."""
    assert facet_of(name) == facet


@pytest.mark.parametrize("name", ["anime", "lang:perl", "::perl", "devel::", "devel:: ", " ::perl", "::", ""])
def test_name_without_both_halves_has_no_facet(name: str) -> None:
    """A separator with nothing on one side is part of the name."""
    assert facet_of(name) is None


@given(st.text(), st.text())
def test_facet_of_a_canonical_name_is_canonical(facet: str, rest: str) -> None:
    """A facet becomes a tag itself, so it is spelled as tags are."""
    found = facet_of(canonical_tag_name(f"{facet}::{rest}"))
    assert found is None or canonical_tag_name(found) == found


@pytest.mark.parametrize(
    ("element", "kind"),
    [
        ("Anime", SpellingKind.NAME),
        ("6e2f9be5-7116-55a8-9bc2-ce20ace35d08", SpellingKind.UUID),
        (" 6E2F9BE5-7116-55A8-9BC2-CE20ACE35D08 ", SpellingKind.UUID),
        ("6e2f9be5711655a89bc2ce20ace35d08", SpellingKind.NAME),
        ("", SpellingKind.BLANK),
        (" \t\n", SpellingKind.BLANK),
        ("x" * MAX_TAG_LENGTH, SpellingKind.NAME),
        ("x" * (MAX_TAG_LENGTH + 1), SpellingKind.TOO_LONG),
        ("x" + " " * 2 * MAX_TAG_LENGTH, SpellingKind.TOO_LONG),
        (42, SpellingKind.NOT_A_STRING),
        (None, SpellingKind.NOT_A_STRING),
        (True, SpellingKind.NOT_A_STRING),
        (["anime"], SpellingKind.NOT_A_STRING),
        ({"name": "anime"}, SpellingKind.NOT_A_STRING),
    ],
)
def test_every_kind_of_element_is_told_from_the_others(element: object, kind: SpellingKind) -> None:
    """Only names and UUIDs can be mapped; everything else has its own reason."""
    assert classify_spelling(element) is kind


@given(st.uuids())
def test_every_uuid_is_classified_as_one_in_either_case(value: uuid.UUID) -> None:
    """A UUID is recognised however its digits are written."""
    assert classify_spelling(str(value)) is classify_spelling(str(value).upper()) is SpellingKind.UUID


@given(st.text() | st.integers() | st.none() | st.lists(st.text()))
def test_classification_never_raises(element: object) -> None:
    """Dirt in a legacy array is a finding, never a stop."""
    assert classify_spelling(element) in SpellingKind


@pytest.mark.parametrize("source", ContentSource)
def test_source_is_found_by_either_spelling(source: ContentSource) -> None:
    """Junction and partition key lead back to the source they were taken from."""
    assert ContentSource.from_junction(source.junction) is ContentSource.from_partition(source.partition) is source


def test_regular_content_has_two_words() -> None:
    """The junction says `regular` where the partition key says `items`."""
    regular = ContentSource.REGULAR
    assert (regular.junction, regular.partition, regular.table) == ("regular", "items", "content_items")


def test_the_other_vocabulary_is_refused() -> None:
    """A partition key is no junction word and the reverse, so mixing them fails loudly."""
    with pytest.raises(KeyError):
        ContentSource.from_junction("items")
    with pytest.raises(KeyError):
        ContentSource.from_partition("regular")
