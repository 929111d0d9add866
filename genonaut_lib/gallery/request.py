"""What a caller sends, and the `GalleryQuery` it means: words become tags, selections a scope, a cursor a place."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.cursor import Signer
from genonaut_lib.gallery.naming import Resolved, families, is_storable, resolve
from genonaut_lib.gallery.query import NOTHING, Creators, GalleryQuery, Scope, Sort, SortField, TagMatch
from genonaut_lib.request_errors import UnknownTag
from genonaut_lib.settings import nearest
from genonaut_lib.vocabulary import ContentSource

SOURCES = {source.junction: source for source in ContentSource}
CREATOR_FILTERS = {"all": Creators.EVERYBODY, "user": Creators.MINE, "community": Creators.COMMUNITY}
SOURCE_TYPES = {
    f"{who}-{word}": (source, CREATOR_FILTERS[who]) for who in ("user", "community") for word, source in SOURCES.items()
}
"""What may be selected: the viewer's or the community's items of a source."""

MATCHES = {match.value: match for match in TagMatch}
SORT_FIELDS = {field.value: field for field in SortField}
SORT_ORDERS = {"asc": False, "desc": True}

LONGEST_SEARCH = 1_000
SPELLINGS = 10
"""How many words a request may spend on each tag that a query may name: they are all looked up before they
are known to mean the same."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CREATORS: Mapping[frozenset[Creators], Creators] = {
    frozenset(): Creators.NOBODY,
    frozenset({Creators.MINE}): Creators.MINE,
    frozenset({Creators.COMMUNITY}): Creators.COMMUNITY,
    frozenset({Creators.MINE, Creators.COMMUNITY}): Creators.EVERYBODY,
}
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class GalleryRequest:
    """One page of the gallery in a caller's words; nothing is checked until `to_query`.

    `tags`, `families` and `exclude` are words for tags: an item must carry one or all of `tags` and
    `families`, as `match` says, and none of `exclude`. A word of `families` stands for the tag or any
    of its descendants. Unknown words are refused; `lenient` passes over them as far as that has a meaning.

    `content_source_types` are of SOURCE_TYPES: both of a source are everybody's items, neither none.
    None leaves it unsaid; an empty list, or a list of one empty word where a caller cannot send an empty
    list, selects nothing at all. `content_types` (regular, auto) and `creator_filter` (all, user,
    community) are the older way to say it. Said in neither way, it is everything.

    `cursor` comes from an earlier page of the same request; `page` counts from 1.
    """

    tags: Collection[str] = ()
    families: Collection[str] = ()
    exclude: Collection[str] = ()
    match: str = "any"
    lenient: bool = False
    content_source_types: Collection[str] | None = None
    content_types: Collection[str] | None = None
    creator_filter: str | None = None
    viewer: uuid.UUID | str | None = None
    search: str = ""
    sort_field: str = "created_at"
    sort_order: str = "desc"
    page: int | str = 1
    page_size: int | str = 25
    cursor: str | None = None
    stale: bool = False


@dataclass(frozen=True)
class Named:
    """The tags a request names: wanted, wanted with their descendants, and excluded."""

    tags: frozenset[uuid.UUID] = frozenset()
    families: frozenset[uuid.UUID] = frozenset()
    exclude: frozenset[uuid.UUID] = frozenset()


async def to_query(connection: AsyncConnection, request: GalleryRequest, signer: Signer, max_tags: int) -> GalleryQuery:
    """Return the query that a request means; one round trip for all words, and one for all families.

    Raises InvalidInput, with the name of the field, for whatever is malformed, unknown or contradictory,
    and for more than `max_tags` tags wanted or excluded; UnknownTag, with near names, for a word that
    means no tag, unless the request is lenient; InvalidCursor for a cursor that is none of this query's.
    """
    query = untagged(request)
    words = words_of(request, max_tags)
    every = [word for several in words.values() for word in several]
    resolved = await resolve(connection, every, suggest=not request.lenient)
    named = tags_of(request, words, resolved)
    query = replace(query, scope=NOTHING) if named is None else await _tagged(connection, query, named)
    _require_few(query, max_tags)
    return query if request.cursor is None else signer.decode(request.cursor, query)


def untagged(request: GalleryRequest) -> GalleryQuery:
    """Return all of the query that can be told without the database; raises as `to_query` does."""
    return GalleryQuery(
        match=_one_of("match", request.match, MATCHES),
        viewer=_viewer(request.viewer),
        scope=scope_of(request),
        search=_search(request.search),
        sort=Sort(
            field=_one_of("sort_field", request.sort_field, SORT_FIELDS),
            descending=_one_of("sort_order", request.sort_order, SORT_ORDERS),
        ),
        page=_number("page", request.page),
        page_size=_number("page_size", request.page_size),
        stale=request.stale,
    )


def scope_of(request: GalleryRequest) -> Scope:
    """Return whose items of each source a request selects.

    Raises InvalidInput for unknown words, and for a request that says it in both ways.
    """
    selected = request.content_source_types
    if selected is None:
        return _older_scope(request)
    if request.content_types is not None or request.creator_filter is not None:
        problem = "content_source_types says the same as content_types with creator_filter."
        raise InvalidInput(problem, hint="Give the one or the others.", field="content_source_types")
    words = _selection("content_source_types", selected)
    chosen = [_one_of("content_source_types", word, SOURCE_TYPES, "content_source_type") for word in words]
    return _scope(lambda source: _CREATORS[frozenset(creators for of, creators in chosen if of is source)])


def words_of(request: GalleryRequest, max_tags: int) -> dict[str, tuple[str, ...]]:
    """Return the words for tags by field, each once; raise InvalidInput for what is no list of words, or too long."""
    given = {"tags": request.tags, "families": request.families, "exclude": request.exclude}
    words = {field: tuple(dict.fromkeys(_words(field, value))) for field, value in given.items()}
    if sum(map(len, words.values())) > max_tags * SPELLINGS:
        raise _too_many("tags", f"has more than {max_tags * SPELLINGS} words for tags", max_tags)
    return words


def tags_of(request: GalleryRequest, words: Mapping[str, tuple[str, ...]], resolved: Resolved) -> Named | None:
    """Return the tags that words mean, or None when no item can match.

    That is where a lenient request wants an unknown tag beside others, or has only unknown ones to
    choose from. Raises UnknownTag when the request is not lenient and a word means nothing.
    """
    if resolved.unknown and not request.lenient:
        raise unknown_tags(words, resolved)
    found = {
        field: frozenset(resolved.found[word] for word in several if word in resolved.found)
        for field, several in words.items()
    }
    named = Named(**found)
    lacking = any(word in resolved.unknown for field in ("tags", "families") for word in words[field])
    chooses = request.match == TagMatch.ANY and (named.tags or named.families)
    return None if lacking and not chooses else named


async def _tagged(connection: AsyncConnection, query: GalleryQuery, named: Named) -> GalleryQuery:
    """Return the query with its tags; a family of one is a tag like any other."""
    groups = (await families(connection, named.families)).values()
    alone = {group[0] for group in groups if len(group) == 1}
    return replace(
        query,
        tags=tuple(named.tags | alone),
        families=tuple(group for group in groups if len(group) > 1),
        exclude=tuple(named.exclude),
    )


def _require_few(query: GalleryQuery, max_tags: int) -> None:
    """Refuse too many tags; a family counts as one, and what is wanted and what is excluded each by themselves."""
    wanted, excluded = len(query.tags) + len(query.families), len(query.exclude)
    if wanted > max_tags:
        raise _too_many("tags", f"names {wanted} tags", max_tags)
    if excluded > max_tags:
        raise _too_many("exclude", f"excludes {excluded} tags", max_tags)


def _older_scope(request: GalleryRequest) -> Scope:
    """Return the scope of the older pair of fields, either of which may be left out."""
    who = request.creator_filter
    creators = Creators.EVERYBODY if who is None else _one_of("creator_filter", who, CREATOR_FILTERS)
    given = SOURCES if request.content_types is None else request.content_types
    words = _selection("content_types", given)
    chosen = {_one_of("content_types", word, SOURCES, "content_type") for word in words}
    return _scope(lambda source: creators if source in chosen else Creators.NOBODY)


def _scope(creators: Callable[[ContentSource], Creators]) -> Scope:
    return Scope(regular=creators(ContentSource.REGULAR), auto=creators(ContentSource.AUTO))


def _selection(field: str, value: object) -> tuple[str, ...]:
    """Return selected words; one empty word is how an address bar says that none is."""
    words = _words(field, value)
    return () if words == ("",) else words


def _words(field: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Collection) or not all(isinstance(word, str) for word in value):
        raise _invalid(field, value, "a list of words")
    return tuple(value)


def _one_of(field: str, word: object, valid: Mapping[str, _Value], called: str | None = None) -> _Value:
    """Return what a word means; `called` is the name of one of a list's words."""
    if isinstance(word, str) and word in valid:
        return valid[word]
    hint = nearest(word[:80], list(valid)).strip() if isinstance(word, str) else ""
    raise _invalid(field, word, ", ".join(valid), called=called, hint=hint or None)


def _viewer(value: object) -> uuid.UUID | None:
    if value is None or isinstance(value, uuid.UUID):
        return value
    if isinstance(value, str) and _UUID.fullmatch(value):
        return uuid.UUID(value)
    raise _invalid("viewer", value, "a UUID")


def _number(field: str, value: object) -> int:
    """Return a number that came as one or as digits; whether it is in range is for the query to say."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise _invalid(field, value, "a whole number from 1 on")


def _search(value: object) -> str:
    if not isinstance(value, str) or not is_storable(value):
        raise _invalid("search", value, "text")
    if len(value) > LONGEST_SEARCH:
        problem = f"search has {len(value)} characters, and may have {LONGEST_SEARCH}."
        raise InvalidInput(problem, hint="Search for fewer words.", field="search")
    return value


def _invalid(
    field: str, value: object, valid: str, *, called: str | None = None, hint: str | None = None
) -> InvalidInput:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
    return InvalidInput(f"Invalid {called or field} {shown}; valid: {valid}.", hint=hint, field=field)


def _too_many(field: str, does: str, max_tags: int) -> InvalidInput:
    problem = f"The request {does}, and a query takes at most {max_tags} tags."
    return InvalidInput(problem, hint="Name fewer, or raise the knob planner.max_tags.", field=field)


def unknown_tags(words: Mapping[str, tuple[str, ...]], resolved: Resolved) -> UnknownTag:
    """Return the refusal of unknown words: it names all of them, and carries the first with its near names."""
    missing = [(field, word) for field, several in words.items() for word in several if word in resolved.unknown]
    field, word = missing[0]
    near = resolved.unknown[word]
    names = ", ".join(dict.fromkeys(repr(one[:80]) for _, one in missing))
    advice = [f"{one!r}: {', '.join(map(repr, several))}" for one, several in resolved.unknown.items() if several]
    hint = f"Near {'; near '.join(advice)}." if advice else "A tag is called by its id, slug, name or an alias."
    return UnknownTag(f"No tag is called {names}.", hint=hint, field=field, word=word, near=near)
