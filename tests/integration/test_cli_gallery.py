"""The gallery read from the shell: pages, reasons, plans, JSON for scripts, refusals with a code."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from genonaut_lib.cli.app import OK, REFUSED
from genonaut_lib.migration import tag_stats
from genonaut_lib.migration.phases import Context
from genonaut_lib.vocabulary import ContentSource
from tests.factories import FIRST_DAY, Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_all

Command = Callable[..., Ended]
ANSWER_KEYS = {
    "rows", "strategy", "reason", "estimated_rows", "total", "milliseconds", "statistics_at", "has_next",
    "next_cursor", "previous_cursor",
}  # fmt: skip
ROW_KEYS = {
    "id", "source", "title", "content_type", "creator", "creator_id", "created_at", "updated_at", "quality_score",
    "is_private", "tags",
}  # fmt: skip


def migrated(context: Context) -> None:
    """Make nine migrated items with statistics: perl ones, perl programs, and a private one of ada's."""
    gallery = Gallery(context.connection)
    for number in range(8):
        tags = ["devel::lang:perl", "role::program"] if number % 2 else ["devel::lang:perl", "devel::lang:c"]
        gallery.legacy_item(
            tags, ContentSource.AUTO if number % 3 else ContentSource.REGULAR, title=f"piece {number}",
            creator=gallery.user("grace"), created_at=FIRST_DAY + timedelta(days=number),
        )  # fmt: skip
    gallery.legacy_item(["role::program"], title="diary", creator=gallery.user("ada"), is_private=True)
    apply_all(context)
    tag_stats.refresh(context.connection)


MODELS = {"filled": migrated}


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    """That gallery, in a database of the test's own."""
    return gallery


def answered(command: Command, *arguments: str) -> dict[str, Any]:
    """Return what `genonaut gallery --json` says."""
    ended = command("gallery", "--env", "test", "--json", *arguments)
    assert ended.code == OK, ended.said
    found: dict[str, Any] = json.loads(ended.said)
    return found


def titles(found: dict[str, Any]) -> list[str]:
    return [row["title"] for row in found["rows"]]


def test_a_page_is_shown_with_strategy_reason_estimate_time_and_plan(command: Command, filled: Gallery) -> None:
    """All of it in one command."""
    ended = command("gallery", "--tag", "devel::lang:perl", "--tag", "role::program", "--match", "all", "--count",
                    "exact", "--explain", "--env", "test")  # fmt: skip
    assert ended.code == OK
    for word in ("piece 7", "grace", "Strategy:", "Estimate:", "Total: 4, exact", "Time: plan", "hottest", "own ms"):
        assert word in ended.said
    assert "piece 6" not in ended.said


def test_json_has_the_keys_that_help_names(command: Command, filled: Gallery) -> None:
    """Always all of them; a plan only where one was asked for."""
    found = answered(command, "--count", "exact")
    assert set(found) == ANSWER_KEYS
    assert set(found["rows"][0]) == ROW_KEYS
    assert found["total"] == {"kind": "exact", "value": 8, "low": 8, "high": 8}
    explained = answered(command, "--explain")["plan"]
    assert set(explained) == {"shape_hash", "planning_ms", "execution_ms", "nodes", "document"}
    assert sum(node["hottest"] for node in explained["nodes"]) == 1


def test_help_names_every_key_of_the_json(command: Command) -> None:
    """What scripts rely on is written down."""
    said = command("gallery", "--help").said
    assert not [key for key in ANSWER_KEYS | ROW_KEYS if key not in said]


def test_rows_carry_names_not_ids(command: Command, filled: Gallery) -> None:
    """Of source, creator and tags."""
    row = answered(command, "--page-size", "1")["rows"][0]
    assert (row["title"], row["source"], row["creator"]) == ("piece 7", "auto", "grace")
    assert row["tags"] == ["devel::lang:perl", "role::program"]


def test_cursors_lead_from_page_to_page(command: Command, filled: Gallery) -> None:
    """Forwards and back, with the same filters."""
    ask = ["--tag", "devel::lang:perl", "--sort", "title", "--order", "asc", "--page-size", "3"]
    first = answered(command, *ask)
    second = answered(command, *ask, "--cursor", first["next_cursor"])
    back = answered(command, *ask, "--cursor", second["previous_cursor"])
    assert titles(first) + titles(second) == [f"piece {number}" for number in range(6)]
    assert titles(back) == titles(first)


def test_a_page_is_reached_by_its_number(command: Command, filled: Gallery) -> None:
    """For those who need it."""
    assert titles(answered(command, "--page", "2", "--page-size", "3")) == ["piece 4", "piece 3", "piece 2"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--tag", "devel::lang:c"], {0, 2, 4, 6}),
        (["--under", "devel", "--exclude", "role::program"], {0, 2, 4, 6}),
        (["--under", "role"], {1, 3, 5, 7}),
        (["--source", "regular"], {0, 3, 6}),
        (["--search", '"piece 5"'], {5}),
        (["--community", "--viewer", "ada", "--tag", "role::program"], {1, 3, 5, 7}),
        (["--mine", "--viewer", "grace", "--source", "regular"], {0, 3, 6}),
        (["--strategy", "self_join", "--tag", "devel::lang:c"], {0, 2, 4, 6}),
    ],
)
def test_every_filter_can_be_said(options: list[str], expected: set[int], command: Command, filled: Gallery) -> None:
    """The command says what a request can say."""
    assert set(titles(answered(command, *options))) == {f"piece {number}" for number in expected}


def test_private_items_are_shown_to_their_creator_alone(command: Command, filled: Gallery) -> None:
    """Who asks from the shell says who looks."""
    asked = ["--tag", "role::program", "--mine", "--community"]
    assert "diary" in titles(answered(command, *asked, "--viewer", "ada"))
    assert "diary" not in titles(answered(command, *asked, "--viewer", "grace"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tag", "devel::lang:pearl"], "devel::lang:perl"),
        (["--mine"], "needs a viewer"),
        (["--viewer", "nobody"], "no user called 'nobody'"),
        (["--sort", "titel"], "title"),
        (["--sort", "title; drop table tags"], "valid"),
        (["--match", "some"], "any, all"),
        (["--source", "manual"], "regular, auto"),
        (["--page-size", "1001"], "page_size"),
        (["--cursor", "AAAA"], "cursor"),
        (["--strategy", "selfjoin", "--tag", "role::program"], "self_join"),
        (["--count", "perhaps"], "perhaps"),
    ],
)
def test_what_is_malformed_or_unknown_is_refused_with_a_sentence(
    options: list[str], said: str, command: Command, filled: Gallery
) -> None:
    """Exit code 2, and the nearest names of an unknown tag."""
    ended = command("gallery", "--env", "test", *options)
    assert (ended.code, said in ended.said) == (REFUSED, True), ended.said


def test_a_gallery_that_is_not_migrated_is_refused(command: Command, gallery: Gallery) -> None:
    """The hint names the command that says what comes next."""
    for arguments in (["gallery"], ["tags", "list"]):
        ended = command(*arguments, "--env", "test")
        assert (ended.code, "genonaut plan" in ended.said) == (REFUSED, True)


def test_markup_and_control_characters_of_a_title_are_shown_not_obeyed(
    command: Command, gallery: Gallery, migrate: Callable[[], None]
) -> None:
    """A title is anybody's text."""
    gallery.legacy_item([], title="[red]stop[/red] [/] \x1b[2J")
    migrate()
    ended = command("gallery", "--env", "test")
    assert ended.code == OK
    assert "[red]stop[/red] [/]" in ended.said
    assert "\x1b[2J" not in ended.said


def test_tags_are_listed_with_their_counts(command: Command, filled: Gallery) -> None:
    """Most used first where it is asked for; private items make no tag popular."""
    found = json.loads(
        command("tags", "list", "--sort", "count", "--desc", "--min", "1", "--json", "--env", "test").said
    )
    assert [(tag["name"], tag["total"]["display_count"]) for tag in found] == [
        ("devel::lang:perl", 8), ("devel::lang:c", 4), ("role::program", 4),
    ]  # fmt: skip


def test_the_hierarchy_is_walked_from_the_shell(command: Command, filled: Gallery) -> None:
    """Roots, children, parents, descendants and ancestors, by whatever a tag is called."""

    def names(*arguments: str) -> list[str]:
        return [tag["name"] for tag in json.loads(command("tags", *arguments, "--json", "--env", "test").said)]

    assert names("roots") == ["devel", "role"]
    assert names("children", "devel") == names("descendants", "devel") == ["devel::lang:c", "devel::lang:perl"]
    assert names("parents", "Role::Program") == names("ancestors", "role-program") == ["role"]
    assert names("popular", "--limit", "1") == ["devel::lang:perl"]


def test_one_tag_is_shown_and_an_unknown_one_refused_with_near_names(command: Command, filled: Gallery) -> None:
    """By any of its spellings."""
    shown = json.loads(command("tags", "show", "DEVEL::lang:perl", "--json", "--env", "test").said)
    assert (shown["name"], shown["total"]["cardinality"]) == ("devel::lang:perl", 8)
    ended = command("tags", "show", "devel::lang:pearl", "--env", "test")
    assert (ended.code, "devel::lang:perl" in ended.said) == (REFUSED, True)


def test_tags_are_shown_as_a_table(command: Command, filled: Gallery) -> None:
    """For people."""
    ended = command("tags", "descendants", "devel", "--env", "test")
    assert (ended.code, "devel::lang:c" in ended.said, "steps" in ended.said) == (OK, True, True)


@pytest.mark.parametrize("source", ["manual", ""])
def test_an_unknown_source_of_counts_is_refused(source: str, command: Command) -> None:
    """Before any server is asked."""
    ended = command("tags", "popular", "--source", source)
    assert (ended.code, "regular, auto" in ended.said) == (REFUSED, True)
