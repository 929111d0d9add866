"""Create the junction `content_tags`, empty, with the triggers that keep it in step with the arrays.

The primary key serves "all tags of an item", the one further index "all items of a tag"; any other
index on (tag_id, content_id) or (content_id, content_source) would only repeat a prefix of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from psycopg import sql

from genonaut_lib.db.statements import block
from genonaut_lib.migration import bulk, revisions
from genonaut_lib.migration.backfill import forget_action
from genonaut_lib.migration.phases.base import Context, SchemaPhase, table_facts
from genonaut_lib.migration.plan import Action, Verification, action, probe
from genonaut_lib.migration.tables import relationships_of
from genonaut_lib.vocabulary import ContentSource

FILE = "create_content_tags"
TAG_INDEX = "idx_content_tags_tag_src_content"


@dataclass(frozen=True)
class CreateContentTags(SchemaPhase):
    """Phase 20; see the module."""

    name: str = "create_content_tags"
    title: str = "Create the junction and the triggers that feed it"
    notebook: str = "20_create_content_tags"
    revision: str = revisions.CREATE_CONTENT_TAGS
    before: str = revisions.DROP_LEGACY_TAGS

    def facts(self, context: Context) -> Mapping[str, int | str]:
        """Besides rows and bytes: how many relationships the junction will hold."""
        return {**table_facts(context.connection), "relationships to come": expected_relationships(context)}

    def actions(self) -> list[Action]:
        """The table, its index, the function, and a trigger on each content table."""
        steps = [
            action("create:content_tags", block(FILE, "create_table"), done=probe("has_relation", "content_tags")),
            action(f"create:{TAG_INDEX}", block(FILE, "create_tag_index"), done=probe("has_valid_index", TAG_INDEX)),
            action("create:sync_function", block(FILE, "create_sync_function")),
            action("grant:reading", block(FILE, "grant_reading")),
        ]
        return steps + [
            _trigger(source, name, trigger)
            for source in ContentSource
            for name, trigger in (("sync", "sync_content_tags"), ("truncate", "empty_content_tags"))
        ]

    def verify(self, context: Context) -> Verification:
        """Ask the catalogue. While a bulk load is under way the index is away, and not missed: 21 builds it again."""
        found = super().verify(context)
        if not found.mismatches or not bulk.is_begun(context.connection):
            return found
        missing = tuple(step for step in found.samples if step != f"create:{TAG_INDEX}")
        return replace(found, mismatches=len(missing), samples=missing)

    def undo_actions(self) -> list[Action]:
        """Drop triggers, function and table; the arrays hold everything the junction held."""
        gone = probe("has_column", "content_tags", wanted=False, column="content_source")
        steps = [
            action(f"drop:sync_trigger:{source.table}", block(FILE, "drop_sync_trigger"), table=source.table)
            for source in ContentSource
        ]
        return [
            forget_action("backfill_content_tags"),
            forget_action("load_content_tags"),
            *steps,
            action("clear:notes", block("bulk_content_tags", "clear_notes")),
            action("drop:sync_function", block(FILE, "drop_sync_function")),
            action("drop:content_tags", block(FILE, "drop_table"), done=gone),
        ]


def _trigger(source: ContentSource, name: str, trigger: str) -> Action:
    return action(
        f"create:{name}_trigger:{source.table}",
        block(FILE, f"create_{name}_trigger"),
        done=probe("has_trigger", source.table, trigger=trigger),
        table=source.table,
        source=sql.Literal(source.junction),
    )


def expected_relationships(context: Context) -> int | str:
    """Return how many relationships the arrays hold now; estimated, with a tilde, where tables are large."""
    return relationships_of(context.connection).figure
