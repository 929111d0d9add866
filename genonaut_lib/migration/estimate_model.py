"""Formulas behind the estimates: what rows, index entries and batches cost in bytes, WAL and seconds.

Bytes follow from PostgreSQL's page and tuple layout (documentation, "Database Page Layout"). The other
constants were measured on one machine (2 cores, PostgreSQL 18, 20,000 items of the shapes dense, 75 tags
an item, and zipf, 41 tags an item); the figures stand beside them. Rates are replaced by those of the
database itself as soon as one of its backfills has run.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PAGE = 8192
PAGE_ROOM = 8168
"""Bytes of a heap page that rows and their line pointers share."""
BTREE_ROOM = 8152
LINE_POINTER = 4
TOAST_THRESHOLD = 2032
TOAST_CHUNK = 1996
BUILT_FILL = 0.9
"""Fill factor of a B-tree built at once, or fed in key order (measured: 0.90 and 0.87 for content_tags_pkey)."""
SPLIT_FILL = 0.51
"""... of one fed in the order of another key (measured: 0.49 dense, 0.54 zipf, the index that begins with tag_id)."""

HEAP_RECORD = 55
"""WAL bytes around a row inserted by itself; a row of the junction came to 84 with its own."""
INDEX_RECORD = 135
"""WAL bytes of an entry of the junction's indexes, page splits included (measured: 356 a relationship for all
three, dense and zipf alike)."""
LEGACY_INDEX_RECORD = 90
"""... of an entry of the narrow indexes of the content tables."""
ROW_LOCK_RECORD = 60
GIN_RECORD = 60
IMAGE_COMPRESSED = 0.3
"""What wal_compression leaves of a heap page's image (measured: 0.18 dense)."""
INDEX_COMPRESSED = 0.45
"""... and of an index page's (measured: 0.35 and 0.55)."""
VACUUMED_ROW = 90
"""WAL bytes of removing a dead row (measured: 88 dense, 73 zipf, its index entries included)."""
VACUUMED_PAGE = 80
DDL_RECORD = 3_000
DDL_IMAGES = 6_000
"""WAL bytes of a catalogue change (measured: 1 to 4 kB a statement), and of the images of catalogue pages."""

DDL_S = 0.01
OBSERVE_ROW_S, OBSERVE_ELEMENT_S = 12e-6, 0.25e-6
"""Measured: 0.50 s dense, 0.73 s zipf, 20,000 items each."""
FILL_ROW_S, FILL_ELEMENT_S = 45e-6, 0.6e-6
"""Measured: 1.75 s for 1,497,451 elements, 1.38 s for 813,074."""
LINK_S = 10e-6
"""Seconds a relationship with its indexes (measured: 9.5 dense, 10.7 zipf); a third of it without them."""
COMPARE_S = 50e-9
"""Seconds a comparison of an index build (88 million rows: 27 ns in key order, 78 ns out of it)."""
SCAN_BYTES_S = 500e6
VACUUM_BYTES_S = 300e6


@dataclass(frozen=True)
class Column:
    """A column as an index sees it: bytes (of a value with its header, if they vary) and alignment."""

    width: int
    alignment: int = 1


JUNCTION_COLUMNS = {"content_id": Column(4, 4), "content_source": Column(6), "tag_id": Column(16)}
"""Of `content_tags`, which has no statistics before it is filled; `auto` takes 5 bytes, `regular` 8."""
ALIGNMENT = {"c": 1, "s": 2, "i": 4, "d": 8}


def align(size: float, to: int = 8) -> int:
    """Return `size` rounded up to a multiple of `to`."""
    return math.ceil(size / to) * to


def packed(columns: Iterable[Column]) -> int:
    """Return the bytes of the columns in a row, padding included."""
    offset = 0
    for column in columns:
        offset = align(offset, column.alignment) + column.width
    return offset


def heap_row(columns: Iterable[Column]) -> int:
    """Return the bytes of a narrow row without its line pointer."""
    return 24 + align(packed(columns))


def heap_bytes(rows: float, width: float) -> int:
    """Return the bytes of `rows` rows of `width` bytes; a row stands on one page, so wide ones leave gaps."""
    a_page = max(1, int(PAGE_ROOM / (align(width) + LINE_POINTER)))
    return math.ceil(rows / a_page) * PAGE


def index_bytes(rows: float, columns: Iterable[Column], fill: float = BUILT_FILL) -> int:
    """Return the bytes of a B-tree of `rows` entries, its first page included."""
    if not rows:
        return PAGE
    entry = 8 + align(packed(columns)) + LINE_POINTER
    return (math.ceil(rows * entry / (BTREE_ROOM * fill)) + 1) * PAGE


def compressed_share(texts: Sequence[str]) -> float:
    """Return what PostgreSQL's compression would leave of such texts.

    It has no entropy coder, so it leaves about 1.4 times what zlib does (measured: 0.28 for 0.23, 0.49 for
    0.35), and keeps what it cannot make a quarter smaller.
    """
    plain = sum(len(text.encode()) for text in texts)
    if not plain:
        return 1.0
    share = 1.4 * sum(len(zlib.compress(text.encode(), 1)) for text in texts) / plain
    return share if share <= 0.75 else 1.0


def filled_row(row_width: float, names_width: float, elements: float, share: float) -> tuple[float, float]:
    """Return the bytes of a row with its ids beside its names: in the table, and in its TOAST table.

    A row over the threshold has its names compressed; if it is still over it, the wider array moves out.
    """
    ids = 24 + 16 * elements
    width = row_width + ids
    if width <= TOAST_THRESHOLD:
        return width, 0.0
    width -= names_width * (1 - share)
    if width <= TOAST_THRESHOLD:
        return width, 0.0
    moved = max(ids, names_width * share)
    chunks = math.ceil(moved / TOAST_CHUNK)
    return width - moved + 18, moved + chunks * 70.0


def images(pages: float, *, written: bool, compressed: bool) -> int:
    """Return the WAL bytes of the images of `pages` pages changed for the first time since a checkpoint."""
    return round(pages * PAGE * (IMAGE_COMPRESSED if compressed else 1.0)) if written else 0


def sort_seconds(rows: float) -> float:
    """Return the seconds of sorting `rows` index entries."""
    return rows * math.log2(max(rows, 2)) * COMPARE_S
