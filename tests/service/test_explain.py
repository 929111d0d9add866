"""Explanations over HTTP: what the planner would do, and what PostgreSQL makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.migration.bitmap_build import build
from genonaut_lib.service.admin import ExplanationBody
from genonaut_lib.settings import Settings
from tests.factories import Gallery
from tests.service.running import Served, migrated, served

TAGS = {"tag": ["common", "half"], "tag_match": "all"}


def fill(gallery: Gallery) -> None:
    for number in range(30):
        gallery.legacy_item(["common", "half"] if number % 2 else ["common"], is_private=number % 5 == 0)


@pytest.fixture(scope="module")
def settings(admin_url: str) -> Iterator[Settings]:
    """A gallery with a tag bitmap index."""
    with migrated(admin_url, fill) as (found, connection):
        build(found, least_share=0)
        # Or the server does, between two plans that are compared.
        connection.execute("analyze")
        yield found


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Served]:
    """The service on it."""
    with served(settings) as found:
        yield found


def explained(service: Served, **given: object) -> httpx.Response:
    return service.get("/admin/explain", **given)


def test_a_query_is_explained_by_choice_and_plan(service: Served) -> None:
    """What was chosen and why, what the others would cost or lack, and the plan with a hash of its shape."""
    found = explained(service, **TAGS, count="none", strategy="self_join").json()
    assert found["explained"]["strategy"] == found["planned"]["strategy"] == "self_join"
    assert found["explained"]["reason"].startswith("asked for; the planner would take ")
    assert found["planned"]["estimated_rows"] == pytest.approx(12, abs=4)
    assert set(found["planned"]["considered"]) | set(found["planned"]["unfit"]) >= set(STRATEGIES)
    assert found["work"]["self_join"]["postings"] > 0
    assert len(found["plan"]["shape_hash"]) == 64
    assert found["plan"]["execution_ms"] > 0
    assert [node["hottest"] for node in found["plan"]["nodes"]].count(True) >= 1
    assert found["plan"]["nodes"][0]["actual_rows"] == 11
    assert ExplanationBody.model_validate(found).model_dump() == found


def test_equal_queries_have_plans_of_one_shape(service: Served) -> None:
    """And another strategy has another one."""
    first, again, other = (
        explained(service, **TAGS, strategy=strategy).json()["plan"]["shape_hash"]
        for strategy in ("self_join", "self_join", "time_walk")
    )
    assert first == again != other


def test_where_bitmaps_would_answer_the_next_best_statement_is_explained(service: Served) -> None:
    """The answer tells both apart."""
    found = explained(service, **TAGS, strategy="bitmap").json()
    assert found["planned"]["strategy"] == "bitmap"
    assert found["explained"]["strategy"] in STRATEGIES
    assert found["explained"]["reason"].startswith("explained in place of bitmap")
    assert "bitmap" in found["work"]


@pytest.mark.parametrize(
    ("given", "field"),
    [({"strategy": "self-join"}, "strategy"), ({"sort_field": "nothing"}, "sort_field"), ({"tag": "nothing"}, "tag")],
)
def test_what_the_page_refuses_is_refused(given: dict[str, str], field: str, service: Served) -> None:
    """By the same rules, with the field at fault."""
    answer = explained(service, **given)
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text


def test_a_query_of_no_source_is_refused(service: Served) -> None:
    """There is no statement to explain."""
    answer = explained(service, content_source_types="")
    assert answer.status_code == 400
    assert "no source" in answer.json()["detail"]
