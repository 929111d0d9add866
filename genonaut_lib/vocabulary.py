"""The words every floor shares: content sources, and what makes two spellings one tag."""

from __future__ import annotations

import enum
import re
import unicodedata
import uuid

MAX_TAG_LENGTH = 200
"""Longest tag name in characters; a longer legacy element is quarantined, not cut."""

TAG_NAMESPACE = uuid.NAMESPACE_DNS
"""Namespace of the uuid5 of a tag name; the one existing gallery databases were seeded with."""

FACET_SEPARATOR = "::"
"""`devel::lang:perl` is the tag `lang:perl` of the facet `devel`; the facet is its parent."""


class ContentSource(enum.Enum):
    """The two sources of content, with the two spellings the schema gives each of them.

    `junction` is the value in `content_tags.content_source`, `partition` the value in
    `content_items_all.source_type`. Any join between those two columns goes through here.
    """

    REGULAR = ("regular", "items", "content_items")
    AUTO = ("auto", "auto", "content_items_auto")

    def __init__(self, junction: str, partition: str, table: str) -> None:
        self.junction = junction
        self.partition = partition
        self.table = table

    @classmethod
    def spellings(cls) -> dict[str, list[str]]:
        """Return both spellings of every source, in one order, as a statement binds them to tell one by the other."""
        return {"junctions": [source.junction for source in cls], "partitions": [source.partition for source in cls]}

    @classmethod
    def from_junction(cls, value: str) -> ContentSource:
        """Return the source spelled `value` in the junction; raise KeyError for any other word."""
        return {source.junction: source for source in cls}[value]

    @classmethod
    def from_partition(cls, value: str) -> ContentSource:
        """Return the source spelled `value` as partition key; raise KeyError for any other word."""
        return {source.partition: source for source in cls}[value]


class SpellingKind(enum.StrEnum):
    """What an element of a legacy tag array is."""

    NAME = "name"
    UUID = "uuid"
    BLANK = "blank"
    TOO_LONG = "too_long"
    NOT_A_STRING = "not_a_string"


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WHITESPACE = re.compile(r"\s+")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def canonical_tag_name(spelling: str) -> str:
    """Return the name that all spellings of one tag share.

    Unicode NFC, lower case, outer white space removed, inner runs of white space made one blank.
    """
    # Twice: lowering a composed letter may leave a pair that composes anew (U+004A U+030C).
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", spelling).lower())
    return _WHITESPACE.sub(" ", lowered).strip()


def tag_id(name: str) -> uuid.UUID:
    """Return the id of the tag called `name` (a canonical name): uuid5, equal everywhere."""
    return uuid.uuid5(TAG_NAMESPACE, name)


def tag_slug(name: str) -> str:
    """Return the URL form of a canonical name: ASCII letters and digits, joined by hyphens.

    Accents are dropped (`café` gives `cafe`). A name with nothing ASCII in it gives the first
    eight digits of its id, so that a slug is never empty.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _NOT_SLUG.sub("-", plain.lower()).strip("-") or tag_id(name).hex[:8]


def facet_of(name: str) -> str | None:
    """Return the facet a canonical name belongs to, or None for a name outside any facet."""
    facet, separator, rest = name.partition(FACET_SEPARATOR)
    return facet.strip() if separator and facet.strip() and rest.strip() else None


def classify_spelling(element: object) -> SpellingKind:
    """Say what a decoded element of a legacy tag array is; only names and UUIDs can be mapped."""
    if not isinstance(element, str):
        return SpellingKind.NOT_A_STRING
    name = canonical_tag_name(element)
    if not name:
        return SpellingKind.BLANK
    if len(name) > MAX_TAG_LENGTH or len(element) > 2 * MAX_TAG_LENGTH:
        return SpellingKind.TOO_LONG
    return SpellingKind.UUID if _UUID.fullmatch(name) else SpellingKind.NAME
