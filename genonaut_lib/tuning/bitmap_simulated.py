"""How reading the tag bitmap index grows with items, tags and K, beside what memory bandwidth allows.

The layer is simulated (see `bitmap_layer`), so a page has nothing to fetch: its time is that of finding the
first candidates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genonaut_lib.db import engine, scratch
from genonaut_lib.gallery.bitmaps.layout import BYTES, CHUNK
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.tuning.bitmap_effort import Found, Place, over
from genonaut_lib.tuning.bitmap_layer import Layer, LayerTag, layer_tags
from genonaut_lib.tuning.bitmap_reader import BitmapReader, Shown
from genonaut_lib.tuning.gallery_bench import prepare
from genonaut_lib.tuning.race import percentile

LEVELS = (1, 2, 5, 10, 20)
SHARES = (0.1, 0.3, 1.0)
"""Parts of all chunks that are measured, one after the other."""
TARGETS = {"all_2_page_ms": 5.0, "all_20_page_ms": 5.0, "all_2_total_ms": 20.0, "all_20_total_ms": 180.0}
"""For 51 million items."""
SHOWN = ("all", "apart")
"""Kinds of questions among the figures; `rows` has all of them."""
COPIED_BYTES = 1 << 28
COPIES = 5


@dataclass(frozen=True)
class Asked:
    """One question: how its tags are combined, how many they are, and the query."""

    kind: str
    tags: int
    query: GalleryQuery


def measure_simulated(place: Place) -> Found:
    """Make the layer in a database of its own, and read it at several sizes."""
    effort = place.effort
    chunks = max(1, effort.simulated_items // CHUNK)
    found = Found(targets=dict(TARGETS))
    bandwidth = copied_bytes_per_second()
    with scratch.database(place.settings, "bitmaps_simulated") as made:
        prepare(made, None, lambda line: None)
        with engine.connect(made) as connection:
            layer = Layer(connection, made, chunks, effort.seed)
            place.say(f"simulating {chunks * CHUNK:,} items in {chunks:,} chunks")
            layer.make(place.say)
            rows = list(_rows(place, layer, bandwidth))
    whole = [row for row in rows if row["items"] == chunks * CHUNK and row["index_tags"] == rows[-1]["index_tags"]]
    found.figures = {
        "items": chunks * CHUNK,
        "chunks": chunks,
        "tags": rows[-1]["index_tags"],
        "memory_gigabytes_per_second": round(bandwidth / 1e9, 2),
        **_figures(whole),
    }
    found.details["rows"] = rows
    return found


def copied_bytes_per_second() -> float:
    """Return how many bytes a second numpy copies from memory to memory, the best of some times.

    Each byte is read once and written once, so that what only reads may be up to twice as fast.
    """
    source, target = np.ones(COPIED_BYTES, dtype=np.uint8), np.empty(COPIED_BYTES, dtype=np.uint8)
    times = []
    for _ in range(COPIES + 1):
        started = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - started)
    # The first copy also asks the system for the pages.
    return COPIED_BYTES / min(times[1:])


def questions(tags: Sequence[LayerTag]) -> list[Asked]:
    """Return what is asked of a layer: popular tags, also with a rare one or with two that never meet."""
    left, right, _, rare, *popular = (tag.id for tag in tags)
    kinds: dict[str, tuple[TagMatch, list[Any]]] = {
        "all": (TagMatch.ALL, popular),
        "any": (TagMatch.ANY, popular),
        "rare": (TagMatch.ALL, [rare, *popular]),
        "apart": (TagMatch.ALL, [left, right, *popular]),
    }
    return [
        Asked(kind, level, GalleryQuery(tuple(candidates[:level]), match))
        for kind, (match, candidates) in kinds.items()
        for level in LEVELS
        if level <= len(candidates) and (kind != "apart" or level > 1)
    ]


def _rows(place: Place, layer: Layer, bandwidth: float) -> Iterator[dict[str, Any]]:
    """Yield one measurement after another: every number of tags, at every size, every question."""
    known: tuple[LayerTag, ...] = ()
    for number in sorted(place.effort.simulated_tags):
        # Popular tags of a larger layer have other shares; what is written stays, and is asked for.
        added = layer_tags(number)[len(known) :]
        layer.add(added, place.say)
        known = (*known, *added)
        for chunks in dict.fromkeys(max(1, round(share * layer.chunks)) for share in SHARES):
            layer.serve(chunks)
            place.say(f"asking {chunks * CHUNK:,} simulated items with {len(known)} tags")
            with BitmapReader(layer.settings) as reader:
                for asked in questions(known):
                    yield _row(place, reader, asked, chunks, bandwidth) | {"index_tags": len(known)}


def _row(place: Place, reader: BitmapReader, asked: Asked, chunks: int, bandwidth: float) -> dict[str, Any]:
    cold = reader.cold_total(asked.query)
    total_ms, page_ms = _best(place, reader.total, asked.query), _best(place, reader.first_page, asked.query)
    # One bitmap more: what everybody sees.
    read = (asked.tags + 1) * chunks * BYTES
    bound_ms = read / bandwidth * 1000
    return {
        "items": chunks * CHUNK,
        "kind": asked.kind,
        "k": asked.tags,
        "total_over_bound": over(total_ms, bound_ms),
        "page_ms": round(page_ms, 3),
        "total_ms": round(total_ms, 3),
        "cold_total_ms": round(cold.milliseconds, 3),
        "bytes_read": read,
        "bound_ms": round(bound_ms, 3),
        "total": cold.total,
    }


def _best(place: Place, ask: Callable[[GalleryQuery], Shown], query: GalleryQuery) -> float:
    """Return the median of some reads, after one to warm up."""
    times = [ask(query).milliseconds for _ in range(place.effort.repeats + 1)]
    return percentile(times[1:], 0.5)


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of the whole layer, ratios first: where all tags meet, and where two never do."""
    named = {f"{row['kind']}_{row['k']}": row for row in rows if row["kind"] in SHOWN and row["k"] > 1}
    ratios = {f"{name}_total_over_bound": row["total_over_bound"] for name, row in named.items()}
    times = {f"{name}_{what}": row[what] for name, row in named.items() for what in ("page_ms", "total_ms")}
    return ratios | times
