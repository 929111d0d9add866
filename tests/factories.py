"""Content made to order, one item at a time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block
from genonaut_lib.vocabulary import ContentSource

FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
_UNSET = object()


@dataclass
class Gallery:
    """Writes content the way an application would."""

    connection: Connection
    made: int = 0

    def user(self, name: str = "ada") -> uuid.UUID:
        """Return the id of the user called `name`, made when there is none."""
        self.connection.execute("insert into users (username) values (%s) on conflict do nothing", [name])
        row = self.connection.execute("select id from users where username = %s", [name]).fetchone()
        assert row is not None
        return row[0]

    def legacy_item(self, tags: Any = _UNSET, source: ContentSource = ContentSource.REGULAR, **columns: Any) -> int:
        """Insert an item with a legacy array (any JSON value; None is SQL NULL) and return its id."""
        value = None if tags is None else Jsonb([] if tags is _UNSET else tags)
        return self._insert(source, value, columns)

    def item(self, tags: list[uuid.UUID], source: ContentSource = ContentSource.REGULAR, **columns: Any) -> int:
        """Insert an item with tag ids, as the application does once the column was swapped."""
        return self._insert(source, tags, columns)

    def _insert(self, source: ContentSource, tags: Any, columns: dict[str, Any]) -> int:
        self.made += 1
        values = {
            "title": f"item {self.made}",
            "content_type": "text",
            "content_data": "",
            "prompt": "a prompt",
            "creator_id": columns.pop("creator", None) or self.user(),
            "created_at": FIRST_DAY + timedelta(minutes=self.made),
            "tags": tags,
            **columns,
        }
        names = ", ".join(values)
        marks = ", ".join(f"%({name})s" for name in values)
        statement = Block("tests", "insert", f"insert into {{table}} ({names}) values ({marks}) returning id")
        row = self.connection.execute(statement.sql(table=source.table), values).fetchone()
        assert row is not None
        return row[0]
