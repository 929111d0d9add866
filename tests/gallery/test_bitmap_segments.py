"""An index of several segments: tags that never meet, or first meet in the last chunk that is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from genonaut_lib.db import engine
from genonaut_lib.gallery.bitmaps.algebra import SEGMENT
from genonaut_lib.gallery.bitmaps.layout import PUBLIC_ITEMS
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.bitmap_layer import Layer, LayerTag, layer_tags
from genonaut_lib.tuning.bitmap_reader import BitmapReader
from genonaut_lib.tuning.gallery_bench import prepare

CHUNKS = 2 * SEGMENT + 5
TAGS = layer_tags(11)
LEFT, RIGHT, UNCOMMON, RARE, *POPULAR = TAGS


@pytest.fixture
def layer(settings: Settings) -> Iterator[Layer]:
    """Some chunks more than two segments, of tags with random bits."""
    prepare(settings, None, lambda _: None)
    with engine.connect(settings) as connection:
        made = Layer(connection, settings, CHUNKS, seed=3)
        made.make(lambda _: None)
        made.add(TAGS, lambda _: None)
        made.serve(CHUNKS)
        yield made


def counted(layer: Layer, tags: Sequence[LayerTag]) -> int:
    """Return how many items carry all of some tags, as PostgreSQL counts bits."""
    numbers = [tag.number for tag in tags] + [PUBLIC_ITEMS]
    row = layer.connection.execute(
        "select coalesce(sum(bit_count(met)), 0) from (select bit_and(bits) as met from workbench.tag_bitmaps "
        "where tag_no = any(%s) group by chunk having count(*) = %s) of_chunk",
        (numbers, len(numbers)),
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    "tags",
    [
        (LEFT, RIGHT),
        (LEFT, RIGHT, *POPULAR[:2]),
        (*POPULAR[:5], LEFT, RIGHT),
        (UNCOMMON, *POPULAR[:4], LEFT),
        (RARE, UNCOMMON, LEFT, *POPULAR),
        tuple(POPULAR),
    ],
    ids=lambda tags: "+".join(tag.name for tag in tags),
)
def test_the_total_of_many_tags_is_what_postgresql_counts(layer: Layer, tags: tuple[LayerTag, ...]) -> None:
    """Whether nothing, little or much matches, and whichever groups are looked at first."""
    query = GalleryQuery(tuple(tag.id for tag in tags), TagMatch.ALL)
    with BitmapReader(layer.settings) as reader:
        assert reader.total(query).total == counted(layer, tags)


@pytest.mark.parametrize("chunk", [0, SEGMENT - 1, SEGMENT, CHUNKS - 1])
def test_tags_that_meet_in_one_chunk_only_are_found_there(layer: Layer, chunk: int) -> None:
    """Ruling windows out by a few of the groups loses none in which they do meet."""
    layer.connection.execute(
        "update workbench.tag_bitmaps t set bits = l.bits from workbench.tag_bitmaps l "
        "where l.tag_no = %s and t.tag_no = %s and l.chunk = t.chunk and l.chunk = %s",
        (LEFT.number, RIGHT.number, chunk),
    )
    tags = (*POPULAR[:3], LEFT, RIGHT)
    query = GalleryQuery(tuple(tag.id for tag in tags), TagMatch.ALL)
    with BitmapReader(layer.settings) as reader:
        found = counted(layer, tags)
        assert found > 0
        assert reader.total(query).total == found
