"""Images of marked items, and bits over them that answer a filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genonaut_lib.vocabulary import ContentSource


@dataclass(frozen=True)
class MarkedItem:
    """An item as it is in the content, whatever the bitmaps say of it. `packed` are its tag numbers."""

    created_at: datetime
    source: ContentSource
    id: int
    packed: bytes

    @cached_property
    def tag_nos(self) -> tuple[int, ...]:
        """The numbers of its tags, in no order."""
        return tuple(np.frombuffer(self.packed, ">i4").tolist())


def tag_nos_of(items: Iterable[MarkedItem]) -> NDArray[np.int32]:
    """Return the tag numbers of all these items one after the other, as facets count them."""
    return np.frombuffer(b"".join([item.packed for item in items]), ">i4").astype(np.int32)
