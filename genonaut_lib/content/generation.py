"""Synthetic legacy content, made by PostgreSQL itself from a hash: any size, the same for a seed.

Shapes: `dense` (106 tags, 75 an item), `zipf` (thousands of tags, long-tailed), `adversarial`
(popular tags that never meet, supersets, tied dates). Every shape carries dirty arrays.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from genonaut_lib.content.lines import LAST_CREATED_AT, SPREAD
from genonaut_lib.content.seeding import analyze, found_before, require_legacy
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block, blocks
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import nearest
from genonaut_lib.vocabulary import ContentSource, tag_id

REGULAR_EVERY = 18
"""One item in 18 is regular: 65,205 of 1,175,205 in the gallery this project grew from."""
BATCH_ITEMS = 25_000
GREATEST_SEED = 2**62
_FULL = 2**31
_FACETS = ("style", "subject", "mood", "medium", "colour", "era")


@dataclass(frozen=True)
class ShapeTag:
    """A tag of a shape: on items whose number leaves `remainder` by `modulus`, with probability `chance`."""

    name: str
    chance: float = 1.0
    modulus: int = 1
    remainder: int = 0


@dataclass(frozen=True)
class Shape:
    """A kind of synthetic content.

    `tags` makes the tags for a number of items. `draw` names the statement that draws an item's
    tags. `ties` items in a row share one `created_at`.
    """

    name: str
    summary: str
    tags: Callable[[int], list[ShapeTag]]
    draw: str = "draw_by_chance"
    ties: int = 1


@dataclass(frozen=True)
class GenerateResult:
    """What was made. `repeated` means the same shape, size and seed is there already."""

    dataset: str
    items: int
    relationships: int
    repeated: bool = False


def _dense(_items: int) -> list[ShapeTag]:
    """Return 106 tags whose chances add up to 75: 66 popular, 20 middling, 12 uncommon, 8 rare."""
    bands = ((66, 0.97, 0.80), (20, 0.80, 0.50), (12, 0.50, 0.10), (8, 0.010, 0.002))
    chances = [high - (high - low) * place / (count - 1) for count, high, low in bands for place in range(count)]
    return [ShapeTag(f"{_FACETS[no % 6]}::tag-{no:03}", chance) for no, chance in enumerate(chances)]


def _zipf(items: int) -> list[ShapeTag]:
    """Return a tag for every ten items, between 2,000 and 100,000; rank r is drawn with probability ~ 1/r."""
    return [ShapeTag(f"{_FACETS[no % 6]}::tag-{no}") for no in range(min(100_000, max(2_000, items // 10)))]


def _adversarial(_items: int) -> list[ShapeTag]:
    """Return tags made to hurt planners that multiply selectivities."""
    never_meet = [ShapeTag("camp::left", modulus=2), ShapeTag("camp::right", modulus=2, remainder=1)]
    supersets = [ShapeTag("set::fifth", modulus=5), ShapeTag("set::tenth", modulus=10)]
    thirds = [ShapeTag(f"third::{rest}", modulus=3, remainder=rest) for rest in range(3)]
    rare_apart = [ShapeTag(f"rare::{rest}", modulus=997, remainder=rest) for rest in range(4)]
    popular = [ShapeTag(f"popular::{no}", chance=0.95 - no / 100) for no in range(30)]
    half = [ShapeTag(f"half::{no}", chance=0.5) for no in range(30)]
    return [ShapeTag("everything"), *never_meet, *supersets, *thirds, *rare_apart, *popular, *half]


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("dense", "106 tags, 75 an item: the gallery this project grew from", _dense),
        Shape("zipf", "a long tail: thousands of tags, about 40 an item", _zipf, draw="draw_by_rank"),
        Shape("adversarial", "popular tags that never meet, supersets, tied dates", _adversarial, ties=50),
    )
}


def generate(
    connection: Connection,
    shape: Shape,
    items: int,
    seed: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> GenerateResult:
    """Make `items` legacy content items in one transaction; the same arguments are made once.

    `report` is called with (items made, items in all). Raises AlreadyMigrated past the legacy schema.
    """
    if not 0 <= seed <= GREATEST_SEED:
        raise InvalidInput(f"The seed is {seed}, and must be from 0 to {GREATEST_SEED}.")
    dataset = f"{shape.name}-{items}-{seed}"
    digest = hashlib.sha256(dataset.encode()).hexdigest()
    values = {"dataset": dataset, "digest": digest}
    with connection.transaction():
        if found_before(connection, values) is not None:
            return GenerateResult(dataset, items, 0, repeated=True)
        require_legacy(connection)
        relationships = _generate(connection, shape, items, seed, report)
        record = {**values, "items_loaded": items, "lines_rejected": 0}
        connection.execute(block("ledger", "record_load").sql(), record)
    analyze(connection)
    return GenerateResult(dataset, items, relationships)


def shape_named(name: str) -> Shape:
    """Return the shape called `name`; raise InvalidInput naming the nearest one."""
    if name not in SHAPES:
        raise InvalidInput(
            f"There is no shape {name!r}.", hint=f"{nearest(name, list(SHAPES))}Known: {', '.join(SHAPES)}."
        )
    return SHAPES[name]


def _generate(connection: Connection, shape: Shape, items: int, seed: int, report: Callable[[int, int], None]) -> int:
    rate = math.log(_stage_tags(connection, shape, items)) / _FULL
    values = _values(shape, items, seed) | {"rate": rate}
    connection.execute(block("generation", "insert_creators").sql(), {"seed": seed})
    rebuild = _drop_indexes_of_empty_tables(connection)
    relationships = 0
    for first in range(1, items + 1, BATCH_ITEMS):
        last = min(items, first + BATCH_ITEMS - 1)
        relationships += _generate_batch(connection, shape, {**values, "first": first, "last": last})
        report(last, items)
    for name in rebuild:
        connection.execute(block("legacy", name).sql())
    return relationships


def _generate_batch(connection: Connection, shape: Shape, values: dict[str, Any]) -> int:
    """Draw the tags of items `first` to `last`, insert them by source, return their relationships."""
    relationships = 0
    connection.execute(block("generation", shape.draw).sql(), values)
    for source in ContentSource:
        statement = block("generation", "insert_items").sql(table=source.table)
        regular = {"regular": source is ContentSource.REGULAR}
        row = connection.execute(statement, values | regular).fetchone()
        assert row is not None
        relationships += int(row[0])
    connection.execute(block("generation", "clear_items").sql())
    return relationships


def _values(shape: Shape, items: int, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "items": items,
        "ties": shape.ties,
        "facets": list(_FACETS),
        "regular_every": REGULAR_EVERY,
        "last_created_at": LAST_CREATED_AT,
        "spread": SPREAD,
    }


def _stage_tags(connection: Connection, shape: Shape, items: int) -> int:
    tags = shape.tags(items)
    for name in ("stage_tags", "stage_items"):
        connection.execute(block("generation", name).sql())
    with connection.cursor() as cursor, cursor.copy(block("copy", "into").sql(table="shape_tags")) as copy:
        for row in _tag_rows(tags):
            copy.write_row(row)
    connection.execute(block("generation", "index_tags").sql())
    return len(tags)


def _tag_rows(tags: list[ShapeTag]) -> Iterator[tuple[Any, ...]]:
    for number, tag in enumerate(tags):
        yield number, tag.name, tag_id(tag.name), tag.modulus, tag.remainder, int(tag.chance * _FULL)


def _drop_indexes_of_empty_tables(connection: Connection) -> list[str]:
    """Drop the secondary indexes where both tables are empty, and return the blocks that build them again.

    Built once at the end they cost a fraction of what they cost row by row.
    """
    empty = [
        connection.execute(block("catalog", "is_empty").sql(table=source.table)).fetchone() for source in ContentSource
    ]
    if not all(row and row[0] for row in empty):
        return []
    connection.execute(block("generation", "drop_indexes").sql())
    return [found.name for found in blocks("legacy").values() if found.text.startswith("create index")]
