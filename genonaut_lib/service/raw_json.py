"""JSON of the database as it came: nobody reads it on its way into an answer, and every number stays what it is."""

from __future__ import annotations

import orjson
import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap, Buffer, Loader


class _Text(Loader):
    def load(self, data: Buffer) -> orjson.Fragment:
        return orjson.Fragment(bytes(data))


class _Binary(Loader):
    format = pq.Format.BINARY

    def load(self, data: Buffer) -> orjson.Fragment:
        # The first byte is the number of the format, which is 1 in every PostgreSQL so far.
        return orjson.Fragment(bytes(data)[1:])


def adapters() -> AdaptersMap:
    """Return psycopg's adapters, but that a value of type jsonb comes as a fragment of an answer."""
    found = AdaptersMap(psycopg.adapters)
    found.register_loader("jsonb", _Text)
    found.register_loader("jsonb", _Binary)
    return found
