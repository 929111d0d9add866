"""Cursors: a place in the answer to one query, as text that nobody can forge or carry over to another query.

A cursor is base64url text, without padding, of

    format (1 byte) | flags (1) | id (8) | sort value (0 to 1,020) | seal (16)

The seal is an HMAC-SHA256 over the digest of the query and all bytes before it. So a changed cursor and
one of another query look alike, and the query itself need not be carried. Half of the HMAC is kept, the
least that RFC 2104 (section 5) advises: a forger, who must show each guess to the server, has one chance
in 2**128. What is sealed is not secret: it is a place in rows that the reader has just been shown.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import errors as sqlstate
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.errors import CursorKeyMissing, InvalidSettings, MissingPrivilege
from genonaut_lib.gallery.order import Position, SortField, SortValue
from genonaut_lib.gallery.query import GalleryQuery, Group
from genonaut_lib.request_errors import InvalidCursor
from genonaut_lib.settings import CURSOR_KEY_VARIABLE, Settings
from genonaut_lib.vocabulary import ContentSource

FORMAT = 1
"""The first byte of every cursor; another number for another layout, so that old cursors are told apart."""

LONGEST = 2_048
"""Most characters that are looked at; a title of 255 characters makes about 1,400."""

SHORTEST_KEY = 16
_SEAL_BYTES = 16
_HEAD = struct.Struct(">BBq")
_AUTO, _BACKWARDS, _NO_VALUE = 1, 2, 4
_INTEGER, _FLOAT = struct.Struct(">q"), struct.Struct(">d")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True)
class Signer:
    """Writes and reads cursors under `key`; those under one of the `older` keys are still read.

    Raises InvalidSettings for a key of fewer than 16 bytes.
    """

    key: bytes = field(repr=False)
    older: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if any(len(key) < SHORTEST_KEY for key in self._keys):
            hint = f"Set {CURSOR_KEY_VARIABLE} to random text, or leave it unset for the database's own key."
            raise InvalidSettings(f"A key for cursors has fewer than {SHORTEST_KEY} bytes.", hint=hint)

    def encode(self, query: GalleryQuery, position: Position, *, backwards: bool) -> str:
        """Return the cursor of the page after a position, or of the one before it.

        Equal places give equal text, whatever the session's time zone. Raises TypeError or struct.error
        for a sort value that is none of the sort field's, ValueError for one of an item that must have one.
        """
        body = _packed(query.sort.field, position, backwards=backwards)
        return _text_of(body + _seal(self.key, digest_of(query), body))

    def decode(self, text: str, query: GalleryQuery) -> GalleryQuery:
        """Return the query with the place a cursor means; page size and page number are the query's own.

        Raises InvalidCursor for anything but a cursor that was written for this query under one of the
        keys, and InvalidInput where the query has a page number as well.
        """
        body = self._opened(_bytes_of(text), query)
        position, backwards = _unpacked(query.sort.field, body)
        return replace(query, after=None if backwards else position, before=position if backwards else None)

    @property
    def _keys(self) -> tuple[bytes, ...]:
        return (self.key, *self.older)

    def _opened(self, sealed: bytes, query: GalleryQuery) -> bytes:
        """Return what the seal covers, once the seal was found to be ours and of this query."""
        if sealed[:1] != bytes([FORMAT]):
            raise _refusal("is of another format, or none at all")
        body, seal = sealed[:-_SEAL_BYTES], sealed[-_SEAL_BYTES:]
        digest = digest_of(query)
        # Every key is tried, so that the time taken does not tell which one fits.
        fits = [hmac.compare_digest(seal, _seal(key, digest, body)) for key in self._keys]
        if not any(fits):
            raise _refusal("was changed, or belongs to another query")
        return body


async def open_signer(settings: Settings, connection: AsyncConnection) -> Signer:
    """Return the signer under the keys of the settings, or else under the database's own.

    Raises CursorKeyMissing where there is neither.
    """
    keys = settings.cursor_keys or (await load_key(connection),)
    return Signer(keys[0], keys[1:])


async def load_key(connection: AsyncConnection) -> bytes:
    """Return the key that the database keeps for cursors.

    Raises CursorKeyMissing when it keeps none, MissingPrivilege when this user may not read it.
    """
    async with connection.cursor(row_factory=tuple_row) as cursor:
        try:
            await cursor.execute("select key from workbench.service_keys where name = 'cursor'")
            row = await cursor.fetchone()
        except sqlstate.UndefinedTable:
            row = None
        except sqlstate.InsufficientPrivilege as error:
            hint = f"Set {CURSOR_KEY_VARIABLE}, or grant this user SELECT on workbench.service_keys."
            raise MissingPrivilege("The database user may not read the key for cursors.", hint=hint) from error
    if row is None:
        raise CursorKeyMissing(hint=f"Run 50_refresh_tag_stats, which makes one, or set {CURSOR_KEY_VARIABLE}.")
    return bytes(row[0])


def digest_of(query: GalleryQuery) -> bytes:
    """Return the SHA-256 of what a cursor is bound to: the whole filter and the sort, but nothing of the page.

    Each part goes in with its length before it, so that no two queries make the same bytes.
    """
    digest = hashlib.sha256()
    for part in _parts(query):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _parts(query: GalleryQuery) -> Iterator[bytes]:
    direction = "desc" if query.sort.descending else "asc"
    words = (query.match, query.scope.regular, query.scope.auto, query.sort.field, direction)
    yield "/".join(words).encode()
    yield query.viewer.bytes if query.viewer else b""
    # A search that PostgreSQL could not hold is refused elsewhere; here it only must not pass for another.
    yield query.search.encode("utf-8", "surrogatepass")
    yield from (_ids(group) for group in (query.tags, query.exclude, *query.families))


def _ids(tags: Group) -> bytes:
    return b"".join(tag.bytes for tag in tags)


def _seal(key: bytes, digest: bytes, body: bytes) -> bytes:
    return hmac.digest(key, digest + body, "sha256")[:_SEAL_BYTES]


def _packed(sort_field: SortField, position: Position, *, backwards: bool) -> bytes:
    if position.value is None and not sort_field.is_nullable:
        raise ValueError(f"a position without {sort_field}, which every item has")
    flags = _AUTO * (position.source is ContentSource.AUTO) | _BACKWARDS * backwards
    if position.value is None:
        return _HEAD.pack(FORMAT, flags | _NO_VALUE, position.id)
    return _HEAD.pack(FORMAT, flags, position.id) + _FORMS[sort_field].pack(position.value)


def _unpacked(sort_field: SortField, body: bytes) -> tuple[Position, bool]:
    _, flags, item = _HEAD.unpack_from(body)
    value = None if flags & _NO_VALUE else _FORMS[sort_field].unpack(body[_HEAD.size :])
    source = ContentSource.AUTO if flags & _AUTO else ContentSource.REGULAR
    return Position(value, source, item), bool(flags & _BACKWARDS)


@dataclass(frozen=True)
class _Form:
    """How the values of a sort field become bytes and come back, exactly."""

    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], SortValue]


# A moment is what PostgreSQL keeps of a timestamp with time zone, and the cursor does likewise: the
# zone a session shows it in says nothing about the place. Floats keep their bits, NaN and infinities
# too, which PostgreSQL orders like any other value.
_MOMENT = _Form(
    lambda value: _INTEGER.pack((value - _EPOCH) // _MICROSECOND),
    lambda packed: _EPOCH + _INTEGER.unpack(packed)[0] * _MICROSECOND,
)
_FORMS = {
    SortField.CREATED_AT: _MOMENT,
    SortField.UPDATED_AT: _MOMENT,
    SortField.QUALITY_SCORE: _Form(_FLOAT.pack, lambda packed: float(_FLOAT.unpack(packed)[0])),
    SortField.TITLE: _Form(str.encode, bytes.decode),
    SortField.ID: _Form(_INTEGER.pack, lambda packed: int(_INTEGER.unpack(packed)[0])),
}


def _text_of(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _bytes_of(text: str) -> bytes:
    """Return what text stands for; of several spellings that decode alike only ours is one."""
    if len(text) > LONGEST:
        raise _refusal("is longer than any that was given out")
    try:
        sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise _refusal("is no text that was given out") from None
    if _text_of(sealed) != text or len(sealed) < _HEAD.size + _SEAL_BYTES:
        raise _refusal("is no text that was given out")
    return sealed


def _refusal(problem: str) -> InvalidCursor:
    return InvalidCursor(f"The cursor {problem}.", hint="Start again from the first page.", field="cursor")
