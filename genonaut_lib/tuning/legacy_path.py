"""The gallery as it was read before the migration: the baseline, kept as faithful as it was slow.

Containment with OR over all spellings of a tag, a union of up to four subqueries, sorted
afterwards and cut by OFFSET.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.tuning.cases import PAGE_SIZE, Case
from genonaut_lib.vocabulary import ContentSource

Spellings = Mapping[uuid.UUID, Sequence[str]]


def is_readable(connection: Connection) -> bool:
    """Return whether `tags` still is the JSONB array of names that this path reads."""
    column = {"relation": "content_items", "column": "tags"}
    row = connection.execute(block("catalog", "column_type").sql(), column).fetchone()
    return row is not None and row[0] == "jsonb"


def spellings_of(connection: Connection, case: Case) -> Spellings:
    """Return every spelling of the case's tags as it stands in the data, UUID strings included."""
    found: dict[uuid.UUID, list[str]] = {tag: [str(tag)] for tag in case.tags}
    rows = connection.execute(block("measurements", "spellings").sql(), {"tags": list(case.tags)}).fetchall()
    for tag, spelling in rows:
        if spelling not in found[tag]:
            found[tag].append(spelling)
    return found


def read_keys(connection: Connection, case: Case, spellings: Spellings) -> list[str]:
    """Return the identity of each row of the page, `regular/17`, in page order."""
    statement, values = page_statement(case, spellings)
    return [f"{source}/{id}" for source, id in connection.execute(statement, values).fetchall()]


def page_statement(case: Case, spellings: Spellings) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the statement of a page and its bound values."""
    values: dict[str, Any] = {
        "viewer": case.viewer,
        "limit": PAGE_SIZE,
        "offset": (case.page - 1) * PAGE_SIZE,
    }
    tags = _tag_filter(case, spellings, values)
    mine, others = sql.SQL("c.creator_id = %(viewer)s"), sql.SQL("c.creator_id <> %(viewer)s")
    branches = [
        block("legacy_gallery", "branch").sql(
            table=source.table, source=sql.Literal(source.junction), creator=creator, tags=tags
        )
        for source in ContentSource
        for creator in ([mine] if case.mine else [mine, others])
    ]
    return block("legacy_gallery", "page").sql(branches=sql.SQL(" union all ").join(branches)), values


def _tag_filter(case: Case, spellings: Spellings, values: dict[str, Any]) -> sql.Composable:
    clauses = []
    for tag in case.tags:
        contained = []
        for spelling in spellings[tag]:
            name = f"spelling_{len(values)}"
            values[name] = Jsonb([spelling])
            contained.append(block("legacy_gallery", "contains").sql(spelling=sql.Placeholder(name)))
        clauses.append(sql.SQL("({})").format(sql.SQL(" or ").join(contained)))
    if not clauses:
        return sql.SQL("true")
    joiner = sql.SQL(" and ") if case.match == "all" else sql.SQL(" or ")
    return sql.SQL("({})").format(joiner.join(clauses))
