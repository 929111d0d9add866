"""Telemetry says what was chosen and what came of it, and nothing of who asked for what."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import timedelta
from typing import Any

import pytest

from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.counts import CountMode, Total
from genonaut_lib.gallery.estimates import Estimate
from genonaut_lib.gallery.planner import choose
from genonaut_lib.gallery.query import MINE, GalleryQuery, TagMatch
from genonaut_lib.gallery.telemetry import LOG, Answered, Telemetry, record_of
from genonaut_lib.planner_settings import PlannerSettings, TelemetrySettings
from genonaut_lib.vocabulary import tag_id
from tests.paper import REFRESHED, known

NOW = REFRESHED + timedelta(seconds=90)
NAME, VIEWER, SEARCH = "canary-tag", uuid.UUID("ca9a9000-0000-4000-8000-00000000000a"), "canary words"
TAG, OTHER = tag_id(NAME), tag_id("canary-other")
QUERY = GalleryQuery((TAG, OTHER), TagMatch.ALL, VIEWER, MINE, exclude=(tag_id("canary-not"),), search=SEARCH)
STATISTICS = known(1_000_000, {TAG: 120, OTHER: 90_000})
ALWAYS = TelemetrySettings(sample_rate=1.0)


def answered(query: GalleryQuery = QUERY) -> Answered:
    choice = choose(query, STATISTICS, PlannerSettings())
    return Answered(query, choice, 7, 1.25, Total(CountMode.EXACT, 7, 7, 7), STATISTICS)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger=LOG.name)
    return caplog


def test_one_query_is_one_record_of_json(logged: pytest.LogCaptureFixture) -> None:
    """The message can be parsed, and is what the record carries."""
    Telemetry(ALWAYS).note(answered(), NOW)
    (record,) = logged.records
    assert json.loads(record.message) == record.gallery
    assert (record.name, record.levelno) == ("genonaut.gallery", logging.INFO)


def test_a_record_says_what_was_chosen_expected_and_found() -> None:
    """What a dashboard needs to compare estimates with answers."""
    choice = Choice(
        "self_join", "because", estimated_rows=9.0, estimated_ms=0.5, considered={"self_join": 0.5},
        estimate=Estimate(9.0, 2.0, 20.0), rarest_count=120,
    )  # fmt: skip
    found = record_of(Answered(QUERY, choice, 7, 1.25, Total(CountMode.EXACT, 7, 7, 7), STATISTICS), ALWAYS, NOW)
    expected = {
        "strategy": "self_join", "reason": "because", "k": 2, "match": "all", "rarest_count": 120,
        "estimated_rows": 9.0, "estimated_low": 2.0, "estimated_high": 20.0, "estimated_ms": 0.5, "actual_rows": 7,
        "has_search": True, "has_viewer": True, "actual_ms": 1.25, "count": "exact", "total": 7,
        "statistics_age_s": 90.0,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected


def test_unknown_is_null() -> None:
    """Without statistics no figure stands in for one."""
    found = record_of(Answered(QUERY, choose(QUERY, None, PlannerSettings()), 7, 1.25), ALWAYS, NOW)
    unknown = ("estimated_rows", "estimated_ms", "statistics_age_s", "total")
    assert [found[key] for key in unknown] == [None] * len(unknown)


def test_no_record_tells_tags_words_or_viewers(logged: pytest.LogCaptureFixture) -> None:
    """Neither names nor ids nor their plain hashes, in message or fields."""
    Telemetry(ALWAYS).note(answered(), NOW)
    text = repr([vars(record) for record in logged.records])
    secrets = [
        SEARCH,
        "canary",
        *(form for id_ in (TAG, OTHER, VIEWER, *QUERY.exclude) for form in (str(id_), id_.hex)),
    ]
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(("rate", "drawn", "written"), [(0.1, 0.05, 1), (0.1, 0.1, 0), (0.0, 0.0, 0), (1.0, 0.999, 1)])
def test_a_part_of_the_queries_is_written(
    logged: pytest.LogCaptureFixture, rate: float, drawn: float, written: int
) -> None:
    """A rate of 0.1 takes draws below it; nothing at 0, everything at 1."""
    Telemetry(TelemetrySettings(sample_rate=rate), draw=lambda: drawn).note(answered(), NOW)
    assert len(logged.records) == written


@pytest.mark.parametrize(
    ("knobs", "there", "missing"),
    [
        ({"log_estimates": False}, "strategy", "estimated_rows"),
        ({"log_strategy_choice": False}, "estimated_rows", "strategy"),
    ],
)
def test_choice_and_estimates_are_left_out_by_their_knobs(knobs: dict[str, Any], there: str, missing: str) -> None:
    """Each half of a record has its switch; what came of the query is always in it."""
    found = record_of(answered(), TelemetrySettings(sample_rate=1.0, **knobs), NOW)
    assert there in found
    assert "actual_ms" in found
    assert missing not in found


def test_nothing_is_written_with_both_switched_off(logged: pytest.LogCaptureFixture) -> None:
    """A record of neither choice nor estimates is none."""
    quiet = TelemetrySettings(sample_rate=1.0, log_strategy_choice=False, log_estimates=False)
    Telemetry(quiet).note(answered(), NOW)
    assert logged.records == []


def test_nothing_is_made_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """A level above INFO costs not even the draw."""
    caplog.set_level(logging.WARNING, logger=LOG.name)
    drawn: list[int] = []
    Telemetry(ALWAYS, draw=lambda: drawn.append(1) or 0.0).note(answered(), NOW)
    assert drawn == []
