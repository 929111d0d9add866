"""Words find their tags in a migrated gallery, and a tag finds its descendants."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery import naming
from genonaut_lib.gallery.naming import MAX_FAMILY, MOST_ADVISED, MOST_NEAR, NEIGHBOURS, families, family, resolve
from genonaut_lib.migration.phases import Context
from genonaut_lib.vocabulary import tag_id, tag_slug
from tests.factories import Gallery
from tests.migration.test_phases import apply

Ask = Callable[..., Any]
SEEDED = [
    "anime", " Anime ", "science fiction", "devel::lang:perl", "implemented-in::perl", "café", "impressionism", "猫",
]  # fmt: skip
SPELLINGS = {
    "  SCIENCE   Fiction ": "science fiction",
    "Science-Fiction": "science fiction",
    "CAFE\N{COMBINING ACUTE ACCENT}": "café",
    "cafe": "café",
    "猫": "猫",
    str(tag_id("anime")).upper(): "anime",
    "Devel::Lang:Perl": "devel::lang:perl",
    "devel-lang-perl": "devel::lang:perl",
    "devel": "devel",
}
MISSPELT = {
    "anmie": "anime",
    "nime": "anime",
    "xnime": "anime",
    "animme": "anime",
    "ANIM": "anime",
    "sciense fictoin": "science fiction",
    "impresionnism": "impressionism",
    "perl": "devel::lang:perl",
    "scifi": "science fiction",
    "猫猫": "猫",
}


@pytest.fixture
def tagged(context: Context, gallery: Gallery) -> Connection:
    """A handful of tags, as the migration seeds them; its later phases leave these tables alone."""
    gallery.legacy_item(SEEDED)
    apply(context, "seed_tags")
    return context.connection


def make_tag(connection: Connection, name: str, slug: str = "") -> uuid.UUID:
    """Make a tag as an application would, later."""
    statement = (
        "insert into tags (id, tag_no, name, slug, label)"
        " select %(id)s, coalesce(max(tag_no), 0) + 1, %(name)s, %(slug)s, %(name)s from tags"
    )
    connection.execute(statement, {"id": tag_id(name), "name": name, "slug": slug or tag_slug(name)})
    return tag_id(name)


def make_alias(connection: Connection, spelling: str, name: str) -> None:
    connection.execute("insert into tag_aliases (spelling, tag_id) values (%s, %s)", [spelling, tag_id(name)])


def put_below(connection: Connection, *pairs: tuple[str, str]) -> None:
    """Write `(tag, parent)` pairs by hand, past every check but the table's own."""
    for tag, parent in pairs:
        connection.execute("insert into tag_parents values (%s, %s)", [tag_id(tag), tag_id(parent)])


def found(ask: Ask, *words: str) -> dict[str, uuid.UUID]:
    """Return what words mean; all of them must mean something."""
    resolved = ask(lambda reader: resolve(reader, words))
    assert resolved.unknown == {}
    return dict(resolved.found)


def near(ask: Ask, *words: str) -> dict[str, tuple[str, ...]]:
    """Return the near names of words; none of them may mean anything."""
    resolved = ask(lambda reader: resolve(reader, words))
    assert resolved.found == {}
    return dict(resolved.unknown)


def test_a_tag_is_found_by_id_slug_name_and_alias(ask: Ask, tagged: Connection) -> None:
    """Whatever people or links call it."""
    make_alias(tagged, "sci-fi", "science fiction")
    words = (str(tag_id("science fiction")), "science-fiction", "science fiction", "sci-fi")
    assert found(ask, *words) == dict.fromkeys(words, tag_id("science fiction"))


def test_spelling_does_not_matter(ask: Ask, tagged: Connection) -> None:
    """Case, blanks, ways to write an accent, and a facet that only its tags made a tag."""
    assert found(ask, *SPELLINGS) == {word: tag_id(name) for word, name in SPELLINGS.items()}


def test_repeated_words_are_one(ask: Ask, tagged: Connection) -> None:
    """Duplicates are harmless, and so is asking for nothing."""
    assert found(ask, "anime", "anime", "Anime") == {"anime": tag_id("anime"), "Anime": tag_id("anime")}
    assert found(ask) == {}


def test_a_slug_goes_before_a_name_and_a_name_before_an_alias(ask: Ask, tagged: Connection) -> None:
    """A link that was right when it was made is right for ever, whatever tags come later."""
    later = make_tag(tagged, "science-fiction", slug="science-fiction-2")
    make_alias(tagged, "science-fiction", "anime")
    make_tag(tagged, "manga comics")
    make_alias(tagged, "manga comics", "anime")
    words = found(ask, "science-fiction", "science-fiction-2", "manga comics")
    assert list(words.values()) == [tag_id("science fiction"), later, tag_id("manga comics")]


def test_a_word_goes_before_the_form_that_all_its_spellings_share(ask: Ask, tagged: Connection) -> None:
    """Where one spelling was given a meaning of its own, it keeps it."""
    tagged.execute("update tag_aliases set tag_id = %s where spelling = ' Anime '", [tag_id("café")])
    assert found(ask, " Anime ", "Anime", "ANIME ") == {
        " Anime ": tag_id("café"), "Anime": tag_id("anime"), "ANIME ": tag_id("anime"),
    }  # fmt: skip


def test_an_id_goes_before_everything(ask: Ask, tagged: Connection) -> None:
    """A tag that is called like another's id does not hide it."""
    anime = str(tag_id("anime"))
    make_tag(tagged, anime, slug=anime)
    assert found(ask, anime) == {anime: tag_id("anime")}


def test_a_tag_that_kept_its_case_is_found_by_it(ask: Ask, tagged: Connection) -> None:
    """Where a policy made a tag of each variant, the exact spelling tells them apart."""
    upper = make_tag(tagged, "ANIME", slug="anime-2")
    assert found(ask, "ANIME", "anime", "AniMe") == {"ANIME": upper, "anime": tag_id("anime"), "AniMe": tag_id("anime")}


def test_a_word_that_no_tag_can_be_called_is_unknown(ask: Ask, tagged: Connection) -> None:
    """It is no error here, and nothing of it reaches a statement's text."""
    words = ["", "   ", "\0", "anime\0", "\ud800", "x" * 401, str(uuid.UUID(int=5)), "%", "a'; --"]
    assert list(near(ask, *words)) == words


def test_an_unknown_word_comes_with_near_names(ask: Ask, tagged: Connection) -> None:
    """Letters swapped, lost, doubled or wrong, halves of names, and misspelt aliases, among fifty thousand tags."""
    make_alias(tagged, "sci-fi", "science fiction")
    tagged.execute(
        "insert into tags (id, tag_no, name, slug, label) select gen_random_uuid(), 1000 + n, w, w, w"
        " from generate_series(1, 50000) n, lateral (select md5(n::text) as w) m"
    )
    names = {word: near(ask, word)[word] for word in MISSPELT}
    assert [word for word, name in MISSPELT.items() if name not in names[word]] == []
    assert max(map(len, names.values())) <= MOST_NEAR


def test_nothing_is_near_a_word_like_no_other(ask: Ask, tagged: Connection) -> None:
    """A name that is far from the word helps nobody."""
    assert near(ask, "qqqqqqqqqq") == {"qqqqqqqqqq": ()}


def test_near_names_are_looked_for_in_few_rows_however_many_words(ask: Ask, tagged: Connection) -> None:
    """Advice is bounded: for a few words, from a few rows each, and none for who wants none."""
    for number in range(300):
        make_tag(tagged, f"tag {number}")
    words = [f"tagg {number}" for number in range(50)]
    resolved = ask(lambda reader: resolve(reader, words))
    assert [word for word, names in resolved.unknown.items() if names] == words[:MOST_ADVISED]
    assert not any(ask(lambda reader: resolve(reader, words, suggest=False)).unknown.values())
    rows = tagged.execute(block("naming", "near").sql(), naming._places(["tagg"])).fetchall()
    assert 2 * NEIGHBOURS <= len(rows) <= 6 * NEIGHBOURS


def test_a_family_is_a_tag_with_all_below_it(ask: Ask, tagged: Connection) -> None:
    """Facets came as parents from the migration; a tag without children is its own family."""
    names = {"devel": {"devel", "devel::lang:perl"}, "anime": {"anime"}}
    for name, members in names.items():
        assert ask(lambda reader, name=name: family(reader, tag_id(name))) == tuple(sorted(map(tag_id, members)))


def test_a_tag_with_several_parents_is_in_each_family_once(ask: Ask, tagged: Connection) -> None:
    """art > painting > impressionism, art > style > impressionism."""
    for name in ("art", "painting", "style"):
        make_tag(tagged, name)
    put_below(tagged, ("painting", "art"), ("style", "art"), ("impressionism", "painting"), ("impressionism", "style"))
    found = ask(lambda reader: families(reader, [tag_id("art"), tag_id("style")]))
    assert found == {
        tag_id("art"): tuple(sorted(map(tag_id, ("art", "painting", "style", "impressionism")))),
        tag_id("style"): tuple(sorted(map(tag_id, ("style", "impressionism")))),
    }


def test_a_circle_that_somebody_wrote_ends(ask: Ask, tagged: Connection) -> None:
    """All tags of a circle have one family; nobody waits for ever."""
    put_below(tagged, ("anime", "café"), ("café", "猫"), ("猫", "anime"), ("impressionism", "猫"))
    members = tuple(sorted(map(tag_id, ("anime", "café", "猫", "impressionism"))))
    for name in ("anime", "café", "猫"):
        assert ask(lambda reader, name=name: family(reader, tag_id(name))) == members


def test_a_family_too_large_for_a_query_is_refused(ask: Ask, tagged: Connection) -> None:
    """It is never cut off; the bound itself is still taken."""
    tagged.execute(
        "insert into tags (id, tag_no, name, slug, label) select gen_random_uuid(), 1000 + n, w, w, 'below'"
        " from generate_series(2, %s) n, lateral (select md5(n::text) as w) m",
        [MAX_FAMILY],
    )
    tagged.execute("insert into tag_parents select id, %s from tags where label = 'below'", [tag_id("anime")])
    assert len(ask(lambda reader: family(reader, tag_id("anime")))) == MAX_FAMILY
    put_below(tagged, ("café", "anime"))
    with pytest.raises(InvalidInput, match=f"more than {MAX_FAMILY} tags") as caught:
        ask(lambda reader: family(reader, tag_id("anime")))
    assert caught.value.field == "families"
