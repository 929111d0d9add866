"""The algebra of the bitmap index on made-up words, against sets of ranks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.gallery.bitmaps.algebra import SEGMENT, Filter, Fold, Operand, Window, split, united, words_of
from genonaut_lib.gallery.bitmaps.cache import BITS, Cache, Origin, Stamp, Strip
from genonaut_lib.gallery.bitmaps.layout import AUTO_ITEMS, CHUNK, PUBLIC_ITEMS, REGULAR_ITEMS, WORDS, positions_in
from genonaut_lib.gallery.bitmaps.picking import FIRST_CHUNKS, Picker, batches, cut
from genonaut_lib.gallery.query import Creators, Scope

WINDOW = Window(2, 5)
FIRST, END = WINDOW.low * CHUNK, WINDOW.high * CHUNK
VIEWER = uuid.UUID(int=1)

rank = st.integers(FIRST, END - 1) | st.sampled_from((FIRST, FIRST + 7, FIRST + CHUNK - 1, FIRST + CHUNK, END - 1))
ranks = st.sets(rank, max_size=40)
bounds = st.none() | st.sampled_from((FIRST - 9, FIRST - 1, END, END + 9)) | rank


def words(found: set[int]) -> np.ndarray:
    return words_of(np.array(sorted(found), dtype=np.int64), WINDOW)


def bits(found: np.ndarray) -> set[int]:
    return set((positions_in(found) + FIRST).tolist())


@given(st.lists(st.lists(ranks, min_size=1, max_size=3), max_size=3), *[ranks] * 6, *[st.sampled_from(Creators)] * 2)
def test_words_are_what_set_logic_says(  # noqa: PLR0917  # one for each set that is drawn
    groups: list[list[set[int]]],
    excluded: set[int],
    auto: set[int],
    private: set[int],
    mine: set[int],
    dead: set[int],
    bare: set[int],
    regular_of: Creators,
    auto_of: Creators,
) -> None:
    """Groups, exclusion, scopes, privacy and dead places, with and without bitmaps."""
    if {regular_of, auto_of} == {Creators.NOBODY}:
        return
    every = {rank for group in groups for found in group for rank in found} | mine | bare | excluded | private
    regular, auto = every - auto, every & auto
    kept = {REGULAR_ITEMS: regular, AUTO_ITEMS: auto, PUBLIC_ITEMS: every - private, 0: excluded}
    operands, wanted = [], every
    for group in groups:
        numbers = range(len(kept), len(kept) + len(group))
        kept |= dict(zip(numbers, group, strict=True))
        operands.append(Operand(tuple(numbers), np.array(sorted(bare), dtype=np.int64)))
        wanted = wanted & (set().union(*group) | bare)
    mine &= every
    fold = Fold(asked := Filter(tuple(operands), Operand((0,)), Scope(regular_of, auto_of), VIEWER), WINDOW)
    for number in asked.tag_nos:
        fold.take(number, words(kept[number]))
    by = {
        Creators.MINE: mine, Creators.COMMUNITY: every - private - mine, Creators.NOBODY: set(),
        Creators.EVERYBODY: (every - private) | mine,
    }  # fmt: skip
    seen = (regular & by[regular_of]) | (auto & by[auto_of])
    assert bits(fold.words(words(mine), words(dead))) == wanted & seen - excluded - dead


@given(ranks, bounds, st.booleans())
def test_a_cut_leaves_what_lies_beyond_the_bound(found: set[int], bound: int | None, descending: bool) -> None:
    """Below it, or above it; the words that were given stay as they are."""
    given_words = words(found)
    beyond = {rank for rank in found if bound is None or (rank < bound if descending else rank > bound)}
    assert bits(cut(given_words, WINDOW, bound, descending=descending)) == beyond
    assert bits(given_words) == found


@given(ranks, bounds, st.booleans(), st.integers(0, 12), st.integers(0, 12))
def test_a_picker_takes_the_next_ranks(
    found: set[int],
    bound: int | None,
    descending: bool,
    skip: int,
    take: int,
) -> None:
    """So many after so many, in walking order, chunk by chunk; all are counted."""
    picker = Picker(skip, take, descending, bound)
    one_by_one = [Window(chunk, chunk + 1) for chunk in range(WINDOW.low, WINDOW.high)]
    for window in one_by_one[::-1] if descending else one_by_one:
        start = (window.low - WINDOW.low) * WORDS
        picker.see(window, words(found)[start : start + WORDS])
    ordered = sorted(found, reverse=descending)
    beyond = [rank for rank in ordered if bound is None or (rank < bound if descending else rank > bound)]
    assert picker.ranks.tolist() == beyond[skip : skip + take]
    assert picker.counted == len(found)


@given(st.integers(0, 200), st.none() | st.integers(-1, 200 * CHUNK), st.booleans())
def test_batches_cover_all_chunks_beyond_the_bound_once(chunks: int, bound: int | None, descending: bool) -> None:
    """In walking order, and none across the end of a segment."""
    walked = [window for batch in batches(chunks, bound, descending=descending) for window in batch]
    found = [chunk for window in walked for chunk in range(window.low, window.high)[:: -1 if descending else 1]]
    if descending:
        assert found == list(range(min(chunks, chunks if bound is None else max(bound // CHUNK, 0) + 1)))[::-1]
    else:
        assert found == list(range(max(0 if bound is None else bound // CHUNK, 0), chunks))
    assert all(window.low // SEGMENT == (window.high - 1) // SEGMENT for window in walked)


def test_a_first_page_looks_at_few_chunks_of_many() -> None:
    """Of fifty million items the newest few chunks come first, then twice as many."""
    sizes = [sum(window.chunks for window in batch) for batch in batches(3_113, None, descending=True)]
    assert sizes[:4] == [FIRST_CHUNKS * 2**step for step in range(4)]


def test_ranks_of_several_tags_are_one_row() -> None:
    """Ascending, each once; of one tag they are its own."""
    parts: Sequence[np.ndarray] = [np.array([1, 5]), np.array([0, 5, 9])]
    assert united(parts).tolist() == [0, 1, 5, 9]
    assert united([]).tolist() == []


def test_a_cache_drops_what_was_used_longest_ago() -> None:
    """Entries fill the limit and never pass it; one that is too large for it is not kept."""
    cache = Cache(3_000)
    for number in range(4):
        cache.put(("a", number), number, 600)
        cache.get(("a", 0))
    assert [cache.get(("a", number)) for number in range(4)] == [0, None, 2, 3]
    cache.put(("a", 9), 9, 3_000)
    assert cache.get(("a", 9)) is None
    assert cache.used == 2_700 <= cache.limit


@pytest.mark.parametrize("limit", [0, 10**6])
def test_a_new_version_leaves_bitmaps_of_other_chunks_alone(limit: int) -> None:
    """Of what else was kept nothing is left."""
    cache, origin = Cache(limit), Origin(None, 1, 1, None)  # type: ignore[arg-type]  # any moment will do
    old, new = Stamp(origin, 1), Stamp(origin, 2)
    cache.begin(old)
    for key in ((BITS, 1, 0), (BITS, 1, 1), (BITS, 2, 1)):
        cache.put(key, Strip(np.zeros(1, dtype=np.uint64), 0b111), 8)
    cache.put(("members", 0), b"", 8)
    cache.advance(old, new, [SEGMENT + 1])
    cache.advance(old, new, [0])
    expected = [0b111, 0b101, 0b101, None] if limit else [None] * 4
    found = [cache.get(key) for key in ((BITS, 1, 0), (BITS, 1, 1), (BITS, 2, 1), ("members", 0))]
    assert [strip and strip.have for strip in found] == expected


def test_chunks_are_cut_where_segments_end() -> None:
    """Windows of one segment each."""
    assert list(split(30, 70)) == [Window(30, 32), Window(32, 64), Window(64, 70)]
