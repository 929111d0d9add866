"""What the harness is made of: databases copied from one another, an application that writes, a kill, a picture."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import conninfo, sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import adoption, revisions
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.truth import junction_is_truth
from genonaut_lib.migration.plan import probe
from genonaut_lib.settings import Settings, load_settings
from genonaut_lib.vocabulary import ContentSource, tag_id, tag_slug
from tests import databases
from tests.factories import FIRST_DAY, Gallery
from tests.migration.test_phases import apply, fill

PARENT = "content_items_all"
FIRST_ITEMS, BATCH = 98, 40
"""Items of each source at the start, two for each turn of the application's, and rows of a batch."""
BASE_TABLES = ("users", "content_items", "content_items_auto", "tags", "tag_parents", "content_tags")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and what was committed stays."""


@dataclass
class Kill:
    """Strikes after `after` committed steps: DDL statements and batches of a backfill alike."""

    after: int
    steps: int = 0

    def step(self, *_: object) -> None:
        self.steps += 1
        if self.steps == self.after:
            raise Killed

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Count every DDL statement of the block; leave it silently when the kill struck."""
        real = revisions.run_ddl

        def run(*arguments: Any, **options: Any) -> Any:
            attempt = real(*arguments, **options)
            self.step()
            return attempt

        revisions.run_ddl = run
        try:
            yield
        except Killed:
            pass
        finally:
            revisions.run_ddl = real

    @property
    def struck(self) -> bool:
        return self.steps >= self.after


@dataclass
class Databases:
    """One database for the state before each phase, built once; every test works on a copy of one."""

    admin_url: str
    made: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    finished: str = ""
    _schemas: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def build(self) -> None:
        """Fill a legacy gallery and take it through the phases, keeping the state before each."""
        name = self.create("template1")
        with self.context(name) as context:
            adoption.adopt(context.connection, context.settings)
            for _ in range(FIRST_ITEMS // 7):
                fill(Gallery(context.connection))
        for phase in PHASES:
            self.before[phase] = name
            name = self.create(name)
            with self.context(name) as context:
                apply(context, phase)
        self.finished = name

    def after(self, phase: str) -> str:
        """Return the database in the state after `phase`."""
        states = [*self.before.values(), self.finished]
        return states[list(self.before).index(phase) + 1]

    def schema_after(self, phase: str) -> dict[str, list[Any]]:
        """Return the schema objects that `phase` makes when nothing disturbs it."""
        if phase not in self._schemas:
            with self.context(self.after(phase)) as context:
                self._schemas[phase] = schema_of(context.connection)
        return self._schemas[phase]

    def create(self, template: str) -> str:
        name = f"genonaut_harness_{os.getpid()}_{next(self._numbers)}"
        databases.create(self.admin_url, name, template)
        self.made.append(name)
        return name

    def drop(self, name: str) -> None:
        databases.drop(self.admin_url, name)
        self.made.remove(name)

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """Yield the name of a copy of `template`, dropped afterwards."""
        name = self.create(template)
        try:
            yield name
        finally:
            self.drop(name)

    @contextmanager
    def context(self, name: str, report: Callable[..., None] = lambda progress: None) -> Iterator[Context]:
        """Yield what a phase works with, on a session of its own."""
        settings = self.settings(name)
        with closing(engine.connect(settings)) as connection:
            yield Context(connection, settings, report=report)

    def settings(self, name: str) -> Settings:
        """Return the settings of environment `test` with batches that take several for each source."""
        settings = load_settings("test")
        throttle = settings.throttle.model_copy(update={"batch_rows_first": BATCH, "batch_rows_max": BATCH})
        address = SecretStr(conninfo.make_conninfo(self.admin_url, dbname=name))
        return settings.model_copy(update={"database_url": address, "throttle": throttle})


@dataclass(frozen=True)
class Application:
    """Writes as an application of this moment would: names or ids, to a table or through the parent.

    `ids` remembers the ids of what was inserted; an application on another database that shares them
    writes the same rows there.
    """

    connection: Connection
    ids: dict[str, int] = field(default_factory=dict)

    def write(self, turn: int) -> None:
        """Insert, retag, change and delete, in both sources; every turn takes two items of the start."""
        self.register_tag(f"coined {turn}")
        for source in ContentSource:
            kept, passing = self.insert(source, f"kept {turn}"), self.insert(source, f"passing {turn}", ["anime"])
            self.retag(source, 2 * turn + 1, ["devel::lang:perl", f"coined {turn}"])
            self.retag(source, kept, ["anime", f"coined {turn}"])
            self.run("update {} set title = %s, quality_score = 0.5, is_private = true", source, FIRST_ITEMS, ["other"])
            self.run("update {} set item_metadata = %s", source, kept, [Jsonb({"turn": turn})])
            self.run("delete from {}", source, 2 * turn + 2)
            self.run("delete from {}", source, passing)

    def register_tag(self, name: str) -> None:
        """Insert a tag that no seeding saw, where there are tags."""
        if probe("has_relation", "tags").holds(self.connection):
            self.connection.execute(
                "insert into tags (id, tag_no, name, slug, label, created_at)"
                " select %s, coalesce(max(tag_no), 0) + 1, %s, %s, %s, %s from tags",
                [tag_id(name), name, tag_slug(name), name, FIRST_DAY],
            )

    def insert(self, source: ContentSource, title: str, tags: list[str] | None = None) -> int:
        values: dict[str, Any] = {
            "title": title, "content_type": "text", "content_data": "", "prompt": "", "created_at": FIRST_DAY,
            "updated_at": FIRST_DAY, "creator_id": Gallery(self.connection).user(),
        }  # fmt: skip
        key = f"{source.junction} {title}"
        values |= {"id": self.ids[key]} if key in self.ids else {}
        values |= {"source_type": source.partition} if self.attached(source) else {}
        in_array = tags is not None and not junction_is_truth(self.connection)
        values |= {"tags": self.tags(source, tags or [])} if in_array else {}
        columns, marks = map(sql.Identifier, values), [sql.Placeholder()] * len(values)
        statement = sql.SQL("insert into {} ({}) values ({}) returning id").format(
            self.table(source), sql.SQL(", ").join(columns), sql.SQL(", ").join(marks)
        )
        row = self.connection.execute(statement, list(values.values())).fetchone()
        assert row is not None
        if tags and not in_array:
            self.retag(source, row[0], tags)
        return self.ids.setdefault(key, row[0])

    def retag(self, source: ContentSource, item: int, tags: list[str]) -> None:
        if not junction_is_truth(self.connection):
            self.run("update {} set tags = %s", source, item, [self.tags(source, tags)])
            return
        key, ids = [item, source.junction], [tag_id(name) for name in tags]
        gone = "delete from content_tags where content_id = %s and content_source = %s and tag_id <> all (%s)"
        self.connection.execute(gone, [*key, ids])
        new = "insert into content_tags select %s, %s, unnest(%s::uuid[]) on conflict do nothing"
        self.connection.execute(new, [*key, ids])

    def run(self, statement: str, source: ContentSource, item: int, values: list[Any] | None = None) -> None:
        """Carry out a statement on one item, which must be there."""
        where = " where id = %s" + (" and source_type = %s" if self.attached(source) else "")
        key = [item, source.partition] if self.attached(source) else [item]
        text = sql.SQL(statement + where).format(self.table(source))  # type: ignore[arg-type]
        assert self.connection.execute(text, [*(values or []), *key]).rowcount == 1

    def attached(self, source: ContentSource) -> bool:
        return probe("is_partition", source.table, parent=PARENT).holds(self.connection)

    def table(self, source: ContentSource) -> sql.Identifier:
        return sql.Identifier(PARENT if self.attached(source) else source.table)

    def tags(self, source: ContentSource, names: list[str]) -> Any:
        """Return names as the column takes them: a JSON array before the swap, ids after it."""
        names_still = self.connection.execute(
            "select atttypid = 'jsonb'::regtype from pg_attribute where attrelid = %s::regclass and attname = 'tags'",
            [source.table],
        ).fetchone()
        return Jsonb(names) if names_still == (True,) else [tag_id(name) for name in names]


@dataclass(frozen=True)
class Picture:
    """A database at one moment: rows of the base tables, schema objects, revision, backfills that were begun."""

    rows: dict[str, list[Any]]
    schema: dict[str, list[Any]]
    revision: str | None
    backfills: list[Any]

    def unordered(self) -> Picture:
        """Return the picture with every array of ids sorted: a junction knows no order."""
        rows = {
            table: [row | {"tags": sorted(row["tags"])} if row.get("tags") else row for row in rows]
            for table, rows in self.rows.items()
        }
        return replace(self, rows=rows)

    def without(self, columns: dict[str, set[str]]) -> Picture:
        """Return the picture with some columns of some tables left out; rows left without any go with them."""
        rows = {
            table: [
                kept for row in rows if (kept := {name: row[name] for name in row.keys() - columns.get(table, set())})
            ]
            for table, rows in self.rows.items()
        }
        return replace(self, rows=rows)


OBJECTS = {
    "relations": """
        select relname, relkind, relispartition, relacl::text, pg_get_userbyid(relowner) from pg_class
        where relnamespace = 'public'::regnamespace order by 1
    """,
    "columns": """
        select c.relname, a.attname, row_number() over (partition by c.oid order by a.attnum),
               format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1, 3
    """,
    "indexes": """
        select c.relname, pg_get_indexdef(c.oid), i.indisvalid, c.relispartition
        from pg_index i join pg_class c on c.oid = i.indexrelid
        where c.relnamespace = 'public'::regnamespace order by 1
    """,
    "constraints": """
        select conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated from pg_constraint
        where connamespace = 'public'::regnamespace order by 1, 2
    """,
    "triggers": """
        select tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled from pg_trigger
        where not tgisinternal order by 1, 2
    """,
    "functions": """
        select proname, prosrc, prosecdef, proacl::text from pg_proc
        where pronamespace = 'public'::regnamespace order by 1
    """,
    "sequences": """
        select s.relname, d.refobjid::regclass::text, d.refobjsubid > 0
        from pg_class s
        left join pg_depend d on d.objid = s.oid and d.deptype = 'a' and d.classid = 'pg_class'::regclass
        where s.relkind = 'S' and s.relnamespace = 'public'::regnamespace order by 1
    """,
}


def schema_of(connection: Connection) -> dict[str, list[Any]]:
    """Return every object of the schema public, kind by kind."""
    return {kind: connection.execute(question.encode()).fetchall() for kind, question in OBJECTS.items()}


def picture(connection: Connection) -> Picture:
    """Return what is compared: an undone migration and one that never was must look the same."""
    rows = {}
    for table in BASE_TABLES:
        if probe("has_relation", table).holds(connection):
            question = sql.SQL("select to_jsonb(t) from {} t order by 1").format(sql.Identifier(table))
            rows[table] = [row[0] for row in connection.execute(question).fetchall()]
    backfills = connection.execute("select distinct task from workbench.backfills order by 1").fetchall()
    return Picture(rows, schema_of(connection), revisions.current(connection), backfills)
