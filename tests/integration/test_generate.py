"""Synthetic content: every shape, its dirt, and that a seed means the same content everywhere."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from genonaut_lib.content.generation import SHAPES, GenerateResult, generate
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import AlreadyMigrated
from genonaut_lib.migration.phases import Context
from genonaut_lib.vocabulary import SpellingKind, canonical_tag_name, classify_spelling, facet_of, tag_id
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before

EVERYTHING = "select * from content_items union all select * from content_items_auto"


def make(connection: Connection, shape: str, items: int, seed: int = 1) -> GenerateResult:
    return generate(connection, SHAPES[shape], items, seed)


def contents(connection: Connection) -> list[tuple[Any, ...]]:
    """Everything of every item but its id, and its creator by name."""
    query = f"""
        select title, content_type, content_data, item_metadata, username, c.created_at, quality_score, is_private,
               prompt, tags from ({EVERYTHING}) c join users u on u.id = creator_id order by prompt, title
    """
    return connection.execute(query).fetchall()  # type: ignore[arg-type]


def arrays(connection: Connection) -> list[Any]:
    return [row[-1] for row in contents(connection)]


def names_in(tags: Any) -> set[str]:
    """Return the names an array means, however they are spelled."""
    elements = tags if isinstance(tags, list) else []
    return {canonical_tag_name(element) for element in elements if classify_spelling(element) is SpellingKind.NAME}


def kinds_of_dirt(tags: Any) -> set[str]:
    """Return what is wrong with one array."""
    if not isinstance(tags, list):
        return {"null" if tags is None else "scalar"}
    if not tags:
        return {"empty"}
    names = [element for element in tags if classify_spelling(element) is SpellingKind.NAME]
    found = {classify_spelling(element).value for element in tags} - {"name"}
    found |= {type(element).__name__ for element in tags if not isinstance(element, str)}
    found |= {"double"} if len(set(names)) < len(names) else set()
    found |= {"upper case"} if any(name.isupper() for name in names) else set()
    found |= {"outer blanks"} if any(name != name.strip() for name in names) else set()
    return found | ({"unlisted"} if any(name.startswith("unlisted-") for name in names) else set())


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_shape_makes_as_many_items_as_it_was_asked_for(shape: str, connection: Connection, gallery: Gallery) -> None:
    """And says how many tag elements stand in them."""
    result = make(connection, shape, 301)
    found = arrays(connection)
    assert (result.items, len(found)) == (301, 301)
    assert result.relationships == sum(len(tags) for tags in found if isinstance(tags, list))


def test_the_same_seed_makes_the_same_content(connection: Connection, gallery: Gallery) -> None:
    """Two databases agree to the last tag."""
    made = []
    for _ in range(2):
        make(connection, "adversarial", 200, seed=7)
        made.append(contents(connection))
        connection.execute("truncate content_items, content_items_auto, users, workbench.loads")
    assert made[0] == made[1]


@pytest.mark.parametrize("shape", list(SHAPES))
def test_another_seed_makes_other_content(shape: str, connection: Connection, gallery: Gallery) -> None:
    """Of the same shape, beside what is there already."""
    make(connection, shape, 100, seed=1)
    first = arrays(connection)
    connection.execute("truncate content_items, content_items_auto, users")
    make(connection, shape, 100, seed=2)
    assert arrays(connection) != first


def test_the_same_arguments_twice_do_nothing_the_second_time(
    command: Callable[..., Ended], connection: Connection
) -> None:
    """The second command says that the content is there."""
    arguments = ("generate", "--shape", "dense", "--items", "50", "--env", "test")
    first, second = command(*arguments), command(*arguments)
    assert (first.code, second.code, "is there already" in second.said) == (0, 0, True)
    assert len(contents(connection)) == 50


def test_every_kind_of_dirt_is_there_in_a_few_thousand_items(connection: Connection, gallery: Gallery) -> None:
    """What the migration must survive is in what it is tried on."""
    make(connection, "adversarial", 4_000)
    counts = Counter(kind for tags in arrays(connection) for kind in kinds_of_dirt(tags))
    wanted = {
        "null", "scalar", "empty", "double", "upper case", "outer blanks", "unlisted", "blank", "too_long", "uuid",
        "not_a_string", "int", "NoneType", "bool", "dict",
    }  # fmt: skip
    assert set(counts) == wanted


def test_some_uuids_in_the_dirt_are_tags_and_some_are_nobodys(connection: Connection, gallery: Gallery) -> None:
    """Both must be told apart by the backfill."""
    make(connection, "adversarial", 4_000)
    known = {tag_id(tag.name) for tag in SHAPES["adversarial"].tags(4_000)}
    elements = [element for tags in arrays(connection) if isinstance(tags, list) for element in tags]
    ids = [uuid.UUID(element) for element in elements if classify_spelling(element) is SpellingKind.UUID]
    assert {found in known for found in ids} == {True, False}


def test_about_one_array_in_a_hundred_is_dirty(connection: Connection, gallery: Gallery) -> None:
    """Enough to be met, too little to be the point."""
    make(connection, "dense", 3_000)
    dirty = sum(bool(kinds_of_dirt(tags)) for tags in arrays(connection))
    assert 0.005 < dirty / 3_000 < 0.02


def test_dense_items_carry_about_75_of_106_tags(connection: Connection, gallery: Gallery) -> None:
    """The shape of the gallery this project grew from."""
    result = make(connection, "dense", 1_000)
    assert 73 < result.relationships / 1_000 < 77
    clean = set().union(*(names_in(tags) for tags in arrays(connection) if not kinds_of_dirt(tags)))
    assert 100 <= len(clean) <= 106


def test_zipf_has_a_long_tail(connection: Connection, gallery: Gallery) -> None:
    """The most used tag is on most items, and most tags are on few."""
    make(connection, "zipf", 1_000)
    uses = Counter(name for tags in arrays(connection) for name in names_in(tags))
    assert uses.most_common(1)[0][1] > 800
    assert sum(count <= 20 for count in uses.values()) > len(uses) / 2 > 500


def test_adversarial_pairs_never_meet(connection: Connection, gallery: Gallery) -> None:
    """A planner that multiplies their selectivities expects rows, and there are none; each alone has some."""
    make(connection, "adversarial", 3_000)
    found = arrays(connection)
    for apart in ({"camp::left", "camp::right"}, {"third::0", "third::1"}, {"rare::0", "rare::3"}):
        met = [names_in(tags) & apart for tags in found]
        assert max(map(len, met)) == 1
        assert set().union(*met) == apart


def test_an_adversarial_superset_holds_its_subset(connection: Connection, gallery: Gallery) -> None:
    """Every tenth is a fifth."""
    make(connection, "adversarial", 1_000)
    for tags in arrays(connection):
        names = names_in(tags)
        assert "set::tenth" not in names or "set::fifth" in names


def test_adversarial_dates_are_tied(connection: Connection, gallery: Gallery) -> None:
    """Fifty items in a row share one date; the dense shape has a date an item."""
    make(connection, "adversarial", 1_000)
    assert max(Counter(row[5] for row in contents(connection)).values()) == 50


@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_clean_tag_belongs_to_a_facet(shape: str, connection: Connection, gallery: Gallery) -> None:
    """So that seeding finds parents."""
    make(connection, shape, 100)
    names = set().union(*(names_in(tags) for tags in arrays(connection) if not kinds_of_dirt(tags)))
    assert {name for name in names if facet_of(name) is None} <= {"everything"}
    assert len({facet_of(name) for name in names}) >= 6


def test_the_indexes_are_there_after_generating(connection: Connection, gallery: Gallery) -> None:
    """They are dropped and built again for speed, in the same transaction."""
    query = "select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1"
    before = connection.execute(query).fetchall()
    make(connection, "dense", 20)
    assert connection.execute(query).fetchall() == before


def test_generated_content_joins_what_was_loaded(connection: Connection, gallery: Gallery) -> None:
    """Items that are there keep their ids and their tags."""
    item = gallery.legacy_item(["mine"])
    make(connection, "zipf", 50)
    row = connection.execute("select tags from content_items where id = %s", [item]).fetchone()
    assert (row, len(contents(connection))) == ((["mine"],), 51)


def test_generating_after_the_expand_phase_is_refused(context: Context, gallery: Gallery) -> None:
    """The legacy schema is gone."""
    apply_before(context, "backfill_tag_uuids")
    with pytest.raises(AlreadyMigrated):
        make(context.connection, "dense", 10)


@pytest.mark.parametrize("seed", [-1, 32_767, 2**31 - 1, 2**63 - 1, 2**80])
def test_every_seed_makes_content_or_is_refused(
    seed: int, command: Callable[..., Ended], connection: Connection
) -> None:
    """No number a user may type ends in a traceback."""
    ended = command("generate", "--shape", "dense", "--items", "5", "--seed", str(seed), "--env", "test")
    assert ended.code in (0, 2)
    assert len(contents(connection)) == (5 if ended.code == 0 else 0)


def test_an_unknown_shape_is_refused_with_the_nearest_one(command: Callable[..., Ended]) -> None:
    """Exit code 2 and a guess."""
    ended = command("generate", "--shape", "dens", "--items", "5", "--env", "test")
    assert (ended.code, "Did you mean 'dense'?" in ended.said) == (2, True)


def test_the_answer_in_json_is_json(command: Callable[..., Ended], capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output holds nothing else."""
    said = command("generate", "--shape", "zipf", "--items", "5", "--env", "test", "--json").said
    assert json.loads(said[said.index("{") : said.rindex("}") + 1])["items"] == 5
