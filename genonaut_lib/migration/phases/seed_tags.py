"""Seed `tags`, `tag_parents` and `tag_aliases` from the names found in the legacy arrays.

Additive: the content tables are only read. Two steps: every distinct element is counted in
batches, then each spelling is given its tag, in one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import backfill, revisions
from genonaut_lib.migration.backfill import BackfillTask
from genonaut_lib.migration.phases.base import Context, SchemaPhase, run_backfill
from genonaut_lib.migration.plan import Action, Outcome, Plan, Verification, action, probe
from genonaut_lib.vocabulary import (
    SpellingKind,
    canonical_tag_name,
    classify_spelling,
    facet_of,
    tag_id,
    tag_slug,
)

OBSERVE = BackfillTask("observe_spellings", block("seed_tags", "observe_spellings"))


@dataclass(frozen=True)
class Spelling:
    """One distinct legacy element: its digest, what it is, and the canonical name (None when it is no tag)."""

    digest: bytes
    element: Any
    kind: SpellingKind
    name: str | None

    @property
    def tag_id(self) -> uuid.UUID | None:
        """The id of the tag this spelling means, or None for one that means none."""
        if self.kind is SpellingKind.UUID:
            return uuid.UUID(canonical_tag_name(self.element))
        return tag_id(self.name) if self.name else None


@dataclass(frozen=True)
class SeedTags(SchemaPhase):
    """Phase 10; see the module."""

    name: str = "seed_tags"
    title: str = "Seed the tags from the names in the data"
    notebook: str = "10_seed_tags"
    revision: str = revisions.SEED_TAGS
    before: str = revisions.LEDGER

    def actions(self) -> list[Action]:
        """Create the three tables and their indexes."""
        tables = ("tags", "tag_parents", "tag_aliases")
        indexes = {"tag_parents_index": "idx_tag_parents_parent", "tag_aliases_index": "idx_tag_aliases_tag"}
        names = {name: name for name in tables} | indexes
        steps = [
            action(f"create:{name}", block("seed_tags", f"create_{name}"), done=probe("has_relation", relation))
            for name, relation in names.items()
        ]
        return [*steps, action("grant:reading", block("seed_tags", "grant_reading"))]

    def undo_actions(self) -> list[Action]:
        """Drop the three tables, forget the counted spellings; the legacy arrays were never touched."""
        # Told by its number, so that a table of the same name that somebody else made is never dropped.
        gone = probe("has_column", "tags", wanted=False, column="tag_no")
        return [
            action("forget:spellings", block("seed_tags", "forget_spellings"), task=sql.Literal(OBSERVE.name)),
            action("drop:tags", block("seed_tags", "drop_tables"), done=gone),
        ]

    def plan(self, context: Context) -> Plan:
        """Return the tables to create and the two data steps, or nothing once the arrays are past."""
        if revisions.at_least(context.connection, revisions.EXPAND_TAG_COLUMNS):
            return Plan(self.name, (), note="done: the legacy arrays were seeded and have moved on")
        schema = super().plan(context)
        data = tuple(
            action(f"data:{name}", block("seed_tags", name), table="content_items")
            for name in ("observe_spellings", "insert_tags", "insert_parents", "insert_aliases")
        )
        return Plan(self.name, schema.actions + data, self.facts(context))

    def apply(self, context: Context) -> Outcome:
        """Create the tables, count the spellings, give each its tag."""
        if not self.plan(context).actions:
            return Outcome(self.name, {"statements run": 0})
        super().apply(context)
        if backfill.status(context.connection, OBSERVE.name).complete:
            # Seeded before: names may have come since by updates of old rows, so all are counted anew.
            context.connection.execute(block("seed_tags", "forget_spellings").sql(task=sql.Literal(OBSERVE.name)))
        observed = run_backfill(context, OBSERVE)
        _settle(context.connection)
        return Outcome(self.name, {"items read": observed.rows_read, **_counts(context.connection)})

    def verify(self, context: Context) -> Verification:
        """Check that every spelling was judged, every name has its alias, and every id is its name's uuid5."""
        tags = context.connection.execute(block("seed_tags", "all_tags").sql()).fetchall()
        wrong = [f"{name} has id {found}" for found, name in tags if tag_id(name) != found]
        row = context.connection.execute(block("seed_tags", "unsettled").sql()).fetchone()
        assert row is not None
        samples = tuple(wrong[:20])
        mismatches = len(wrong) + int(row[0])
        return Verification(self.name, len(tags), mismatches, _counts(context.connection), samples)


def _settle(connection: Connection) -> None:
    """Give every counted spelling its tag, in one transaction."""
    rows = connection.execute(block("seed_tags", "spellings").sql()).fetchall()
    spellings = [_judge(bytes(digest), element) for digest, element, _ in rows]
    with connection.transaction():
        for name in ("stage_tags", "stage_spellings", "lock_tags"):
            connection.execute(block("seed_tags", name).sql())
        _stage(connection, "incoming_tags", _tag_rows(spellings))
        _stage(connection, "incoming_spellings", _spelling_rows(spellings))
        for name in ("insert_tags", "insert_parents", "insert_name_aliases", "insert_aliases", "settle_spellings"):
            connection.execute(block("seed_tags", name).sql())


def _judge(digest: bytes, element: Any) -> Spelling:
    kind = classify_spelling(element)
    name = canonical_tag_name(element) if kind is SpellingKind.NAME else None
    return Spelling(digest, element, kind, name)


def _tag_rows(spellings: Iterable[Spelling]) -> Iterator[tuple[Any, ...]]:
    """Yield one row a tag, facets included; the first spelling met, the most used one, is its label."""
    labels: dict[str, str] = {}
    for spelling in spellings:
        if spelling.name is not None:
            labels.setdefault(spelling.name, " ".join(spelling.element.split()))
    for facet in sorted({facet for name in labels if (facet := facet_of(name))}):
        labels.setdefault(facet, facet)
    for name, label in labels.items():
        facet = facet_of(name)
        yield tag_id(name), name, tag_slug(name), label, tag_id(facet) if facet else None


def _spelling_rows(spellings: Iterable[Spelling]) -> Iterator[tuple[Any, ...]]:
    for spelling in spellings:
        text = spelling.element if spelling.tag_id is not None else None
        yield spelling.digest, spelling.kind.value, text, spelling.tag_id


def _stage(connection: Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    statement = block("copy", "into").sql(table=table)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _counts(connection: Connection) -> dict[str, int]:
    row = connection.execute(block("seed_tags", "counts").sql()).fetchone()
    assert row is not None
    return dict(zip(("tags", "parents", "aliases", "distinct spellings"), row, strict=True))
