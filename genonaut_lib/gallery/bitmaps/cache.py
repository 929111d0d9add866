"""What a process keeps of the index between requests: bounded in bytes, and true for one version of it.

Nothing in here changes once it is kept: what a request holds stays what it was, whatever others read
meanwhile. Keys begin with what they are of.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from genonaut_lib.gallery.bitmaps.algebra import SEGMENT
from genonaut_lib.gallery.bitmaps.layout import Ranks, Words
from genonaut_lib.gallery.bitmaps.state import State

BITS: Final = "bits"
"""(BITS, tag_no, segment): a Strip. The one thing that outlives a version, but for the chunks that changed."""
OVERHEAD: Final = 300
"""Bytes of a key, an entry and the objects around an array."""

Key = tuple[Any, ...]


class Strip(NamedTuple):
    """A bitmap in one segment: its words, and which of its chunks, as bits, they tell the truth of."""

    words: Words
    have: int


class Posting(NamedTuple):
    """The ranks, ascending, of a tag without bitmaps, and the state of the index that they were read in."""

    ranks: Ranks
    read: State


@dataclass(frozen=True)
class Origin:
    """Which index this is; `built_at` tells one that was dropped and built anew, and counts its epochs anew."""

    server_started: datetime
    database: int
    epoch: int
    built_at: datetime | None

    def is_replaced_by(self, other: Origin) -> bool:
        """Whether the other is another index, and not known to be an older one."""
        if self == other:
            return False
        if (self.server_started, self.database) != (other.server_started, other.database):
            return True
        return self.built_at is None or other.built_at is None or other.built_at > self.built_at


@dataclass(frozen=True)
class Stamp:
    """Which index in which version what is kept is true for."""

    origin: Origin
    version: int

    @classmethod
    def of(cls, state: State) -> Stamp:
        """Return the stamp of a snapshot's state."""
        return cls(Origin(state.server_started, state.database, state.epoch, state.built_at), state.version)


class Cache:
    """Entries of one stamp, the least recently used dropped first. `limit` is in bytes; 0 keeps nothing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.stamp: Stamp | None = None
        self._entries: OrderedDict[Key, tuple[Any, int]] = OrderedDict()

    def get(self, key: Key) -> Any | None:
        """Return what is kept under a key, None if nothing is."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: Any, size: int) -> None:
        """Keep a value of so many bytes, if there is room for it at all."""
        self._drop(key)
        size += OVERHEAD
        if size > self.limit:
            return
        self._entries[key] = (value, size)
        self.used += size
        while self.used > self.limit:
            self.used -= self._entries.popitem(last=False)[1][1]

    def begin(self, stamp: Stamp) -> None:
        """Forget everything, and keep what is true for this stamp from now on."""
        self._entries.clear()
        self.used, self.stamp = 0, stamp

    def advance(self, old: Stamp, new: Stamp, changed: Iterable[int]) -> None:
        """Go on to another version of the same index: what was sealed meanwhile lies in the changed chunks.

        Does nothing where somebody else went on already.
        """
        if self.stamp != old:
            return
        self.stamp = new
        stale: dict[int, int] = {}
        for chunk in changed:
            stale[chunk // SEGMENT] = stale.get(chunk // SEGMENT, 0) | 1 << chunk % SEGMENT
        for key in list(self._entries):
            self._renew(key, stale)

    def _renew(self, key: Key, stale: dict[int, int]) -> None:
        """Drop an entry that may be true no longer; of a strip only the chunks that changed."""
        if key[0] != BITS:
            self._drop(key)
        elif key[2] in stale:
            strip, size = self._entries[key]
            self._entries[key] = (Strip(strip.words, strip.have & ~stale[key[2]]), size)

    def _drop(self, key: Key) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self.used -= found[1]


@dataclass(frozen=True)
class View:
    """The cache as one request may use it: not at all, once it holds another version than the request's."""

    cache: Cache
    state: State
    stamp: Stamp

    @property
    def holds(self) -> bool:
        """Whether what is kept is true for this request."""
        return self.cache.stamp == self.stamp

    def get(self, key: Key) -> Any | None:
        """Return what is kept, None if nothing is that is true here."""
        return self.cache.get(key) if self.holds else None

    def put(self, key: Key, value: Any, size: int) -> None:
        """Keep a value that this request read, for others of its version."""
        if self.holds and (self.state.lasting or self.state.in_recovery):
            self.cache.put(key, value, size)

    def posting(self, key: Key) -> Ranks | None:
        """Return the ranks of a tag without bitmaps, if this snapshot sees all that they were read from.

        Unlike what is sealed, they are of the very snapshot they were read in: what changed by then is marked
        in every later one of this version, but not in earlier ones.
        """
        found: Posting | None = self.get(key)
        if found is None or not self.state.lasting or not self.state.follows(found.read):
            return None
        return found.ranks
