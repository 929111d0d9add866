"""Seed `tags`, `tag_parents` and `tag_aliases` from the names found in the legacy arrays.

Additive: the content tables are only read. Two steps: every distinct element is counted in
batches, then each spelling is given its tag, in one transaction. Spellings that are no plain names are
decided upon by a policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import backfill, decisions, revisions, spellings
from genonaut_lib.migration.backfill import BackfillTask
from genonaut_lib.migration.phases.base import Context, SchemaPhase, run_backfill
from genonaut_lib.migration.plan import Action, Outcome, Plan, Verification, action, probe
from genonaut_lib.migration.policies import Policy, policy_text
from genonaut_lib.vocabulary import ContentSource, tag_id

# One worker: every batch counts the same popular spellings, whose rows it keeps locked to its end.
OBSERVE = BackfillTask("observe_spellings", block("seed_tags", "observe_spellings"), workers=1)
SETTLE = ("insert_tags", "insert_parents", "insert_name_aliases", "insert_aliases", "settle_spellings")
"""The statements that give every counted spelling its tag; one transaction."""


@dataclass(frozen=True)
class SeedTags(SchemaPhase):
    """Phase 10; see the module.

    `dirty` says what becomes of dirty elements, as `variant=create, not_a_string=map`.
    """

    name: str = "seed_tags"
    title: str = "Seed the tags from the names in the data"
    notebook: str = "10_seed_tags"
    revision: str = revisions.SEED_TAGS
    before: str = revisions.LEDGER
    dirty: str = ""

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
            decisions.forget_action(SeedTags.name),
            action("drop:tags", block("seed_tags", "drop_tables"), done=gone),
        ]

    def plan(self, context: Context) -> Plan:
        """Return the tables to create and the data steps, or nothing once the arrays are past.

        Raises InvalidInput for a policy that does not exist, PolicyFixed for one that comes too late.
        """
        if revisions.at_least(context.connection, revisions.EXPAND_TAG_COLUMNS):
            decisions.require_kept(context.connection, self.name, self.dirty, "expand_tag_columns")
            return Plan(self.name, (), note="done: the legacy arrays were seeded and have moved on")
        schema = super().plan(context)
        forget = (
            [action("data:forget_tags", block("seed_tags", "forget_tags"))] if self._reseeds(context.connection) else []
        )
        observe = [_observe_action(source) for source in ContentSource]
        settle = [_settle_action(name) for name in SETTLE]
        facts = {**self.facts(context), "policy": policy_text(self.policy())}
        return Plan(self.name, (*schema.actions, *forget, *observe, *settle), facts)

    def policy(self) -> Policy:
        """Return what is decided for each kind this phase decides."""
        return decisions.wanted(self.name, self.dirty)

    def apply(self, context: Context) -> Outcome:
        """Create the tables, count the spellings, give each its tag."""
        if not self.plan(context).actions:
            return Outcome(self.name, {"statements run": 0})
        super().apply(context)
        if decisions.in_force(context.connection, self.name) != self.policy():
            self._begin_anew(context.connection)
        elif backfill.status(context.connection, OBSERVE.name).complete:
            # Seeded before: names may have come since by updates of old rows, so all are counted anew.
            _forget_counts(context.connection)
        observed = run_backfill(context, OBSERVE)
        spellings.settle(context.connection, self.policy())
        return Outcome(self.name, {"items read": observed.rows_read, **_counts(context.connection)})

    def _reseeds(self, connection: Connection) -> bool:
        """Return whether tags were made under another policy; they go, as in an undo."""
        decided = decisions.in_force(connection, self.name)
        return bool(decided) and decided != self.policy()

    def _begin_anew(self, connection: Connection) -> None:
        """Forget what another policy made and write the new one down, in one: a kill leaves either."""
        with connection.transaction():
            connection.execute(block("seed_tags", "forget_tags").sql())
            _forget_counts(connection)
            decisions.decide(connection, self.name, self.policy())

    def verify(self, context: Context) -> Verification:
        """Check that every spelling was judged, every name has its alias, and every id is its name's uuid5."""
        tags = context.connection.execute(block("seed_tags", "all_tags").sql()).fetchall()
        wrong = [f"{name} has id {found}" for found, name in tags if tag_id(name) != found]
        row = context.connection.execute(block("seed_tags", "unsettled").sql()).fetchone()
        assert row is not None
        samples = tuple(wrong[:20])
        mismatches = len(wrong) + int(row[0])
        return Verification(self.name, len(tags), mismatches, _counts(context.connection), samples)


def _forget_counts(connection: Connection) -> None:
    connection.execute(block("seed_tags", "forget_spellings").sql(task=sql.Literal(OBSERVE.name)))


def _observe_action(source: ContentSource) -> Action:
    step = action(f"data:observe_spellings:{source.table}", OBSERVE.batch, table=source.table)
    return Action(step.id, step.statement, "ROW EXCLUSIVE on the ledger, ACCESS SHARE on the table", step.why)


def _settle_action(name: str) -> Action:
    step = action(f"data:{name}", block("seed_tags", name))
    return Action(step.id, step.statement, "SHARE ROW EXCLUSIVE on tags", step.why)


def _counts(connection: Connection) -> dict[str, int]:
    row = connection.execute(block("seed_tags", "counts").sql()).fetchone()
    assert row is not None
    return dict(zip(("tags", "parents", "aliases", "distinct spellings"), row, strict=True))
