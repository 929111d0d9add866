"""Words to tags: what a caller calls a tag, by id, slug, name or alias, and the family below a tag."""

from __future__ import annotations

import difflib
import functools
import string
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.query import Group
from genonaut_lib.vocabulary import MAX_TAG_LENGTH, SpellingKind, canonical_tag_name, classify_spelling

KINDS = ("id", "slug", "name", "alias")
"""What a word is tried as, in this order: what links carry goes before what people write. A tag that comes
later never takes a slug that is taken, so a link means the same tag for ever."""

MAX_FAMILY = 10_000
"""Most tags that the families of one query hold together: all of them are bound to its statement."""

MOST_NEAR = 5
MOST_ADVISED = 3
"""Near names given for a word, and words of one request that are given any."""

NEIGHBOURS = 40
SCANNED = 100_000
LONGEST_MISSPELT = 24
LEAST_ALIKE = 0.6
_LETTERS = frozenset(string.ascii_lowercase + string.digits + " -_:.")

_Meanings = Mapping[tuple[str, str], uuid.UUID]


@dataclass(frozen=True)
class Resolved:
    """What words mean: the tag of each that means one, and near names, nearest first, for each that means none."""

    found: Mapping[str, uuid.UUID]
    unknown: Mapping[str, tuple[str, ...]]


async def resolve(connection: AsyncConnection, words: Sequence[str], *, suggest: bool = True) -> Resolved:
    """Return what each word means; one round trip, and one more to advise on words that mean nothing.

    A word is taken as it is spelled first, then in the form all spellings of a tag share, each time as
    one of KINDS in their order. So `Anime` is the tag whose alias is spelled like that, before the one
    called `anime`; and a word that is the slug of one tag and the name or alias of another means the
    first. Near names are looked for in a bounded number of rows and for three words at most; the others
    come with none, and so does every word with `suggest` off.
    """
    forms = {word: _forms(word) for word in words}
    meanings = await _meanings(connection, {form for several in forms.values() for form in several})
    found = {word: tag for word, several in forms.items() if (tag := _meant(several, meanings)) is not None}
    unknown = [word for word in forms if word not in found]
    near = await _near(connection, unknown) if suggest else {}
    return Resolved(found, {word: near.get(word, ()) for word in unknown})


async def family(connection: AsyncConnection, tag: uuid.UUID) -> Group:
    """Return a tag and all its descendants, sorted; itself alone where it has none. See `families`."""
    return (await families(connection, [tag]))[tag]


async def families(connection: AsyncConnection, tags: Collection[uuid.UUID]) -> dict[uuid.UUID, Group]:
    """Return the family of each tag, in one round trip.

    A descendant counts once, by however many ways it comes down, and a circle in the hierarchy harms
    nobody. Raises InvalidInput when the families hold more than MAX_FAMILY tags together.
    """
    if not tags:
        return {}
    members: dict[uuid.UUID, list[uuid.UUID]] = {tag: [] for tag in tags}
    rows = await _rows(connection, "families", {"tags": list(members), "limit": MAX_FAMILY + 1})
    if len(rows) > MAX_FAMILY:
        problem = f"The tags asked for with their descendants hold more than {MAX_FAMILY} tags."
        raise InvalidInput(problem, hint="Ask for tags further down in the hierarchy.", field="families")
    for root, tag in rows:
        members[root].append(tag)
    return {root: tuple(sorted(several)) for root, several in members.items()}


def is_storable(text: str) -> bool:
    """Say whether PostgreSQL can hold a text: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _forms(word: str) -> tuple[str, ...]:
    """Return what a word is looked up as; nothing when no tag can be called so."""
    if len(word) > 2 * MAX_TAG_LENGTH or not is_storable(word):
        return ()
    canonical = canonical_tag_name(word)
    return tuple(dict.fromkeys((word, canonical))) if canonical else ()


async def _meanings(connection: AsyncConnection, forms: Collection[str]) -> _Meanings:
    if not forms:
        return {}
    ids = {uuid.UUID(canonical_tag_name(form)) for form in forms if classify_spelling(form) is SpellingKind.UUID}
    rows = await _rows(connection, "resolve", {"words": sorted(forms), "ids": sorted(ids)})
    return {(kind, spelling): tag for kind, spelling, tag in rows}


def _meant(forms: Iterable[str], meanings: _Meanings) -> uuid.UUID | None:
    return next((meanings[kind, form] for form in forms for kind in KINDS if (kind, form) in meanings), None)


async def _near(connection: AsyncConnection, unknown: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return near names of the first few words that could be anything's name at all."""
    advised = {word: several[-1] for word in unknown if (several := _forms(word))}
    advised = dict(list(advised.items())[:MOST_ADVISED])
    if not advised:
        return {}
    rows = await _rows(connection, "near", _places(set(advised.values())))
    # A name goes before an alias of the same spelling.
    names = dict(sorted(rows, key=lambda row: (row[0] == row[1], row)))
    return {word: _nearest(canonical, names) for word, canonical in advised.items()}


def _places(words: Collection[str]) -> dict[str, Any]:
    """Return where near names are looked for: about a word and its first half, around it, and one letter off."""
    halves = {word[: (len(word) + 1) // 2] for word in words}
    return {
        "starts": sorted({*words, *halves}),
        "words": sorted(word for word in words if len(word) > 2),
        "variants": sorted({variant for word in words for variant in _variants(word)}),
        "neighbours": NEIGHBOURS,
        "scanned": SCANNED,
    }


def _variants(word: str) -> set[str]:
    """Return every word at one edit's distance, over a small alphabet; P. Norvig, How to Write a Spelling Corrector."""
    if len(word) > LONGEST_MISSPELT:
        return set()
    letters = _LETTERS | set(word)
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    shorter = {head + tail[1:] for head, tail in cuts if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1}
    other = {head + letter + tail[1:] for head, tail in cuts if tail for letter in letters}
    longer = {head + letter + tail for head, tail in cuts for letter in letters}
    return shorter | swapped | other | longer


def _nearest(word: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the spellings most like a word, then of those that hold it, the shortest first."""
    alike = difflib.get_close_matches(word, names, n=MOST_NEAR, cutoff=LEAST_ALIKE)
    holding = sorted((spelling for spelling in names if word in spelling), key=lambda one: (len(one), one))
    return tuple(dict.fromkeys(names[spelling] for spelling in (*alike, *holding)))[:MOST_NEAR]


async def _rows(connection: AsyncConnection, name: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_statement(name), values)
        return await cursor.fetchall()


@functools.cache
def _statement(name: str) -> sql.Composed:
    return block("naming", name).sql()
