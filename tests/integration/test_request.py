"""What a caller says becomes the query that answers it, tags, families, limits and cursors included."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.cursor import Signer
from genonaut_lib.gallery.page import read_page
from genonaut_lib.gallery.query import NOTHING, GalleryQuery, TagMatch
from genonaut_lib.gallery.request import GalleryRequest, to_query
from genonaut_lib.migration.phases import Context
from genonaut_lib.request_errors import InvalidCursor, UnknownTag
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.test_phases import apply

Ask = Callable[..., Any]
SIGNER = Signer(b"k" * 32)
CAT, DOG, PERL, DEVEL = (tag_id(name) for name in ("cat", "dog", "devel::lang:perl", "devel"))


def fill(gallery: Gallery) -> None:
    for source in ContentSource:
        gallery.legacy_item(["cat"], source)
        gallery.legacy_item(["Cat", "dog"], source)
        gallery.legacy_item(["devel::lang:perl"], source)


@pytest.fixture
def filled(gallery: Gallery, migrate: Callable[[], None]) -> Gallery:
    """Six migrated items over both sources."""
    fill(gallery)
    migrate()
    return gallery


@pytest.fixture
def seeded(gallery: Gallery, context: Context) -> Gallery:
    """Their tags alone, for what reads no items; the migration's later phases leave them as they are."""
    fill(gallery)
    apply(context, "seed_tags")
    return gallery


def query_of(ask: Ask, max_tags: int = 20, **values: object) -> GalleryQuery:
    request = GalleryRequest(**values)  # type: ignore[arg-type]
    found = ask(lambda reader: to_query(reader, request, SIGNER, max_tags))
    assert isinstance(found, GalleryQuery)
    return found


def rows(ask: Ask, query: GalleryQuery) -> list[str]:
    return list(ask(lambda reader: read_page(reader, query)).keys)


def test_words_become_a_query(ask: Ask, seeded: Gallery) -> None:
    """Wanted, with descendants, and excluded, each by another kind of word."""
    query = query_of(ask, tags=[" CAT"], families=["devel"], exclude=[str(DOG)], match="all")
    expected = GalleryQuery((CAT,), TagMatch.ALL, families=((DEVEL, PERL),), exclude=(DOG,))
    assert query == expected


def test_the_same_tags_in_other_words_are_the_same_query(ask: Ask, seeded: Gallery) -> None:
    """Order, repetition and spelling change nothing, so cursors and caches stay good."""
    assert query_of(ask, tags=["cat", "dog"]) == query_of(ask, tags=["DOG", str(CAT), "dog", "Cat", "cat"])


def test_a_family_of_one_is_a_tag(ask: Ask, seeded: Gallery) -> None:
    """A tag without descendants asks for the same rows, so it is the same query."""
    assert query_of(ask, families=["cat"]) == query_of(ask, tags=["cat"], families=["cat"]) == GalleryQuery((CAT,))


def test_the_query_of_a_family_shows_what_lies_below_it(ask: Ask, filled: Gallery) -> None:
    """Nobody carries `devel` itself."""
    assert rows(ask, query_of(ask, tags=["devel"])) == []
    assert rows(ask, query_of(ask, families=["devel"])) == ["auto/3", "regular/3"]


def test_an_unknown_tag_is_refused_with_near_names(ask: Ask, seeded: Gallery) -> None:
    """The names come from the gallery's own tags."""
    with pytest.raises(UnknownTag, match=r"No tag is called 'dgo'\. Near 'dgo': 'dog'") as caught:
        query_of(ask, tags=["cat"], exclude=["dgo"])
    assert (caught.value.field, caught.value.word, caught.value.near) == ("exclude", "dgo", ("dog",))


@pytest.mark.parametrize(("match", "expected"), [("all", []), ("any", ["regular/2", "regular/1"])])
def test_a_lenient_request_finds_what_it_can(match: str, expected: list[str], ask: Ask, filled: Gallery) -> None:
    """All of a known and an unknown tag is nothing; any of them is the known one."""
    query = query_of(ask, tags=["cat", "cta"], match=match, lenient=True, content_types=["regular"])
    assert rows(ask, query) == expected
    assert (query.scope == NOTHING) is (match == "all")


def test_the_limit_counts_tags_and_not_words(ask: Ask, seeded: Gallery) -> None:
    """Two tags in eight words are two, and as many may be excluded; a third is one too many."""
    words = ["cat", "Cat", " cat", str(CAT), "dog", "Dog", "DOG", str(DOG)]
    query = query_of(ask, 2, tags=words, families=["cat"], exclude=words)
    assert (len(query.tags), len(query.exclude)) == (2, 2)


@pytest.mark.parametrize(("third", "field"), [("tags", "tags"), ("families", "tags"), ("exclude", "exclude")])
def test_one_tag_too_many_is_refused_with_limit_and_knob(third: str, field: str, ask: Ask, seeded: Gallery) -> None:
    """Wanted tags and families count together."""
    first = "exclude" if third == "exclude" else "tags"
    values = {"tags": [], "families": [], "exclude": [], first: ["cat", "dog"]}
    values[third] = [*values[third], "devel"]
    with pytest.raises(InvalidInput, match=r"s 3 tags, .* at most 2 tags.*planner\.max_tags") as caught:
        query_of(ask, 2, **values)
    assert caught.value.field == field


def test_a_malformed_request_asks_the_database_nothing(ask: Ask, connection: Connection) -> None:
    """There are no tables here at all."""
    with pytest.raises(InvalidInput, match="Invalid content_source_type"):
        query_of(ask, tags=["cat"], content_source_types=["mine"])
    assert query_of(ask) == GalleryQuery()


def test_cursors_lead_from_page_to_page_and_back(ask: Ask, filled: Gallery) -> None:
    """The next page of a request is the same request with the cursor that came with the page."""
    asked: dict[str, object] = {"tags": ["cat"], "page_size": 1}
    query = query_of(ask, **asked)
    page = ask(lambda reader: read_page(reader, query))
    forth = query_of(ask, **asked, cursor=SIGNER.encode(query, page.next_position, backwards=False))
    second = ask(lambda reader: read_page(reader, forth))
    back = query_of(ask, **asked, cursor=SIGNER.encode(forth, second.previous_position, backwards=True))
    assert [page.keys, second.keys, rows(ask, back)] == [["auto/2"], ["auto/1"], ["auto/2"]]


def test_a_cursor_of_other_words_is_refused(ask: Ask, filled: Gallery) -> None:
    """And so are an empty one, and one beside a page number."""
    query = query_of(ask, tags=["cat"], page_size=1)
    position = ask(lambda reader: read_page(reader, query)).next_position
    cursor = SIGNER.encode(query, position, backwards=False)
    assert query_of(ask, tags=["Cat"], page_size=9, cursor=cursor) == replace(query, page_size=9, after=position)
    for other in ({"tags": ["dog"]}, {"tags": ["cat"], "viewer": uuid.UUID(int=1)}, {"tags": ["cat"], "search": "x"}):
        with pytest.raises(InvalidCursor):
            query_of(ask, **other, cursor=cursor)
    with pytest.raises(InvalidCursor):
        query_of(ask, tags=["cat"], cursor="")
    with pytest.raises(InvalidInput, match="one of the three"):
        query_of(ask, tags=["cat"], cursor=cursor, page=2)
