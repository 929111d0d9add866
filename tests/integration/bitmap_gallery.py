"""A small gallery whose index is armed, copied for each test that writes to it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import adoption
from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.phases.create_tag_bitmaps import arm
from genonaut_lib.vocabulary import ContentSource
from tests.databases import database, settings_of
from tests.factories import FIRST_DAY, Gallery
from tests.migration.test_phases import apply_before

ITEMS = 3
"""Of each source, with the ids 1, 2 and 3."""
PARENT = "content_items_all"
COLUMNS = "source_type, title, content_type, content_data, prompt, creator_id, created_at, updated_at, is_private, tags"
INSERT = f"""
insert into {{table}} (id, {COLUMNS})
select made, {COLUMNS.removesuffix("tags")}'{{}}' from content_items_all, {{rows}} made
where id = (select min(id) from content_items_all) and {{mine}}
"""
"""Items like the first one of a source, without tags, with the ids `rows`."""
OTHER = uuid.UUID(int=9)
"""A tag that nothing carries."""
Marks = dict[tuple[str, int], bool]


@contextmanager
def model(admin_url: str) -> Iterator[str]:
    """Make the database that is copied: migrated up to the cut over, armed, every item tagged `anime` and `manga`."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            context = Context(connection, settings)
            adoption.adopt(connection, settings)
            for source in (*ContentSource,) * ITEMS:
                Gallery(connection).legacy_item(["anime", "manga"], source)
            Gallery(connection).user("grace")
            apply_before(context, "cut_over")
            connection.execute(
                "insert into tags (id, tag_no, name, slug, label, created_at)"
                " select %s, max(tag_no) + 1, 'other', 'other', 'other', %s from tags",
                [OTHER, FIRST_DAY],
            )
            arm(connection, settings.database)
        yield name


@contextmanager
def copy(admin_url: str, name: str) -> Iterator[Context]:
    """Yield what a phase works with, on a copy of the database `name`."""
    with database(admin_url, name) as other:
        settings = settings_of(admin_url, other)
        with closing(engine.connect(settings)) as connection:
            yield Context(connection, settings)


def marks(connection: Connection) -> Marks:
    """Return what is marked: source and id, and whether any mark says that it moved. The marks are forgotten."""
    found: Marks = {}
    for source, item, moved in connection.execute(
        "delete from workbench.bitmap_marks returning source_type, content_id, moved"
    ):
        found[source, item] = moved or found.get((source, item), False)
    return found
