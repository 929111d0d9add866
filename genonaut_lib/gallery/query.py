"""`GalleryQuery`: what a page of the gallery asks for, as one frozen, normalised value."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from datetime import datetime

from genonaut_lib.errors import InvalidInput
from genonaut_lib.vocabulary import ContentSource

MAX_PAGE_SIZE = 1_000


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


EVERYTHING = Scope()
MINE = Scope(Creators.MINE, Creators.MINE)


@dataclass(frozen=True)
class Position:
    """Where a page ended: the key of its last row. Pages run by (created_at, source, id) downwards."""

    created_at: datetime
    source: ContentSource
    id: int


@dataclass(frozen=True)
class GalleryQuery:
    """One page of the gallery, newest first.

    Tags are sorted and unique, whatever order they came in. `viewer` sees their own private items
    and nobody else's. Raises InvalidInput for a page size out of range, and for a scope that needs
    a viewer without one.
    """

    tags: tuple[uuid.UUID, ...] = ()
    match: TagMatch = TagMatch.ANY
    viewer: uuid.UUID | None = None
    scope: Scope = EVERYTHING
    page_size: int = 25
    after: Position | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(sorted(set(self.tags))))
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"page_size is {self.page_size}, and must be from 1 to {MAX_PAGE_SIZE}.")
        needs_viewer = {Creators.MINE, Creators.COMMUNITY} & {self.scope.regular, self.scope.auto}
        if needs_viewer and self.viewer is None:
            raise InvalidInput("A query for one's own or the community's items needs a viewer.")

    @property
    def sources(self) -> tuple[ContentSource, ...]:
        """The sources that are read at all."""
        return tuple(source for source in ContentSource if self.scope.of(source) is not Creators.NOBODY)
