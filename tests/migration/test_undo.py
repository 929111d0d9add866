"""What stopping and undoing phases once lost: ids given out twice, tags the application made, writes in between."""

from __future__ import annotations

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import blocks
from genonaut_lib.errors import NotAGallery
from genonaut_lib.migration import adoption
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.runner import undo_phase
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.test_phases import apply, apply_before


def test_a_tag_the_application_made_is_backfilled_and_verified(context: Context, gallery: Gallery) -> None:
    """A tag that no seeding saw gets the alias that the backfill reads its mirrored name by."""
    gallery.legacy_item(["anime"])
    apply_before(context, "backfill_tag_uuids")
    coined = tag_id("coined")
    context.connection.execute(
        "insert into tags (id, tag_no, name, slug, label) values (%s, 2, 'coined', 'coined', 'coined')", [coined]
    )
    item = gallery.item([coined])
    for _ in range(2):
        apply(context, "backfill_tag_uuids")
        row = context.connection.execute("select tags from content_items where id = %s", [item]).fetchone()
        assert row == ([coined],)
        undo_phase(PHASES["backfill_tag_uuids"], context)
    assert context.connection.execute("select count(*) from workbench.unmapped_tags").fetchone() == (0,)


@pytest.mark.parametrize("source", list(ContentSource))
def test_the_id_of_a_deleted_item_is_not_given_out_again(
    source: ContentSource, context: Context, gallery: Gallery
) -> None:
    """Neither by attaching nor by detaching."""
    gallery.legacy_item(["anime"], source)
    apply_before(context, "attach_partitions")
    given = []
    for turn in (apply, lambda context, name: undo_phase(PHASES[name], context), apply):
        given.append(gallery.item([], source))
        context.connection.execute(f"delete from {source.table} where id = %s".encode(), [given[-1]])
        turn(context, "attach_partitions")
    given.append(gallery.item([], source))
    assert given == sorted(set(given))


@pytest.mark.before("backfill_tag_uuids")
def test_an_id_written_in_the_middle_of_an_undo_is_kept(context: Context, gallery: Gallery) -> None:
    """The mirror goes with the column it mirrors, not before it."""
    for step in PHASES["expand_tag_columns"].undo_actions():  # type: ignore[attr-defined]
        if step.id.startswith("restore:content_items"):
            context.connection.execute("update content_items_auto set tags = %s where id = 1", [[tag_id("anime")]])
            break
        context.connection.execute(step.statement)
    undo_phase(PHASES["expand_tag_columns"], context)
    row = context.connection.execute("select tags from content_items_auto where id = 1").fetchone()
    assert row == (["anime"],)


@pytest.mark.parametrize("column", ["tags_old", "source_type"])
def test_a_gallery_with_a_column_that_an_undo_would_drop_is_refused(
    column: str, connection: Connection, settings: Settings
) -> None:
    """What the workbench did not make it does not take away either."""
    for found in blocks("legacy").values():
        connection.execute(found.sql())
    connection.execute(f"alter table content_items_auto add column {column} text".encode())
    with pytest.raises(NotAGallery, match=column):
        adoption.adopt(connection, settings)
