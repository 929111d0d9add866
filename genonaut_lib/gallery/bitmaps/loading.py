"""Tags of a page's rows, read fast: a page has thousands of them, and most are the same few hundred."""

from __future__ import annotations

import functools
import struct
import uuid
from typing import Final

import psycopg
from psycopg.adapt import AdaptersMap, Buffer, Loader

_KEPT: Final = 2**16
_UUIDS_OID: Final = 2951
_HEAD: Final = struct.Struct("!iiiii")
"""Dimensions, whether there are nulls, type of the elements, their number, and the number of the first."""
_EACH: Final = 4 + 16
"""Bytes of an element: its length comes first."""


class _UuidsLoader(Loader):
    """Loads arrays of UUIDs that hold no null."""

    format = psycopg.pq.Format.BINARY

    def load(self, data: Buffer) -> list[uuid.UUID]:
        stored = bytes(data)
        start = _HEAD.size + _EACH - 16
        return [_uuid(stored[place : place + 16]) for place in range(start, len(stored), _EACH)]


def adapt(context: AdaptersMap) -> None:
    """Make cursors of these adapters load arrays of UUIDs in binary results fast; equal ones are one object."""
    context.register_loader(_UUIDS_OID, _UuidsLoader)


@functools.lru_cache(_KEPT)
def _uuid(stored: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=stored)
