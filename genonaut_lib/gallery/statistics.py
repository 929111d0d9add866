"""What is known of the gallery's tags: how many items of each source carry one, and a sample of items.

The tables are `tag_cardinality_stats`, `gen_source_stats` and `workbench.tag_sample`; they are rebuilt
in one atomic swap, so that a reader never sees them empty or half full.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from genonaut_lib.vocabulary import ContentSource


@dataclass(frozen=True)
class Sample:
    """A random sample of a source's items: bit i of a tag's number says that item i of the sample carries it.

    `size` counts the items of the sample, `public` has a bit for each that is not private. A tag
    that no item of the sample carries has no entry.
    """

    size: int = 0
    public: int = 0
    carriers: Mapping[uuid.UUID, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceStatistics:
    """Statistics of one source: its items, and how many of them carry each tag. Unknown tags have no entry."""

    items: int
    cardinalities: Mapping[uuid.UUID, int]
    sample: Sample = Sample()


@dataclass(frozen=True)
class Statistics:
    """Statistics of the whole gallery as they were at `refreshed_at`; None when they were never made."""

    sources: Mapping[ContentSource, SourceStatistics]
    refreshed_at: datetime | None = None
