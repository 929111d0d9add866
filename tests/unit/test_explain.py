"""An executed plan read from PostgreSQL's JSON: own times, wrong estimates, the hot node, a hash of the shape."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.tuning import explain
from genonaut_lib.tuning.explain import Explained
from genonaut_lib.tuning.plan_tree import ExecutedPlan, Node, parse, shape_hash

Json = dict[str, Any]


def node(kind: str, ms: float, *plans: Json, loops: int = 1, **more: Any) -> Json:
    """Return a node as PostgreSQL writes it; `ms` is the mean of a loop, children included."""
    base = {"Node Type": kind, "Plan Rows": 25, "Actual Rows": 25, "Actual Total Time": ms, "Actual Loops": loops}
    return base | {name.replace("_", " "): value for name, value in more.items()} | {"Plans": list(plans)}


def index_scan(ms: float, loops: int = 1, **more: Any) -> Json:
    """Return a probe of the junction's tag index."""
    names = {"Index Name": "idx_content_tags_tag_src_content", "Relation Name": "content_tags", "Alias": "c0"}
    return node("Index Only Scan", ms, loops=loops, **more) | names


def walk() -> Json:
    """Return a page's plan: a limit over a walk of the items that probes the junction 40 times."""
    items = node("Index Scan", 2.0, Plan_Rows=1000, Actual_Rows=40, Shared_Hit_Blocks=50, Shared_Read_Blocks=4)
    items |= {"Relation Name": "content_items", "Alias": "content_items_all_1", "Index Name": "by_date"}
    probe = index_scan(0.25, loops=40, Plan_Rows=1, Actual_Rows=1, Shared_Hit_Blocks=160)
    join = node("Nested Loop", 13.0, items, probe, Join_Type="Semi", Shared_Hit_Blocks=210, Shared_Read_Blocks=4)
    return node("Limit", 13.5, join, Shared_Hit_Blocks=210, Shared_Read_Blocks=4)


def plan_of(root: Json) -> ExecutedPlan:
    return parse([{"Plan": root, "Planning Time": 0.4, "Execution Time": 14.0}])


def named(plan: ExecutedPlan, kind: str) -> Node:
    return next(found for found in plan.root.walk() if found.kind == kind)


def test_a_node_is_charged_its_own_time_only() -> None:
    """What its children took is taken off, over all their loops."""
    own = {found.kind: round(found.own_ms, 3) for found in plan_of(walk()).root.walk()}
    assert own == {"Limit": 0.5, "Nested Loop (Semi)": 1.0, "Index Scan": 2.0, "Index Only Scan": 10.0}


def test_own_times_of_all_nodes_add_up_to_the_whole() -> None:
    """Nothing is counted twice and nothing is lost."""
    plan = plan_of(walk())
    assert sum(found.own_ms for found in plan.root.walk()) == pytest.approx(13.5)


def test_a_node_is_charged_its_own_blocks_only() -> None:
    """Blocks are given with those of the children as well."""
    blocks = [(found.hit, found.read) for found in plan_of(walk()).root.walk()]
    assert blocks == [(0, 0), (0, 0), (50, 4), (160, 0)]


def test_the_time_of_parallel_workers_is_that_of_one_of_them() -> None:
    """Three processes that worked 10 ms each at once took 10 ms."""
    gather = node("Gather", 12.0, node("Seq Scan", 10.0, loops=3), Workers_Launched=2)
    plan = plan_of(gather)
    assert [round(found.own_ms, 3) for found in plan.root.walk()] == [2.0, 10.0]


def test_a_node_that_was_never_executed_costs_nothing() -> None:
    """It has no times at all, and its estimate was not wrong."""
    never = index_scan(0.0, loops=0, Plan_Rows=5000, Actual_Rows=0)
    del never["Actual Total Time"]
    found = plan_of(node("Append", 1.0, never)).root.children[0]
    assert (found.own_ms, found.ratio, found.misjudged) == (0.0, None, "")


def test_the_hottest_node_is_the_one_with_the_most_own_time() -> None:
    """Not the root, which has the most time in all; one line is marked."""
    plan = plan_of(walk())
    assert plan.hottest.kind == "Index Only Scan"
    assert [line.hottest for line in plan.lines()] == [False, False, False, True]


@pytest.mark.parametrize(
    ("estimated", "actual", "said"),
    [(25, 25, ""), (25, 249, ""), (25, 250, "10x more"), (1000, 101, ""), (1000, 40, "25x fewer"), (1, 0, ""),
     (500, 0, "500x fewer"), (0, 9, ""), (1, 12.5, "12x more")],
)  # fmt: skip
def test_an_estimate_off_by_ten_times_is_marked(estimated: float, actual: float, said: str) -> None:
    """Either way; fewer than one row counts as one."""
    found = plan_of(node("Sort", 1.0, Plan_Rows=estimated, Actual_Rows=actual)).root
    assert found.misjudged == said


def test_the_tree_is_drawn_with_its_branches() -> None:
    """Each node stands below its parent, with relation, alias and index."""
    drawn = [line.tree for line in plan_of(node("Append", 20.0, walk(), index_scan(1.0))).lines()]
    assert drawn == [
        "Append",
        "├─ Limit",
        "│  └─ Nested Loop (Semi)",
        "│     ├─ Index Scan using by_date on content_items content_items_all_1",
        "│     └─ Index Only Scan using idx_content_tags_tag_src_content on content_tags c0",
        "└─ Index Only Scan using idx_content_tags_tag_src_content on content_tags c0",
    ]


def changed(name: str, value: object, kind: str) -> Json:
    """Return the walk's plan with one thing of one kind of node changed."""
    plan = copy.deepcopy(walk())
    waiting = [plan]
    while waiting:
        found = waiting.pop()
        waiting += found["Plans"]
        if found["Node Type"] == kind:
            found[name] = value
    return plan


@pytest.mark.parametrize(
    ("name", "value"),
    [("Plan Rows", 3), ("Actual Rows", 9.5), ("Actual Total Time", 77.0), ("Actual Loops", 3), ("Total Cost", 8.15),
     ("Shared Hit Blocks", 7), ("Alias", "c7"), ("Index Cond", "(tag_id = 'b7f1c1de-0000-4000-8000-000000000001')"),
     ("Workers Launched", 2)],
)  # fmt: skip
def test_the_hash_ignores_what_differs_between_two_runs_of_one_plan(name: str, value: object) -> None:
    """Costs, times, counts, ids and generated aliases are not shape."""
    assert shape_hash(changed(name, value, "Index Only Scan")) == shape_hash(walk())


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("Index Name", "content_tags_pkey", "Index Only Scan"), ("Relation Name", "content_items_auto", "Index Scan"),
     ("Node Type", "Hash Join", "Nested Loop"), ("Join Type", "Anti", "Nested Loop"), ("Plans", [], "Nested Loop"),
     ("Scan Direction", "Backward", "Index Scan")],
)  # fmt: skip
def test_the_hash_changes_with_the_shape(name: str, value: object, kind: str) -> None:
    """Another index, relation, kind of node or join is another plan."""
    assert shape_hash(changed(name, value, kind)) != shape_hash(walk())


def test_the_hash_is_the_same_everywhere_and_always() -> None:
    """Archived hashes are compared for years: a change of the rule shows here."""
    assert shape_hash(walk()) == "2452e32ed48748fbfe67439c4ea4b85077a430a164faf26f2f44ac339c935ab3"


def explained(root: Json, query: GalleryQuery | None = None, requested: str | None = None) -> Explained:
    document = [{"Plan": root, "Planning Time": 0.4, "Execution Time": 14.0}]
    return Explained(query or GalleryQuery(), requested, Choice("time_walk", "for one"), tuple(document))


def kept(folder: Path, found: Explained, minute: int = 0) -> explain.Archived:
    return explain.archive(found, folder, datetime(2031, 1, 1, 0, minute, tzinfo=UTC))


def test_the_first_plan_of_a_query_has_nothing_to_compare_with(tmp_path: Path) -> None:
    """Neither changed nor unchanged."""
    found = kept(tmp_path, explained(walk()))
    assert (found.changed, found.file.is_file()) == (None, True)


def test_a_plan_of_the_same_shape_is_unchanged(tmp_path: Path) -> None:
    """Whatever it cost this time."""
    kept(tmp_path, explained(walk()))
    again = kept(tmp_path, explained(changed("Actual Total Time", 99.0, "Limit")), 1)
    assert again.changed is False


def test_a_plan_of_another_shape_is_compared_with_the_last_one(tmp_path: Path) -> None:
    """A plan that changed and changed back has changed twice."""
    other = changed("Node Type", "Hash Join", "Nested Loop")
    found = [kept(tmp_path, explained(plan), minute).changed for minute, plan in enumerate([walk(), other, walk()])]
    assert found == [None, True, True]


@pytest.mark.parametrize(
    ("query", "requested"), [(GalleryQuery(match=TagMatch.ALL, page_size=7), None), (GalleryQuery(), "self_join")]
)
def test_another_query_or_strategy_has_plans_of_its_own(
    query: GalleryQuery, requested: str | None, tmp_path: Path
) -> None:
    """What is compared is one question under one strategy, or under the planner's choice."""
    kept(tmp_path, explained(walk()))
    assert kept(tmp_path, explained(walk(), query, requested), 1).changed is None


def test_two_plans_of_one_moment_are_both_kept(tmp_path: Path) -> None:
    """Nothing in the archive is ever written over."""
    first, second = kept(tmp_path, explained(walk())), kept(tmp_path, explained(walk()))
    assert first.file != second.file
