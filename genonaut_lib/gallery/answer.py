"""What the gallery answers: a page with all that is said about it, or how it would be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.clauses import Shape
from genonaut_lib.gallery.costs import Features
from genonaut_lib.gallery.counts import Total
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import GalleryQuery


@dataclass(frozen=True)
class Answer:
    """A page with all that is said about it.

    Cursors are None where there is no such page, and where there is no key to sign them with.
    `milliseconds` has `plan`, `page`, `count` if there was one, and `total`, which is more than their
    sum: it includes waiting for a session. `statistics_at` is the age of what the planner went by, None
    where there are no statistics. `shape` is the query without its values.
    """

    page: Page
    total: Total
    choice: Choice
    next_cursor: str | None = None
    previous_cursor: str | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    statistics_at: datetime | None = None
    shape: Shape | None = None


@dataclass(frozen=True)
class Explanation:
    """A query's choice, and the document of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) for its page.

    `planned` is how the page would be answered, another choice than `choice` where EXPLAIN cannot show that.
    `work` has the features of every strategy that could answer (see `costs`), none without statistics.
    """

    query: GalleryQuery
    choice: Choice
    document: tuple[Mapping[str, Any], ...]
    planned: Choice
    work: Mapping[str, Features] = field(default_factory=dict)
