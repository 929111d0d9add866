"""The questions of the HTTP benchmark: paths that both servers understand, and what their answers show."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import orjson

from genonaut_lib.gallery.query import Creators, GalleryQuery
from genonaut_lib.tuning.gallery_bench import viewers
from genonaut_lib.tuning.grid import GridCase, adversarial, grid
from genonaut_lib.tuning.http_effort import Ground

PATH = "/api/v1/content/unified"
CREATOR_FILTERS = {Creators.EVERYBODY: "all", Creators.MINE: "user", Creators.COMMUNITY: "community"}
PLAIN_PAGE = f"{PATH}?{urlencode({'page_size': 25, 'count': 'none'})}"
"""The newest 25 without a filter and without a total: the least that a database can be asked for."""
SOAK_QUESTIONS = 1_000
UNKNOWN_EVERY = 20
"""Every so many questions of a soak name a tag that is none: refusals must not leave anything behind either."""


@dataclass(frozen=True)
class Shown:
    """What an answer shows: the identity of each item in page order, the names of its tags, and the total."""

    keys: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    total: int | None


def shown(body: bytes) -> Shown:
    """Return what an answer of either server shows."""
    answer = orjson.loads(body)
    items = answer["items"]
    keys = tuple(f"{item['source_type']}/{item['id']}" for item in items)
    return Shown(keys, tuple(frozenset(item["tags"]) for item in items), answer["pagination"]["total_count"])


def path_of(query: GalleryQuery) -> str:
    """Return the path of a query of the grid, whose scope is the same for both sources."""
    words = [
        *(("tag", str(tag)) for tag in query.tags),
        *(("exclude_tag", str(tag)) for tag in query.exclude),
        ("tag_match", query.match.value),
        ("creator_filter", CREATOR_FILTERS[query.scope.regular]),
        ("page", str(query.page)),
        ("page_size", str(query.page_size)),
        ("count", "exact"),
    ]
    return f"{PATH}?{urlencode(words if query.viewer is None else [*words, ('user_id', str(query.viewer))])}"


def hard_questions(ground: Ground) -> Sequence[GridCase]:
    """Return the adversarial grid, in its order; where fewer are wanted than there are, drawn from all of it."""
    cases = adversarial(ground.gallery.statistics(), ground.effort.seed, viewers=viewers(ground.connection))
    dice = random.Random(ground.effort.seed)  # noqa: S311  # a choice that can be repeated, not a secret
    return sorted(dice.sample(cases, min(ground.effort.queries, len(cases))), key=lambda case: case.name)


def soak_paths(ground: Ground) -> list[str]:
    """Return many different questions, deep pages and unknown tags among them, in a random order."""
    known, seed = ground.gallery.statistics(), ground.effort.seed
    cases = grid(known, SOAK_QUESTIONS, seed, viewers=viewers(ground.connection))
    paths = [path_of(case.query) for case in cases]
    paths += [f"{PATH}?{urlencode({'tag': f'no such tag {number}'})}" for number in range(len(paths) // UNKNOWN_EVERY)]
    random.Random(seed).shuffle(paths)  # noqa: S311  # an order, not a secret
    return paths


def by_name(cases: Sequence[GridCase]) -> Mapping[str, str]:
    """Return the paths of questions by their names."""
    return {case.name: path_of(case.query) for case in cases}
