"""Create what reading the gallery needs beside the content: statistics, a sample, a key, search indexes.

Additive: new, empty tables, and two indexes that are built while the gallery is in use. What fills the
tables is `migration/tag_stats.py`, which the same notebook runs afterwards, as often as one likes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import revisions
from genonaut_lib.migration.indexes import build_index
from genonaut_lib.migration.phases.base import Context, SchemaPhase
from genonaut_lib.migration.plan import Action, Check, Outcome, Plan, Probe, action, probe
from genonaut_lib.vocabulary import ContentSource

FILE = "create_gallery_stats"
TABLES = {
    "create_tag_stats": "tag_cardinality_stats",
    "create_source_stats": "gen_source_stats",
    "create_source_statistics": "workbench.source_statistics",
    "create_sample": "workbench.tag_sample",
    "create_service_keys": "workbench.service_keys",
}
NAMES_OF_OTHERS = ("tag_cardinality_stats", "gen_source_stats")
"""Names in the gallery's own schema, which an application may have given a table of its own."""


@dataclass(frozen=True)
class CreateGalleryStats(SchemaPhase):
    """The schema part of notebook 50; see the module.

    `search_index` says whether the full-text indexes are built. On a huge gallery they take much disk, and
    every insert pays for them; without them a search reads every item in reach. A later start with True
    builds them.
    """

    name: str = "create_gallery_stats"
    title: str = "Create and refresh the statistics of tags and sources"
    notebook: str = "50_refresh_tag_stats"
    revision: str = revisions.CREATE_GALLERY_STATS
    before: str = revisions.CREATE_TAG_BITMAPS
    search_index: bool = True

    def check(self, context: Context) -> list[Check]:
        """Besides the revision: no table or index of somebody else stands where one of ours is to stand."""
        checks = [*super().check(context), *(_table_check(context.connection, table) for table in NAMES_OF_OTHERS)]
        indexes = ContentSource if self.search_index else ()
        return [*checks, *(_index_check(context.connection, search_index(source)) for source in indexes)]

    def actions(self) -> list[Action]:
        """Each table with its rights in one transaction; then the indexes, one after the other."""
        steps = [action(f"create:{table}", block(FILE, name), done=_is_there(table)) for name, table in TABLES.items()]
        for source in ContentSource:
            steps += build_index(block(FILE, "create_private_index"), source.table, private_index(source))
        for source in ContentSource if self.search_index else ():
            steps += build_index(block(FILE, "create_search_index"), source.table, search_index(source))
        return steps

    def undo_actions(self) -> list[Action]:
        """Drop indexes and tables. All of it can be made anew but the key: cursors given out so far are refused."""
        drop_index, drop_table = block("upkeep", "drop_index"), block(FILE, "drop_table")
        indexes = [name(source) for source in ContentSource for name in (search_index, private_index)]
        return [
            action("forget:items", block("tag_stats", "untell_items")),
            *(action(f"drop:{index}", drop_index, index=index) for index in indexes),
            *(action(f"drop:{table}", drop_table, done=_is_gone(table), table=table) for table in TABLES.values()),
        ]

    def plan(self, context: Context) -> Plan:
        """Besides what the revision still lacks: past it, the indexes that an earlier start left out."""
        found = super().plan(context)
        if not revisions.at_least(context.connection, self.revision):
            return found
        missing = tuple(step for step in self.actions() if not step.is_done(context.connection))
        return replace(found, actions=missing, note="" if missing else found.note)

    def apply(self, context: Context) -> Outcome:
        """Upgrade to this phase's revision, then make whatever a database past it lacks."""
        todo = self.plan(context).actions
        options = {self.name: {"search_index": self.search_index}}
        revisions.upgrade(context.settings, self.revision, options=options)
        revisions.run_actions(context.connection, self.actions(), context.settings.database)
        reached = revisions.current(context.connection) or "none"
        return Outcome(self.name, {"statements run": len(todo), "revision": reached})


def search_index(source: ContentSource) -> str:
    """Return the name of the source's full-text index."""
    return f"idx_{source.table}_search"


def private_index(source: ContentSource) -> str:
    """Return the name of the index of the source's private items."""
    return f"idx_{source.table}_private"


def _is_there(table: str) -> Probe:
    """A check of ours tells our table from one of the same name that somebody else made."""
    if table in NAMES_OF_OTHERS:
        return probe("has_valid_constraint", table, constraint=f"{table}_counts")
    return probe("has_relation", table)


def _is_gone(table: str) -> Probe:
    return replace(_is_there(table), wanted=False)


def _table_check(connection: Connection, table: str) -> Check:
    ours = _is_there(table).holds(connection)
    free = probe("has_relation", table, wanted=False).holds(connection)
    finding = "free" if free else "there" if ours else "a table that the migration did not make; rename it first"
    return Check(f"name {table}", free or ours, finding)


def _index_check(connection: Connection, index: str) -> Check:
    other = Probe(block(FILE, "index_is_another"), {"relation": index}).holds(connection)
    finding = "over something else than a search asks for; rename it first" if other else "free, or as a search asks"
    return Check(f"name {index}", not other, finding)
