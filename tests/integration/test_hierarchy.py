"""The hierarchy of tags, changed by one session and by several at once, and read by another."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
from psycopg import IsolationLevel

from genonaut_lib.content.hierarchy import add_parent, find_cycles, remove_parent
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.errors import CheckFailed, CycleRefused, HierarchyTooLarge, InvalidInput
from genonaut_lib.gallery import tags
from genonaut_lib.gallery.tags import Edge, Relative, Tag
from genonaut_lib.migration.phases import Context
from genonaut_lib.request_errors import TagNotFound
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import tag_id
from tests.factories import Gallery
from tests.integration.test_tags import make_statistics
from tests.migration.test_phases import apply

LETTERS = "abcdefghij"
UNKNOWN = uuid.UUID(int=1)
Read = Callable[..., Any]
Edges = list[tuple[str, str]]


@pytest.fixture
def seeded(context: Context, gallery: Gallery) -> Connection:
    """Ten tags without parents, and two with a facet."""
    gallery.legacy_item([*LETTERS, "devel::lang:perl", "devel::lang:c"])
    apply(context, "seed_tags")
    make_statistics(context.connection)
    return context.connection


@pytest.fixture
def read(seeded: Connection, settings: Settings) -> Iterator[Read]:
    """Run a reading coroutine function on an asynchronous session: `read(tags.children, tag)`."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        connection: AsyncConnection = runner.run(stack.enter_async_context(open_session(settings)))

        def run(function: Callable[..., Coroutine[Any, Any, Any]], *given: Any, **named: Any) -> Any:
            return runner.run(function(connection, *given, **named))

        yield run
        runner.run(stack.aclose())


def add(connection: Connection, *edges: str) -> None:
    """Add `child>parent` edges, in order."""
    for edge in edges:
        child, parent = edge.split(">")
        add_parent(connection, tag_id(child), tag_id(parent))


def force(connection: Connection, *edges: str) -> None:
    """Write edges past the library, as another writer could."""
    for edge in edges:
        child, parent = edge.split(">")
        connection.execute("insert into tag_parents values (%s, %s)", [tag_id(child), tag_id(parent)])


def edges_in(connection: Connection) -> Edges:
    statement = "select c.name, p.name from tag_parents e join tags c on c.id = tag_id join tags p on p.id = parent_id"
    return sorted(connection.execute(statement).fetchall())


def names(found: tuple[Tag, ...]) -> list[str]:
    return [tag.name for tag in found]


def depths(found: tuple[Relative, ...]) -> list[tuple[str, int]]:
    return [(one.tag.name, one.depth) for one in found]


def test_a_parent_is_added_once_and_removed_once(seeded: Connection) -> None:
    """Each call says whether it changed anything."""
    pair = tag_id("a"), tag_id("b")
    assert [add_parent(seeded, *pair), add_parent(seeded, *pair)] == [True, False]
    assert ("a", "b") in edges_in(seeded)
    assert [remove_parent(seeded, *pair), remove_parent(seeded, *pair)] == [True, False]
    assert ("a", "b") not in edges_in(seeded)


@pytest.mark.parametrize("length", range(1, 8))
def test_a_cycle_of_any_length_is_refused_with_its_path(length: int, seeded: Connection) -> None:
    """From a tag that would be its own parent to one that is its own great-grandparent."""
    chain = LETTERS[:length]
    add(seeded, *(f"{child}>{parent}" for child, parent in pairwise(chain)))
    before = edges_in(seeded)
    with pytest.raises(CycleRefused) as refused:
        add_parent(seeded, tag_id(chain[-1]), tag_id("a"))
    assert refused.value.path == (chain[-1], *chain)
    assert " -> ".join((chain[-1], *chain)) in str(refused.value)
    assert edges_in(seeded) == before


def test_the_shortest_way_round_is_named(seeded: Connection) -> None:
    """Of several paths a person reads the one with the fewest tags."""
    add(seeded, "a>b", "b>c", "c>d", "a>d")
    with pytest.raises(CycleRefused) as refused:
        add_parent(seeded, tag_id("d"), tag_id("a"))
    assert refused.value.path == ("d", "a", "d")


def test_two_ways_to_one_ancestor_are_no_cycle(seeded: Connection) -> None:
    """A tag may have several parents, and they a common one."""
    add(seeded, "a>b", "a>c", "b>d", "c>d", "a>d")
    assert find_cycles(seeded) == ()


def test_random_edges_make_no_cycle_and_only_cycles_are_refused(seeded: Connection) -> None:
    """Against reachability by brute force, over a few hundred attempts."""
    dice = random.Random(4)
    kept: set[tuple[str, str]] = set()
    for _ in range(300):
        child, parent = dice.choice(LETTERS), dice.choice(LETTERS)
        try:
            add(seeded, f"{child}>{parent}")
        except CycleRefused:
            assert child == parent or child in reachable(kept, parent)
        else:
            assert child != parent
            assert child not in reachable(kept, parent)
            kept.add((child, parent))
    assert kept <= set(edges_in(seeded))
    assert find_cycles(seeded) == ()


def reachable(edges: set[tuple[str, str]], start: str) -> set[str]:
    """Return everything above a tag."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        tag = waiting.pop()
        fresh = {parent for child, parent in edges if child == tag} - found
        found |= fresh
        waiting += fresh
    return found


@pytest.mark.parametrize("change", [add_parent, remove_parent])
def test_an_unknown_tag_is_refused(change: Callable[..., bool], seeded: Connection) -> None:
    """On either side of the edge, and naming it."""
    for pair in ((UNKNOWN, tag_id("a")), (tag_id("a"), UNKNOWN)):
        with pytest.raises(InvalidInput, match=str(UNKNOWN)):
            change(seeded, *pair)


def test_the_second_half_of_a_cycle_waits_for_the_first_and_is_refused(
    seeded: Connection, second_session: Callable[[], Connection]
) -> None:
    """Two sessions at once: one holds `a>b` uncommitted while the other adds `b>a`."""
    other, ended = second_session(), threading.Event()
    outcome: list[object] = []

    def add_other_half() -> None:
        try:
            outcome.append(add_parent(other, tag_id("b"), tag_id("a")))
        except CycleRefused as error:
            outcome.append(error.path)
        ended.set()

    thread = threading.Thread(target=add_other_half)
    with seeded.transaction():
        add(seeded, "a>b")
        thread.start()
        wait_for_lock(seeded, other.info.backend_pid, ended)
        assert outcome == []
    thread.join()
    assert outcome == [("b", "a", "b")]
    assert ("b", "a") not in edges_in(seeded)


def wait_for_lock(connection: Connection, pid: int, ended: threading.Event) -> None:
    """Return once the session waits for a lock, or has ended without."""
    waiting = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
    while not ended.wait(0.01):
        if connection.execute(waiting, [pid]).fetchone() == (True,):
            return


def test_many_sessions_adding_random_edges_make_no_cycle(
    seeded: Connection, second_session: Callable[[], Connection]
) -> None:
    """Four sessions race over ten tags; whatever came first, no tag ends up above itself."""

    def race(session: Connection, dice: random.Random) -> None:
        for _ in range(60):
            try:
                add(session, f"{dice.choice(LETTERS)}>{dice.choice(LETTERS)}")
            except CycleRefused:
                continue

    threads = [threading.Thread(target=race, args=(second_session(), random.Random(no))) for no in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(edges_in(seeded)) > len(LETTERS)
    assert find_cycles(seeded) == ()


def test_a_transaction_with_an_old_snapshot_is_refused(
    seeded: Connection, second_session: Callable[[], Connection]
) -> None:
    """It would not see the half that another session committed after it began."""
    old = second_session()
    old.isolation_level = IsolationLevel.REPEATABLE_READ
    with old.transaction(force_rollback=True):
        old.execute("select 1")
        add(seeded, "a>b")
        with pytest.raises(CheckFailed, match="later commits"):
            add(old, "b>a")
    assert ("b", "a") not in edges_in(seeded)


def test_no_cycles_are_found_where_there_are_none(seeded: Connection) -> None:
    """Facets that seeding made included."""
    assert find_cycles(seeded) == ()


def test_cycles_written_by_others_are_found(seeded: Connection) -> None:
    """Each begins with its least name, and tags that merely hang on a cycle stand in none."""
    force(seeded, "b>c", "c>a", "a>b", "d>a", "c>e", "g>f", "f>g")
    assert find_cycles(seeded) == (("a", "b", "c", "a"), ("f", "g", "f"))


def test_parents_and_children_are_one_step_away(seeded: Connection, read: Read) -> None:
    """Several of each, by name."""
    add(seeded, "a>c", "a>b", "d>b", "b>e")
    assert names(read(tags.parents, tag_id("a"))) == ["b", "c"]
    assert names(read(tags.children, tag_id("b"))) == ["a", "d"]
    assert names(read(tags.children, tag_id("j"))) == []


def test_ancestors_and_descendants_are_as_far_as_the_shortest_way(seeded: Connection, read: Read) -> None:
    """`a` reaches `d` in one step and in three; one counts."""
    add(seeded, "a>b", "b>c", "c>d", "a>d", "d>e")
    assert depths(read(tags.ancestors, tag_id("a"))) == [("b", 1), ("d", 1), ("c", 2), ("e", 2)]
    assert depths(read(tags.descendants, tag_id("e"))) == [("d", 1), ("a", 2), ("c", 2), ("b", 3)]


def test_a_part_of_the_hierarchy_is_what_lies_so_many_steps_below(seeded: Connection, read: Read) -> None:
    """Below one tag or below all roots, against the descendants of each; edges lead to tags of the part only."""
    add(seeded, "a>b", "b>c", "c>d", "a>d", "d>e", "f>c", "f>g", "h>i")
    tops = [tag.id for tag in read(tags.roots)]
    for root, depth in ((tag_id("e"), None), (tag_id("d"), 1), (tag_id("j"), 3), (None, 0), (None, 1), (None, 9)):
        starts, deepest = tops if root is None else [root], 99 if depth is None else depth
        below = {one.tag.id for start in starts for one in read(tags.descendants, start) if one.depth <= deepest}
        part = read(tags.hierarchy, root=root, depth=depth)
        assert {tag.id for tag in part.nodes} == {*starts, *below}
        everything = {(tag_id(child), tag_id(parent)) for child, parent in edges_in(seeded)}
        inside = {edge for edge in everything if set(edge) <= {*starts, *below}}
        assert {(edge.child, edge.parent) for edge in part.edges} == inside


def test_a_part_of_the_hierarchy_is_refused_like_the_whole(seeded: Connection, read: Read) -> None:
    """For an unknown root, for a depth below nothing, and for more tags than were allowed."""
    add(seeded, "a>b", "b>c")
    with pytest.raises(TagNotFound, match=str(UNKNOWN)):
        read(tags.hierarchy, root=UNKNOWN)
    with pytest.raises(InvalidInput, match="depth"):
        read(tags.hierarchy, depth=-1)
    with pytest.raises(HierarchyTooLarge):
        read(tags.hierarchy, root=tag_id("c"), most=2)


def test_a_ladder_of_diamonds_is_walked_tag_by_tag(context: Context, gallery: Gallery, settings: Settings) -> None:
    """Sixty steps with two ways each are 2**60 ways, and a hundred and eighty tags."""
    gallery.legacy_item([f"{kind}{no}" for no in range(61) for kind in ("top", "left", "right")])
    apply(context, "seed_tags")
    make_statistics(context.connection)
    for no in range(60):
        sides = [f"{side}{no}" for side in ("left", "right")]
        force(context.connection, *(f"top{no}>{side}" for side in sides), *(f"{side}>top{no + 1}" for side in sides))
    found = asyncio.run(ancestors_of(settings, "top0"))
    assert (len(found), found[-1]) == (180, ("top60", 120))


async def ancestors_of(settings: Settings, name: str) -> list[tuple[str, int]]:
    async with open_session(settings) as connection:
        return depths(await tags.ancestors(connection, tag_id(name)))


def test_a_walk_ends_in_a_cycle_and_does_not_come_back(seeded: Connection, read: Read) -> None:
    """Data that others spoilt is read all the same; a tag is not listed as its own ancestor."""
    force(seeded, "a>b", "b>c", "c>a", "c>d")
    assert depths(read(tags.ancestors, tag_id("a"))) == [("b", 1), ("c", 2), ("d", 3)]
    assert depths(read(tags.descendants, tag_id("d"))) == [("c", 1), ("b", 2), ("a", 3)]


def test_roots_have_children_and_no_parent(seeded: Connection, read: Read) -> None:
    """Lone tags are roots only for those who ask for them."""
    add(seeded, "a>b", "b>c")
    assert names(read(tags.roots)) == ["c", "devel"]
    lone = sorted(set(LETTERS) - {"a", "b", "c"})
    assert names(read(tags.roots, lone=True)) == sorted(["c", "devel", *lone])


def test_the_forest_holds_every_edge_and_the_tags_at_its_ends(seeded: Connection, read: Read) -> None:
    """With counts, and without the tags that are related to none."""
    add(seeded, "a>b", "a>c")
    seeded.execute("insert into tag_cardinality_stats values (%s, 'auto', 5, 4, now())", [tag_id("a")])
    forest = read(tags.hierarchy)
    assert names(forest.nodes) == ["a", "b", "c", "devel", "devel::lang:c", "devel::lang:perl"]
    by_name = {(child, parent): Edge(tag_id(child), tag_id(parent)) for child, parent in edges_in(seeded)}
    assert set(forest.edges) == set(by_name.values())
    assert forest.nodes[0].total.display_count == 4


def test_an_answer_over_its_bound_is_refused(seeded: Connection, read: Read) -> None:
    """Two descendants are not one, and are never cut to one."""
    add(seeded, "a>b", "b>c")
    assert len(read(tags.descendants, tag_id("c"), most=2)) == 2
    for ask in ((tags.descendants, tag_id("c")), (tags.ancestors, tag_id("a")), (tags.hierarchy,), (tags.roots,)):
        with pytest.raises(HierarchyTooLarge, match="more than 1"):
            read(*ask, most=1)


@pytest.mark.parametrize("walk", [tags.parents, tags.children, tags.ancestors, tags.descendants])
def test_relatives_of_an_unknown_tag_are_an_error(walk: Callable[..., Any], read: Read) -> None:
    """Not an empty answer, which a known tag may have."""
    with pytest.raises(InvalidInput, match=str(UNKNOWN)):
        read(walk, UNKNOWN)
