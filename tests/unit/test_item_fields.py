"""What may stand in an item's fields: whatever may not is refused by the name of its field."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from genonaut_lib.content.item_fields import CHECKS, fields_of, fields_of_new
from genonaut_lib.content.item_rows import READ_ONLY_TRIGGER
from genonaut_lib.db.schema import content_items_all
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration.phases.truth import REFUSAL

LEAST: dict[str, Any] = {"title": "t", "content_type": "image", "prompt": "p"}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


WRONG = [
    ("title", "x" * 256),
    ("title", None),
    ("title", 7),
    ("title", "a\0b"),
    ("title", "\ud800"),
    ("content_type", "x" * 51),
    ("content_data", "x" * 1_000_001),
    ("prompt", "x" * 20_001),
    ("prompt", None),
    ("quality_score", float("nan")),
    ("quality_score", float("inf")),
    ("quality_score", "0.5"),
    ("quality_score", True),
    ("quality_score", 10**400),
    ("is_private", 1),
    ("is_private", None),
    ("path_thumb", "x" * 513),
    ("path_thumb", "a\nb"),
    ("path_thumb", "a/../b"),
    ("path_thumb", "..\\b"),
    ("path_thumbs_alt_res", {"512": 7}),
    ("path_thumbs_alt_res", {"512": "../a"}),
    ("path_thumbs_alt_res", ["a"]),
    ("item_metadata", []),
    ("item_metadata", {"a\0": 1}),
    ("item_metadata", {"a": ["\udfff"]}),
    ("item_metadata", {"a": 2**64}),
    ("item_metadata", {"a": float("inf")}),
    ("item_metadata", nested(33)),
    ("item_metadata", {"a": "x" * 65_536}),
    ("tags", "anime"),
    ("tags", None),
    ("tags", [1]),
    ("tags", ["x"] * 501),
    ("tags", ["x" * 401]),
    ("created_at", "2026-01-01"),
    ("id", 7),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=[f"{field}-{place}" for place, (field, _) in enumerate(WRONG)])
def test_a_wrong_value_is_refused_by_the_name_of_its_field(field: str, value: Any) -> None:
    """In a new item and in a change alike."""
    for parse in (fields_of, fields_of_new):
        with pytest.raises(InvalidInput) as refused:
            parse(LEAST | {field: value})
        assert refused.value.field == field


@pytest.mark.parametrize("field", list(LEAST))
def test_a_new_item_lacks_nothing_that_it_needs(field: str) -> None:
    """A change may leave it out."""
    given = {name: value for name, value in LEAST.items() if name != field}
    with pytest.raises(InvalidInput, match=f"{field} is missing"):
        fields_of_new(given)
    assert field not in fields_of(given).columns


def test_the_longest_values_pass() -> None:
    """Limits are those of the columns, in characters and not in bytes."""
    texts = {"title": "é" * 255, "content_type": "é" * 50, "prompt": "é" * 20_000, "path_thumb": "é" * 512}
    given = fields_of_new(texts | {"item_metadata": nested(32), "tags": ["é" * 400] * 500, "quality_score": 7})
    assert given.columns["title"] == texts["title"]
    assert (given.tags, given.columns["quality_score"]) == (("é" * 400,), 7.0)


def test_what_may_be_null_is_written_as_null() -> None:
    """A field that is given as null is not one that was left out."""
    nullable = ("quality_score", "path_thumb", "path_thumbs_alt_res", "item_metadata")
    assert fields_of(dict.fromkeys(nullable)).columns == dict.fromkeys(nullable)


def test_json_is_bound_as_it_came() -> None:
    """Whole numbers up to 64 bits keep every digit."""
    (found,) = fields_of({"item_metadata": {"seed": 2**64 - 1}}).columns.values()
    assert isinstance(found, Jsonb)
    assert found.obj == {"seed": 2**64 - 1}


def test_fields_are_columns_of_the_gallery() -> None:
    """Their names reach a statement as identifiers."""
    assert set(CHECKS) <= {column.name for column in content_items_all.columns}


def test_writers_look_for_the_trigger_that_the_cut_over_makes() -> None:
    """The floor below knows it by name only."""
    assert READ_ONLY_TRIGGER == REFUSAL
