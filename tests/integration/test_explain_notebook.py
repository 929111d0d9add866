"""63_explain_gallery, run as a job runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genonaut_lib.errors import InvalidInput, NotebookFailed
from genonaut_lib.runs.engine import RunRequest, run_notebook
from genonaut_lib.runs.gallery_explanation import request
from genonaut_lib.settings import Settings
from tests.factories import Gallery

NOTEBOOK = "63_explain_gallery"


@pytest.fixture
def filled(gallery: Gallery, migrate: Callable[[], None]) -> Gallery:
    """Twelve migrated items with two tags."""
    for _ in range(12):
        gallery.legacy_item(["common", "half"])
    migrate()
    return gallery


def explained(settings: Settings, **parameters: object) -> str:
    """Run the notebook and return its HTML copy."""
    return run_notebook(settings, RunRequest(NOTEBOOK, parameters)).html.read_text()


def test_a_plan_is_shown_kept_and_compared_with_the_last_one(
    project: Path, settings: Settings, filled: Gallery
) -> None:
    """The first has nothing to compare with; the second is the same; another strategy has plans of its own."""
    parameters = {"tags": "common, half", "match": "all", "strategy": "self_join"}
    first, second = explained(settings, **parameters), explained(settings, **parameters)
    other = explained(settings, **parameters, more="page_size: 5")
    assert [found in text for found, text in (("the first of this query", first), ("the same as last time", second),
                                              ("the first of this query", other))] == [True] * 3  # fmt: skip
    assert "hottest" in first
    kept = sorted((project / "outputs" / "test" / "plans").glob("*/*.json"))
    assert len(kept) == 3
    assert json.loads(kept[0].read_text())["strategy"] == "self_join"


def test_the_gallery_is_as_it_was(project: Path, settings: Settings, filled: Gallery) -> None:
    """Rows and their versions."""
    rows = "select xmin::text, * from content_tags order by 2, 3, 4"
    before = filled.connection.execute(rows).fetchall()
    explained(settings, tags="common")
    assert filled.connection.execute(rows).fetchall() == before


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"tags": "comon"}, "common"), ({"strategy": "selfjoin"}, "self_join"), ({"more": "sort: title"}, "sort_field"),
     ({"match": "some"}, "any, all"), ({"timeout_s": 0.0}, "timeout_s")],
)  # fmt: skip
def test_a_malformed_question_stops_the_notebook_with_a_sentence(
    parameters: dict[str, object], said: str, project: Path, settings: Settings, filled: Gallery
) -> None:
    """Unknown words come with the nearest ones."""
    with pytest.raises(NotebookFailed, match=said):
        explained(settings, **parameters)


def test_further_fields_are_read_as_yaml() -> None:
    """Lists, numbers and words; what is given twice is what was said last."""
    found = request("a, b c ,", "all", "exclude: [x], page: 3, sort_field: title, viewer: ada")
    assert (list(found.tags), list(found.exclude), found.page, found.sort_field) == (["a", "b c"], ["x"], 3, "title")


@pytest.mark.parametrize("more", ["exclude: [x", "pag: 3", "}", "sort_fiel: title"])
def test_further_fields_that_are_none_are_refused(more: str) -> None:
    """With the fields there are."""
    with pytest.raises(InvalidInput):
        request("", "any", more)
