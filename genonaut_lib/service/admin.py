"""GET /admin/explain: how the gallery would answer a query, why so, and the plan PostgreSQL makes of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from genonaut_lib.gallery.answer import Explanation
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.service import parameters, problems
from genonaut_lib.service.answers import answer_with
from genonaut_lib.service.parameters import Asked, in_parameters
from genonaut_lib.service.state import Running
from genonaut_lib.service.who import Administering
from genonaut_lib.tuning.plan_tree import ExecutedPlan, Line, parse

router = APIRouter(prefix="/admin", tags=["admin"])


class ChoiceBody(BaseModel):
    """A choice of the planner: rows and times are estimates, null where nothing is known.

    `considered` has the estimated time of each strategy that could answer, `unfit` why each other one could not.
    """

    strategy: str
    reason: str
    estimated_rows: float | None
    estimated_low: float | None
    estimated_high: float | None
    estimated_ms: float | None
    rarest_count: int | None
    considered: dict[str, float]
    unfit: dict[str, str]


class NodeBody(BaseModel):
    """A node of the plan; `tree` draws it, `own_ms` is its time without its children, `hottest` the longest of all."""

    tree: str
    own_ms: float
    estimated_rows: float
    actual_rows: float
    loops: float
    blocks_hit: int
    blocks_read: int
    misjudged: str
    hottest: bool


class PlanBody(BaseModel):
    """An executed plan; `shape_hash` is equal for plans of one shape, whatever they cost."""

    shape_hash: str
    planning_ms: float
    execution_ms: float
    nodes: list[NodeBody]


class ExplanationBody(BaseModel):
    """How a page is answered (`planned`), and the statement that was explained, which may be the next best one.

    `work` has the amounts of work of each strategy, of which the estimated times are made.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "planned": {
                        "strategy": "self_join", "reason": "2,043 items carry the rarest tag", "estimated_rows": 812.0,
                        "estimated_low": 640.0, "estimated_high": 990.0, "estimated_ms": 2.1, "rarest_count": 2043,
                        "considered": {"self_join": 2.1, "time_walk": 48.0},
                        "unfit": {"bitmap": "there is no tag bitmap index: run 40_build_tag_bitmaps"},
                    },
                    "explained": {
                        "strategy": "self_join", "reason": "2,043 items carry the rarest tag", "estimated_rows": 812.0,
                        "estimated_low": 640.0, "estimated_high": 990.0, "estimated_ms": 2.1, "rarest_count": 2043,
                        "considered": {"self_join": 2.1, "time_walk": 48.0}, "unfit": {},
                    },
                    "work": {"self_join": {"statement": 1.0, "postings": 2043.0}},
                    "plan": {
                        "shape_hash": "5f1c...", "planning_ms": 0.8, "execution_ms": 2.4,
                        "nodes": [
                            {
                                "tree": "Limit", "own_ms": 0.1, "estimated_rows": 11.0, "actual_rows": 11.0,
                                "loops": 1.0, "blocks_hit": 0, "blocks_read": 0, "misjudged": "", "hottest": False,
                            }
                        ],
                    },
                }
            ]
        }
    )  # fmt: skip

    planned: ChoiceBody
    explained: ChoiceBody
    work: dict[str, dict[str, float]]
    plan: PlanBody


@router.get(
    "/explain",
    responses={200: {"model": ExplanationBody}, **problems.documented(400, 401, 403, 409, 503, 504)},
    openapi_extra=parameters.documented(),
)
async def explain(
    service: Running,
    admin: Administering,
    asked: Asked,
    strategy: Annotated[str | None, Query(description="Another strategy than the planner's.")] = None,
) -> Response:
    """Execute the page of a gallery query under EXPLAIN, and tell why it is answered the way it is.

    Takes the parameters of /content/unified. What the bitmaps do is no statement that EXPLAIN could show: where
    they would answer, the best statement is explained in their place.
    """
    with in_parameters():
        query = await service.meanings.query_of(asked.request(admin.viewer))
        found = await service.gallery.explain(query, strategy, count=asked.count)
    return answer_with(_body(found))


def _body(found: Explanation) -> dict[str, Any]:
    return {
        "planned": _choice(found.planned),
        "explained": _choice(found.choice),
        "work": {name: dict(work) for name, work in found.work.items()},
        "plan": _plan(parse(found.document)),
    }


def _choice(choice: Choice) -> dict[str, Any]:
    estimate = choice.estimate
    return {
        "strategy": choice.strategy, "reason": choice.reason, "estimated_rows": choice.estimated_rows,
        "estimated_low": estimate.low if estimate else None, "estimated_high": estimate.high if estimate else None,
        "estimated_ms": choice.estimated_ms, "rarest_count": choice.rarest_count,
        "considered": dict(choice.considered), "unfit": dict(choice.unfit),
    }  # fmt: skip


def _plan(plan: ExecutedPlan) -> dict[str, Any]:
    return {
        "shape_hash": plan.shape_hash,
        "planning_ms": plan.planning_ms,
        "execution_ms": plan.execution_ms,
        "nodes": [_node(line) for line in plan.lines()],
    }


def _node(line: Line) -> dict[str, Any]:
    node = line.node
    return {
        "tree": line.tree, "own_ms": round(node.own_ms, 3), "estimated_rows": node.estimated,
        "actual_rows": node.actual, "loops": node.loops, "blocks_hit": node.hit, "blocks_read": node.read,
        "misjudged": node.misjudged, "hottest": line.hottest,
    }  # fmt: skip
