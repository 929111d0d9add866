"""What the tag bitmap index costs its owner: to build it, to keep it, to seal what changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import bitmap_build, bitmap_seal
from genonaut_lib.tuning.bitmap_effort import Clock, Found, Place, clocked, over
from genonaut_lib.vocabulary import ContentSource

TITLE = "made by genonaut bench bitmaps"
MEGABYTE = 1_000_000
BUILD_TARGET_S = 90.0
"""At full scale: 1,175,000 items, 88 million relationships."""
SEAL_TARGET_S = 2.0
"""For 5,000 items."""


def measure_build(place: Place) -> Found:
    """Build the index, beside one plain reading of the junction."""
    place.say("reading the junction once, as a baseline")
    with clocked() as plain:
        relationships = _number(place.connection, "read_junction")
    place.say("building the index")
    with clocked() as whole:
        result = bitmap_build.build(place.settings)
    figures = {
        "over_reading_the_junction": over(whole.seconds, plain.seconds),
        **_size_figures(place.connection),
        "seconds": round(whole.seconds, 3),
        "relationships_per_second": round(relationships / whole.seconds),
        "relationships": relationships,
    }
    details = {"result": asdict(result), "tables": _sizes(place.connection)}
    return Found(figures, {"seconds": BUILD_TARGET_S}, details)


def measure_seal(place: Place) -> Found:
    """Seal new items, beside the time it took to insert them, then as many changed ones from all over the gallery."""
    number = place.effort.seal_items
    place.say(f"inserting {number:,} items and sealing them")
    bitmap_seal.seal(place.settings, force=True)
    with new_items(place, number) as inserting, clocked() as sealing:
        result = bitmap_seal.seal(place.settings, force=True)
    place.say(f"changing {number:,} items and sealing them")
    _touch(place, number)
    with clocked() as changed:
        again = bitmap_seal.seal(place.settings, force=True)
    figures = {
        "over_inserting": over(sealing.seconds, inserting.seconds),
        "seconds": round(sealing.seconds, 3),
        "changed_seconds": round(changed.seconds, 3),
        "items": number,
        "items_per_second": round(number / sealing.seconds),
        "sealed": result.sealed,
        "appended": result.appended,
    }
    targets = {"seconds": SEAL_TARGET_S, "changed_seconds": SEAL_TARGET_S}
    return Found(figures, targets, {"result": asdict(result), "changed": asdict(again)})


@contextmanager
def new_items(place: Place, number: int) -> Iterator[Clock]:
    """Insert items like the newest ones, yield the time it took, and take them out again at the end."""
    values = {"items": number, "title": TITLE, **ContentSource.spellings()}
    with clocked() as clock:
        row = place.connection.execute(block("bitmap_bench", "insert_items").sql(), values).fetchone()
    try:
        yield clock
    finally:
        ids = (row[0] if row else None) or []
        remove(place, ids)


@contextmanager
def marked_items(place: Place, number: int) -> Iterator[int]:
    """Have that many items marked during the block, half of them new, half only touched; yield how many there are.

    Afterwards the gallery is what it was, and the marks are sealed.
    """
    bitmap_seal.seal(place.settings, force=True)
    with new_items(place, number // 2):
        _touch(place, number - number // 2)
        yield _number(place.connection, "mark_count")


def _touch(place: Place, number: int) -> None:
    """Write one relationship of each of so many items as it is."""
    values = {"items": number, "seed": place.effort.seed, "title": TITLE, **ContentSource.spellings()}
    place.connection.execute(block("bitmap_bench", "touch_items").sql(), values)


def remove(place: Place, ids: list[int]) -> None:
    """Delete items that were made here, and seal that they are gone."""
    place.connection.execute(block("bitmap_bench", "delete_items").sql(), {"made": ids, "title": TITLE})
    bitmap_seal.seal(place.settings, force=True)


def _size_figures(connection: Connection) -> dict[str, float | None]:
    sizes = _sizes(connection)
    total = sum(one["bytes"] for one in sizes.values())
    indexes = sum(one["index_bytes"] for one in sizes.values())
    junction = _number(connection, "junction_size")
    return {
        "share_of_the_junction": over(total, junction),
        "index_share": over(indexes, total),
        "megabytes": round(total / MEGABYTE, 2),
        "junction_megabytes": round(junction / MEGABYTE, 2),
    }


def _sizes(connection: Connection) -> dict[str, dict[str, int]]:
    rows = connection.execute(block("bitmap_bench", "sizes").sql(), {}).fetchall()
    return {name: {"bytes": whole, "index_bytes": indexes} for name, whole, indexes in rows}


def _number(connection: Connection, name: str, values: dict[str, Any] | None = None) -> int:
    row = connection.execute(block("bitmap_bench", name).sql(), values or {}).fetchone()
    assert row is not None
    return int(row[0])
