"""Giving spellings their tags: those the seeding counted, and those the backfill met later.

What a spelling means is decided in `policies.judge`; here the decisions are written, each settlement in
one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration.policies import Decision, DirtyKind, Judgement, Policy, judge
from genonaut_lib.vocabulary import canonical_tag_name, facet_of, tag_id, tag_slug

FILE = "seed_tags"


@dataclass(frozen=True)
class Spelling:
    """One distinct legacy element: its digest, its value, the text JSON shows for it, and the judgement."""

    digest: bytes
    element: Any
    text: str | None
    judgement: Judgement

    @property
    def label(self) -> str:
        """The spelling as people should read it: runs of white space made one blank."""
        return " ".join((self.text or "").split())


def settle(connection: Connection, policy: Policy) -> None:
    """Give every counted spelling its tag, in one transaction."""
    with connection.transaction():
        _prepare(connection)
        rows = connection.execute(block(FILE, "spellings").sql()).fetchall()
        _stage_all(connection, _judge_all(rows, policy, _tag_ids(connection, "all_tags")))
        for name in ("insert_tags", "insert_parents", "settle_spellings", "insert_aliases", "insert_name_aliases"):
            connection.execute(block(FILE, name).sql())


def settle_late(connection: Connection, policy: Policy, unknown: Decision) -> int:
    """Judge the spellings that only the backfill met, and return how many there are.

    What means a tag that is there is mapped by the policy of the seeding; what would need a new tag
    is an unknown name, and `unknown` says whether it gets one.
    """
    with connection.transaction():
        _prepare(connection)
        rows = connection.execute(block(FILE, "late_spellings").sql()).fetchall()
        known = _tag_ids(connection, "meant_tags")
        _stage_all(connection, [_late(spelling, known, unknown) for spelling in _judge_all(rows, policy, known)])
        for name in ("insert_tags", "insert_parents", "insert_late_spellings", "insert_aliases", "insert_name_aliases"):
            connection.execute(block(FILE, name).sql())
    return len(rows)


def _prepare(connection: Connection) -> None:
    for name in ("stage_tags", "stage_spellings", "lock_tags"):
        connection.execute(block(FILE, name).sql())


def _tag_ids(connection: Connection, which: str) -> set[uuid.UUID]:
    return {found for found, _ in connection.execute(block(FILE, which).sql())}


def _judge_all(rows: list[tuple[Any, ...]], policy: Policy, known: set[uuid.UUID]) -> list[Spelling]:
    """Judge names before UUID strings, which may mean a tag that a name of the same data makes."""
    spellings = [
        Spelling(bytes(digest), element, text, judge(element, text, policy, known)) for digest, element, text, _ in rows
    ]
    not_uuids = [found for found in spellings if not _is_uuid(found)]
    made = known | {row[0] for row in _tag_rows(not_uuids)}
    return [_again(found, policy, made) if _is_uuid(found) else found for found in spellings]


def _is_uuid(spelling: Spelling) -> bool:
    return spelling.judgement.kind in (DirtyKind.UUID_STRING, "unknown_uuid")


def _again(spelling: Spelling, policy: Policy, known: set[uuid.UUID]) -> Spelling:
    found = judge(spelling.element, spelling.text, policy, known)
    return Spelling(spelling.digest, spelling.element, spelling.text, found)


def _late(spelling: Spelling, known: set[uuid.UUID], unknown: Decision) -> Spelling:
    found = spelling.judgement
    if found.tag is None or found.tag in known:
        return spelling
    if unknown is Decision.QUARANTINE:
        found = Judgement(DirtyKind.UNKNOWN_NAME, unknown)
    else:
        found = Judgement(DirtyKind.UNKNOWN_NAME, Decision.CREATE, found.name, found.tag)
    return Spelling(spelling.digest, spelling.element, spelling.text, found)


def _stage_all(connection: Connection, spellings: list[Spelling]) -> None:
    _stage(connection, "incoming_tags", _tag_rows(spellings))
    _stage(connection, "incoming_spellings", _spelling_rows(spellings))


def _tag_rows(spellings: Iterable[Spelling]) -> Iterator[tuple[Any, ...]]:
    """Yield one row a tag, facets included; the first spelling met, the most used one, is its label."""
    labels: dict[str, str] = {}
    for spelling in spellings:
        if spelling.judgement.name is not None:
            labels.setdefault(spelling.judgement.name, spelling.label)
    for facet in sorted({facet for name in labels if (facet := _facet(name))}):
        labels.setdefault(facet, facet)
    for name, label in labels.items():
        facet = _facet(name)
        yield tag_id(name), name, tag_slug(name), label, tag_id(facet) if facet else None


def _facet(name: str) -> str | None:
    """Return the canonical facet, also of a name that keeps its own case."""
    return facet_of(canonical_tag_name(name))


def _spelling_rows(spellings: Iterable[Spelling]) -> Iterator[tuple[Any, ...]]:
    for place, spelling in enumerate(spellings):
        found = spelling.judgement
        text = spelling.element if found.tag is not None and isinstance(spelling.element, str) else None
        yield spelling.digest, str(found.kind), found.decision.value, text, found.tag, place


def _stage(connection: Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    statement = block("copy", "into").sql(table=table)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
