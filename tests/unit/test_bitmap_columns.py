"""Ids, ranks and bits: both kinds of map answer alike, and bits are where their ranks say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.gallery.bitmaps.layout import BLOCK, CHUNK, MEMBERS
from genonaut_lib.migration import bitmap_columns
from genonaut_lib.migration.bitmap_columns import DirectMap, RankMap, SortedMap, columns_of, maps_of, places_of
from genonaut_lib.vocabulary import ContentSource

IDS = st.lists(st.integers(0, 5_000), unique=True, max_size=60)


def both_maps(ids: list[int]) -> tuple[DirectMap, SortedMap]:
    """The same ids, ranked in the order given, in each kind of map."""
    ranks = np.arange(len(ids), dtype=np.int32)
    direct = np.full(max(ids, default=-1) + 1, -1, dtype=np.int32)
    direct[ids] = ranks
    order = np.argsort(np.array(ids, dtype=np.int32))
    return DirectMap(direct), SortedMap(np.array(ids, dtype=np.int32)[order], ranks[order])


def pairs(known: RankMap) -> list[tuple[int, int]]:
    return [pair for ids, ranks in known.pieces() for pair in zip(ids.tolist(), ranks.tolist(), strict=True)]


@given(IDS, st.lists(st.integers(-10, 6_000)))
def test_ids_without_a_rank_are_passed_over(ids: list[int], asked: list[int]) -> None:
    """Unknown, negative and beyond the greatest: each kind of map gives the known ones' ranks, in order."""
    expected = [ids.index(one) for one in asked if one in ids]
    for known in both_maps(ids):
        assert known.ranks_of(np.array(asked, dtype=MEMBERS)).tolist() == expected


@given(IDS)
def test_pieces_hold_every_id_once_and_no_block_twice(ids: list[int]) -> None:
    """However small the pieces are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bitmap_columns, "PAIRS_A_PIECE", 5)
        patch.setattr(bitmap_columns, "IDS_A_PIECE", 2 * BLOCK)
        for known in both_maps(ids):
            assert pairs(known) == sorted((one, rank) for rank, one in enumerate(ids))
            blocks = [set((piece // BLOCK).tolist()) for piece, _ in known.pieces()]
            assert sum(map(len, blocks)) == len(set().union(*blocks))


def test_a_map_takes_no_more_memory_than_its_items_deserve() -> None:
    """Dense ids are looked up directly; a few ids far apart are sorted."""
    dense = maps_of([np.arange(1_000, dtype=np.int32)])[ContentSource.REGULAR]
    sparse = maps_of([np.array(part, dtype=np.int32) for part in ([0, 2_000_000_000, ~5], [], [~7])])
    assert isinstance(dense, DirectMap)
    assert isinstance(sparse[ContentSource.REGULAR], SortedMap)
    assert pairs(sparse[ContentSource.REGULAR]) == [(0, 0), (2_000_000_000, 1)]
    assert pairs(sparse[ContentSource.AUTO]) == [(5, 2), (7, 3)]


@given(st.sets(st.integers(CHUNK, 4 * CHUNK - 1), max_size=50))
def test_bits_are_set_where_the_ranks_are(ranks: set[int]) -> None:
    """Position 0 is the first bit; a chunk without any is left out."""
    found, ranks_list = set(), sorted(ranks)
    for column in columns_of([np.array(part, dtype=np.int64) for part in (ranks_list, ranks_list[::-1], [])], 1, 3):
        bits = np.unpackbits(np.frombuffer(column.bits[4:], dtype=np.uint8))
        assert (int.from_bytes(column.bits[:4]), len(bits), bits.sum()) == (CHUNK, CHUNK, column.cardinality)
        assert column.cardinality > 0
        found |= {column.chunk * CHUNK + place for place in np.flatnonzero(bits).tolist()}
    assert found == ranks


def test_no_ids_have_no_places() -> None:
    """Not even an empty block."""
    nothing = np.empty(0, dtype=np.int64)
    assert list(places_of(nothing, nothing)) == []
