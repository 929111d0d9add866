"""Tags of a page's rows, read fast: a page has thousands of them, and most are the same few hundred."""

from __future__ import annotations

import uuid
from typing import Final

import numpy as np
import psycopg
from psycopg.adapt import AdaptersMap, Buffer, Loader

_KEPT: Final = 2**16
_UUIDS_OID: Final = 2951
_HEAD: Final = 20
"""Bytes before the elements; an array without any has fewer, and nothing behind them."""
_ELEMENT: Final = np.dtype([("length", ">i4"), ("id", "V16")])


class _Known(dict[bytes, uuid.UUID]):
    """UUIDs by their bytes, made when they are first met; forgotten all at once, since most are met again soon."""

    def __missing__(self, stored: bytes) -> uuid.UUID:
        if len(self) >= _KEPT:
            self.clear()
        self[stored] = made = uuid.UUID(bytes=stored)
        return made


_KNOWN: Final = _Known()


class _UuidsLoader(Loader):
    """Loads arrays of UUIDs that hold no null."""

    format = psycopg.pq.Format.BINARY

    def load(self, data: Buffer) -> list[uuid.UUID]:
        stored = bytes(data)[_HEAD:]
        return list(map(_KNOWN.__getitem__, np.frombuffer(stored, _ELEMENT)["id"].tolist()))


def adapt(context: AdaptersMap) -> None:
    """Make cursors of these adapters load arrays of UUIDs in binary results fast; equal ones are one object."""
    context.register_loader(_UUIDS_OID, _UuidsLoader)
