"""`GalleryQuery`: what a page of the gallery asks for, as one frozen, normalised value."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.order import NEWEST, Position, Sort, SortField
from genonaut_lib.vocabulary import ContentSource

MAX_PAGE_SIZE = 1_000

Group = tuple[uuid.UUID, ...]
"""Tags of which an item must carry one; sorted, each once."""


class TagMatch(enum.StrEnum):
    """Whether an item must carry any of the tags or all of them."""

    ANY = "any"
    ALL = "all"


class Creators(enum.StrEnum):
    """Whose items of a source are wanted: the viewer's, everybody else's, everybody's, nobody's."""

    MINE = "mine"
    COMMUNITY = "community"
    EVERYBODY = "everybody"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Scope:
    """Whose items are wanted of each source."""

    regular: Creators = Creators.EVERYBODY
    auto: Creators = Creators.EVERYBODY

    def of(self, source: ContentSource) -> Creators:
        """Return whose items of one source are wanted."""
        return self.regular if source is ContentSource.REGULAR else self.auto

    @property
    def sources(self) -> tuple[ContentSource, ...]:
        """The sources that are read at all."""
        return tuple(source for source in ContentSource if self.of(source) is not Creators.NOBODY)


EVERYTHING = Scope()
MINE = Scope(Creators.MINE, Creators.MINE)
NOTHING = Scope(Creators.NOBODY, Creators.NOBODY)


@dataclass(frozen=True)
class GalleryQuery:
    """One page of the gallery.

    `tags` and `families` are what an item must carry: any of them or all, as `match` says. A family
    is a tag with its descendants, and carried by whoever carries one of its tags. `exclude` are tags
    it must not carry. All are sorted and unique, whatever order they came in. `viewer` sees their own
    private items and nobody else's. `search` is in the words of a web search: words, "phrases",
    -exclusions; empty means none.

    The page starts after `after`, or ends before `before`, or is number `page` (from 1); at most one
    of the three. `stale` allows an answer from a view that was refreshed some time ago.

    Raises InvalidInput for a page size or page number out of range, for a scope that needs a viewer
    without one, for two ways to say where the page lies, for a position without the sort value
    that only some fields may lack, and for a search that no text can match.
    """

    tags: tuple[uuid.UUID, ...] = ()
    match: TagMatch = TagMatch.ANY
    viewer: uuid.UUID | None = None
    scope: Scope = EVERYTHING
    page_size: int = 25
    after: Position | None = None
    before: Position | None = None
    page: int = 1
    exclude: tuple[uuid.UUID, ...] = ()
    families: tuple[Group, ...] = ()
    search: str = ""
    sort: Sort = NEWEST
    stale: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", _unique(self.tags))
        object.__setattr__(self, "exclude", _unique(self.exclude))
        object.__setattr__(self, "families", tuple(sorted({_unique(family) for family in self.families})))
        object.__setattr__(self, "search", " ".join(self.search.split()))
        if "\0" in self.search:
            raise InvalidInput("The search holds a NUL character, which no text of the gallery can.")
        self._require_page()
        self._require_viewer()

    def _require_page(self) -> None:
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"page_size is {self.page_size}, and must be from 1 to {MAX_PAGE_SIZE}.")
        if self.page < 1:
            raise InvalidInput(f"page is {self.page}; pages count from 1.")
        if sum((self.after is not None, self.before is not None, self.page > 1)) > 1:
            raise InvalidInput("A page lies after a position, or before one, or has a number: give one of the three.")
        position = self.position
        if position is not None and position.value is None and not self.sort.field.is_nullable:
            raise InvalidInput(f"Every item has a {self.sort.field}; a position without one lies nowhere.")

    def _require_viewer(self) -> None:
        needs_viewer = {Creators.MINE, Creators.COMMUNITY} & {self.scope.regular, self.scope.auto}
        if needs_viewer and self.viewer is None:
            raise InvalidInput("A query for one's own or the community's items needs a viewer.")

    @property
    def sources(self) -> tuple[ContentSource, ...]:
        """The sources that are read at all."""
        return self.scope.sources

    @property
    def position(self) -> Position | None:
        """Where the page starts or ends, if a position says so."""
        return self.after or self.before

    @property
    def backwards(self) -> bool:
        """Whether the page is the one before its position."""
        return self.before is not None

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups an item must carry one tag of each of; single tags first. ANY makes one group of all."""
        singles: tuple[Group, ...] = tuple((tag,) for tag in self.tags)
        if self.match is TagMatch.ALL or len(singles) + len(self.families) < 2:
            # A tag without descendants is a family of one: named twice, it is one group all the same.
            return tuple(dict.fromkeys((*singles, *self.families)))
        return (_unique((*self.tags, *(tag for family in self.families for tag in family))),)

    def position_of(self, row: dict[str, object]) -> Position:
        """Return the place of a row of this query's answer."""
        source = ContentSource.from_partition(str(row["source_type"]))
        return Position(row[self.sort.field.value], source, int(str(row["id"])))  # type: ignore[arg-type]


def _unique(tags: Iterable[uuid.UUID]) -> Group:
    return tuple(sorted(set(tags)))


__all__ = [
    "EVERYTHING", "MAX_PAGE_SIZE", "MINE", "NEWEST", "NOTHING", "Creators", "GalleryQuery", "Group", "Position",
    "Scope", "Sort", "SortField", "TagMatch",
]  # fmt: skip
