"""Dirty data: every kind under every decision, the records of each, and random arrays against an oracle."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput, PolicyFixed
from genonaut_lib.migration import backfill, decisions
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases import backfill_tag_uuids as filling
from genonaut_lib.migration.phases.backfill_tag_uuids import BackfillTagUuids
from genonaut_lib.migration.phases.base import Phase
from genonaut_lib.migration.phases.seed_tags import SeedTags
from genonaut_lib.migration.policies import RULES, Decision, DirtyKind, parse_policy
from genonaut_lib.migration.runner import apply_plan, undo_phase, verify_phase
from genonaut_lib.vocabulary import ContentSource, canonical_tag_name, tag_id
from tests.factories import Gallery

ANIME = "anime"
NOBODYS = str(uuid.UUID(int=7))
LONG = "x" * 250


def run(phase: Phase, context: Context) -> None:
    apply_plan(phase, context, phase.plan(context))
    found = verify_phase(phase, context)
    assert found.passed, found


def migrate(context: Context, seed: str = "", fill: str = "", between: Callable[[], object] = lambda: None) -> None:
    """Run 10, 11 and 12 with the policies given; `between` is called after 10."""
    run(SeedTags(dirty=seed), context)
    between()
    run(PHASES["expand_tag_columns"], context)
    run(BackfillTagUuids(dirty=fill), context)


def names(connection: Connection, table: str = "content_items") -> list[list[str]]:
    """The tags of every item by name, in their order."""
    rows = connection.execute(
        "select array(select t.name from unnest(c.tags) with ordinality u (id, n) join tags t using (id) order by n)"
        f" from {table} c order by c.id"  # type: ignore[arg-type]
    )
    return [row[0] for row in rows]


def quarantine(connection: Connection) -> list[tuple[int, str, Any]]:
    """Position, reason and value of every element in quarantine."""
    found = decisions.quarantined(connection, None, 10_000)
    return [(one.position, one.reason, one.element) for one in found]


def repairs(connection: Connection) -> list[tuple[int, str, Any]]:
    rows = connection.execute(
        "select position, kind, element from workbench.repaired_tags order by content_source, content_id, position"
    )
    return list(rows)


CASES = [
    ("variant=map", ["Anime", ANIME], [ANIME], [], [(2, "duplicate", ANIME)]),
    ("variant=create", ["Anime", ANIME, " a  B"], ["Anime", ANIME, " a  B"], [], []),
    ("variant=quarantine", ["Anime", ANIME], [ANIME], [(1, "variant", "Anime")], []),
    ("uuid_string=map", [str(tag_id(ANIME)).upper(), NOBODYS], [ANIME], [(2, "unknown_uuid", NOBODYS)], []),
    ("uuid_string=create", [str(tag_id(ANIME)), NOBODYS], [ANIME, NOBODYS], [], []),
    ("uuid_string=quarantine", [str(tag_id(ANIME))], [], [(1, "uuid_string", str(tag_id(ANIME)))], []),
    ("not_a_string=quarantine", [42, "42", None], ["42"], [(1, "not_a_string", 42), (3, "not_a_string", None)], []),
    (
        "not_a_string=map",
        [42, True, 4.5, None, {"a": 1}, ["b"]],
        ["42", "true", "4.5"],
        [(4, "not_a_string", None), (5, "not_a_string", {"a": 1}), (6, "not_a_string", ["b"])],
        [],
    ),
    ("not_a_string=map", ["42", 42], ["42"], [], [(2, "duplicate", 42)]),
    ("blank=quarantine", ["", " \t"], [], [(1, "blank", ""), (2, "blank", " \t")], []),
    ("too_long=quarantine", [LONG], [], [(1, "too_long", LONG)], []),
    ("not_an_array=quarantine", "manga", [], [(1, "not_an_array", "manga")], []),
    ("not_an_array=map", "Manga", ["manga"], [], [(1, "not_an_array", "Manga")]),
    ("not_an_array=map", {"a": 1}, [], [(1, "not_an_array", {"a": 1})], []),
    ("not_an_array=map", "", [], [(1, "blank", "")], []),
    ("duplicate=map", [ANIME, "b", ANIME], [ANIME, "b"], [], [(3, "duplicate", ANIME)]),
    ("duplicate=quarantine", [ANIME, "b", "Anime"], [ANIME, "b"], [(3, "duplicate", "Anime")], []),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {str(case[1])[:20]}")
@pytest.mark.parametrize("source", list(ContentSource))
def test_each_decision_does_what_it_says(
    source: ContentSource, case: tuple[str, Any, Any, Any, Any], context: Context, gallery: Gallery
) -> None:
    """Tags written, elements in quarantine and elements repaired, for one kind under one decision."""
    policy, tags, wanted, kept, mended = case
    gallery.legacy_item([ANIME], source)
    gallery.legacy_item(tags, source)
    phase = RULES[DirtyKind(policy.partition("=")[0])].phase
    migrate(context, policy if phase == "seed_tags" else "", policy if phase == "backfill_tag_uuids" else "")
    assert names(context.connection, source.table) == [[ANIME], wanted]
    assert quarantine(context.connection) == kept
    assert repairs(context.connection) == mended


def test_the_cases_cover_every_decision_of_every_kind_decided_on_what_was_seeded() -> None:
    """A decision that is allowed is tried; unknown names have their own tests below."""
    tried = {tuple(policy.split("=")) for policy, *_ in CASES}
    allowed = {(kind, choice) for kind, rule in RULES.items() for choice in rule.allowed}
    assert allowed - tried == {("unknown_name", "create"), ("unknown_name", "quarantine")}


LATE = ["latecomer", "ANIME", ANIME, "", 7, "devel::late"]


@pytest.mark.parametrize(
    ("policy", "wanted", "reasons"),
    [
        ("unknown_name=create", ["latecomer", ANIME, "devel::late"], ["blank", "not_a_string"]),
        ("unknown_name=quarantine", [ANIME], ["unknown_name", "blank", "not_a_string", "unknown_name"]),
    ],
)
def test_what_was_written_after_seeding_is_judged_like_the_rest(
    policy: str, wanted: list[str], reasons: list[str], context: Context, gallery: Gallery
) -> None:
    """A late spelling of a known tag is mapped; only a name that would need a tag depends on the policy."""
    gallery.legacy_item([ANIME])
    migrate(context, "", policy, between=lambda: gallery.legacy_item(LATE))
    assert names(context.connection) == [[ANIME], wanted]
    assert [reason for _, reason, _ in quarantine(context.connection)] == reasons


def test_a_late_name_is_forgotten_by_undo_and_can_be_decided_anew(context: Context, gallery: Gallery) -> None:
    """Create, undo, quarantine: the second policy takes effect as if the first had never been."""
    gallery.legacy_item([ANIME])
    migrate(context, between=lambda: gallery.legacy_item(["Late", "late", ANIME]))
    assert names(context.connection)[1] == ["late", ANIME]
    undo_phase(PHASES["backfill_tag_uuids"], context)
    assert quarantine(context.connection) == repairs(context.connection) == []
    run(BackfillTagUuids(dirty="unknown_name=quarantine"), context)
    assert names(context.connection)[1] == [ANIME]
    assert [found[:2] for found in quarantine(context.connection)] == [(1, "unknown_name"), (2, "unknown_name")]


@pytest.mark.parametrize("stop", ["settle_late", "run_backfill", "forget"])
def test_late_spellings_survive_a_stop_at_any_step(
    stop: str, context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends between judging, releasing and mapping again leaves work that the next one ends."""
    gallery.legacy_item([ANIME])
    run(SeedTags(), context)
    gallery.legacy_item(["late", ANIME, "late"])
    run(PHASES["expand_tag_columns"], context)
    calls = count()
    target = {"settle_late": filling.spellings, "run_backfill": filling, "forget": backfill}[stop]
    real = getattr(target, stop)

    def ends(*arguments: Any) -> Any:
        if next(calls) == {"settle_late": 0, "run_backfill": 2, "forget": 1}[stop]:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(target, stop, ends)
        with pytest.raises(KeyboardInterrupt):
            run(BackfillTagUuids(), context)
    run(BackfillTagUuids(), context)
    assert names(context.connection) == [[ANIME], ["late", ANIME]]
    assert repairs(context.connection) == [(3, "duplicate", "late")]


def test_a_row_written_before_its_late_names_were_judged_keeps_what_was_written(
    context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releasing a row for its late name would undo what somebody wrote meanwhile."""
    gallery.legacy_item([ANIME])
    run(SeedTags(), context)
    late = gallery.legacy_item(["late"])
    run(PHASES["expand_tag_columns"], context)
    real = filling.spellings.settle_late

    def settle(connection: Connection, *rest: Any) -> int:
        connection.execute("update content_items set tags = %s where id = %s", [[tag_id(ANIME)], late])
        return real(connection, *rest)

    monkeypatch.setattr(filling.spellings, "settle_late", settle)
    run(BackfillTagUuids(), context)
    assert names(context.connection) == [[ANIME], [ANIME]]
    assert quarantine(context.connection) == [(1, "unknown_name", "late")]


@pytest.mark.parametrize(
    ("phase", "text", "says"),
    [
        ("seed_tags", "blank=create", "Allowed for blank: quarantine"),
        ("seed_tags", "not_a_string=create", "Allowed for not_a_string: quarantine, map"),
        ("backfill_tag_uuids", "duplicate=create", "Allowed for duplicate: map, quarantine"),
        ("seed_tags", "varient=map", "Did you mean 'variant'"),
        ("seed_tags", "duplicate=map", "backfill_tag_uuids"),
        ("backfill_tag_uuids", "variant=create", "seed_tags"),
        ("seed_tags", "variant", "dirty="),
        ("seed_tags", "variant=map,variant=create", "once"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_what_can(phase: str, text: str, says: str) -> None:
    """The hint names what is allowed, or where the kind is decided."""
    with pytest.raises(InvalidInput) as refused:
        parse_policy(text, phase)
    assert says in str(refused.value)


def test_another_policy_for_the_seeding_takes_effect_before_the_swap(context: Context, gallery: Gallery) -> None:
    """The tags are made anew: none of the first policy is left, and the plan says that it will be so."""
    gallery.legacy_item(["Anime", ANIME])
    gallery.legacy_item("bare")
    run(SeedTags(dirty="variant=create, not_an_array=map"), context)
    plan = SeedTags().plan(context)
    assert "data:forget_tags" in [step.id for step in plan.actions]
    run(SeedTags(), context)
    assert context.connection.execute("select tag_no, name from tags").fetchall() == [(1, ANIME)]
    aliases = context.connection.execute("select spelling from tag_aliases").fetchall()
    assert set(aliases) == {(ANIME,), ("Anime",)}
    assert "data:forget_tags" not in [step.id for step in SeedTags().plan(context).actions]


def test_another_policy_that_comes_too_late_is_refused(context: Context, gallery: Gallery) -> None:
    """What was acted upon cannot be decided differently without an undo; saying the same again is fine."""
    gallery.legacy_item(["Anime", ANIME])
    migrate(context)
    with pytest.raises(PolicyFixed, match="expand_tag_columns"):
        SeedTags(dirty="variant=create").plan(context)
    with pytest.raises(PolicyFixed, match="backfill_tag_uuids"):
        BackfillTagUuids(dirty="duplicate=quarantine").plan(context)
    assert not SeedTags(dirty="variant=map").plan(context).actions
    assert not BackfillTagUuids(dirty="duplicate=map").plan(context).actions


def test_an_element_that_is_accounted_for_nowhere_fails_the_verification(context: Context, gallery: Gallery) -> None:
    """Elements found = tags + doubles + quarantine, in each row: a lost record of a double is a mismatch."""
    gallery.legacy_item([ANIME, ANIME])
    migrate(context)
    context.connection.execute("delete from workbench.repaired_tags")
    found = BackfillTagUuids().verify(context)
    assert (found.passed, found.figures["items out of balance"]) == (False, 1)


def test_the_balance_holds_when_an_item_is_written_afterwards(context: Context, gallery: Gallery) -> None:
    """An application that retags a repaired item does not make the verification fail."""
    item = gallery.legacy_item([ANIME, ANIME, "b", ""])
    migrate(context)
    context.connection.execute("update content_items set tags = %s where id = %s", [[tag_id("b")], item])
    found = BackfillTagUuids().verify(context)
    assert found.passed
    assert found.figures["of these in items changed since"] == 1


def test_every_decision_is_counted(context: Context, gallery: Gallery) -> None:
    """One row a kind and decision, with what the seeding counted and what the backfill wrote down."""
    gallery.legacy_item([ANIME, "Anime", "Anime", ""])
    gallery.legacy_item(["", NOBODYS], ContentSource.AUTO)
    migrate(context)
    counts = decisions.summary(context.connection)
    found = [(one.kind, one.decision, one.counted, one.elements, one.items) for one in counts]
    assert found == [
        ("blank", "quarantine", 2, 2, 2), ("duplicate", "map", 0, 2, 1), ("unknown_uuid", "quarantine", 1, 1, 1),
        ("variant", "map", 2, None, None),
    ]  # fmt: skip


def test_the_command_shows_counts_and_places(
    context: Context, gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    """`genonaut decisions` counts; with --reason it lists; a reason without elements is refused."""
    item = gallery.legacy_item([ANIME, "", "  "])
    migrate(context)
    assert run_guarded(["decisions", "--json"]) == 0
    assert [row["kind"] for row in json.loads(capsys.readouterr().out)] == ["blank"]
    assert run_guarded(["decisions", "--reason", "blank", "--limit", "1", "--json"]) == 0
    listed = [{"source": "regular", "content_id": item, "position": 2, "reason": "blank", "element": ""}]
    assert json.loads(capsys.readouterr().out) == listed
    assert run_guarded(["decisions", "--reason", "blanc"]) == 2
    assert "'blank'" in capsys.readouterr().err


@dataclass
class Oracle:
    """What the migration should make of legacy columns, said in the plainest way."""

    choices: dict[str, str]
    tags: list[list[uuid.UUID]] = field(default_factory=list)
    quarantine: list[tuple[int, Any]] = field(default_factory=list)

    def meaning(self, element: Any, names: set[str]) -> uuid.UUID | None:
        if isinstance(element, bool | int) and self.choices["not_a_string"] == "map":
            return tag_id(json.dumps(element))
        if not isinstance(element, str) or not element.strip() or len(element) > 200:
            return None
        canonical = canonical_tag_name(element)
        if len(canonical) == 36 and canonical.count("-") == 4:
            known = {tag_id(name) for name in names}
            meant = uuid.UUID(canonical)
            if self.choices["uuid_string"] == "create" and meant not in known:
                return tag_id(canonical)
            return meant if meant in known and self.choices["uuid_string"] != "quarantine" else None
        if canonical != element and self.choices["variant"] != "map":
            return tag_id(element) if self.choices["variant"] == "create" else None
        return tag_id(canonical)

    def names(self, columns: list[Any]) -> set[str]:
        """The names that make tags; UUID strings are judged after them."""
        found = set()
        for element in (element for column in columns for element in self.elements(column)):
            if isinstance(element, str) and self.meaning(element, set()) is not None and len(element) != 36:
                kept = self.choices["variant"] == "create"
                found.add(element if kept else canonical_tag_name(element))
            elif not isinstance(element, str) and self.meaning(element, set()) is not None:
                found.add(json.dumps(element))
        return found

    def elements(self, column: Any) -> list[Any]:
        if isinstance(column, list):
            return column
        return [column] if isinstance(column, str) and self.choices["not_an_array"] == "map" else []

    def read(self, columns: list[Any]) -> None:
        known = self.names(columns)
        for column in columns:
            found: list[uuid.UUID] = []
            for position, element in enumerate(self.elements(column), 1):
                meant = self.meaning(element, known)
                if meant is None or (meant in found and self.choices["duplicate"] == "quarantine"):
                    self.quarantine.append((position, element))
                elif meant not in found:
                    found.append(meant)
            if column is not None and not isinstance(column, list) and not self.elements(column):
                self.quarantine.append((1, column))
            self.tags.append(found)


NAMES = ["a", "A", " a", "b", "é", "e\u0301", "É", "42", "true", "{}", "", "  ", LONG]
UUIDS = [NOBODYS, str(tag_id("a")), str(tag_id("b")).upper()]
NOT_STRINGS = [42, 0, True, False, None, {}, {"a": 1}, ["a"], []]
ARRAYS = st.lists(st.sampled_from([*NAMES, *UUIDS, *NOT_STRINGS]), max_size=8)
COLUMNS = st.lists(
    st.one_of(ARRAYS, st.none(), st.sampled_from(["a", "Bare", "", 7, {"a": 1}])), min_size=1, max_size=12
)
POLICIES = [
    ("", ""),
    ("variant=create, uuid_string=create, not_a_string=map, not_an_array=map", "duplicate=quarantine"),
    ("variant=quarantine, uuid_string=quarantine", "duplicate=map"),
    ("not_a_string=map, uuid_string=create", "duplicate=quarantine"),
]


@contextmanager
def emptied(context: Context) -> Iterator[None]:
    """Take the migration back after one example, and its content with it."""
    try:
        yield
    finally:
        for name in ("backfill_tag_uuids", "expand_tag_columns", "seed_tags"):
            undo_phase(PHASES[name], context)
        context.connection.execute("delete from content_items")


@pytest.mark.parametrize(("seed", "fill"), POLICIES)
def test_random_dirty_columns_become_what_the_oracle_says(
    seed: str, fill: str, context: Context, gallery: Gallery
) -> None:
    """Tags in order, and every element in quarantine with its place, for the default and other policies."""
    choices = {kind.value: rule.default.value for kind, rule in RULES.items()}
    for phase, text in (("seed_tags", seed), ("backfill_tag_uuids", fill)):
        choices |= {kind.value: decision.value for kind, decision in parse_policy(text, phase).items()}

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(columns=COLUMNS)
    def compare(columns: list[Any]) -> None:
        for column in columns:
            gallery.legacy_item(column)
        with emptied(context):
            migrate(context, seed, fill)
            oracle = Oracle(choices)
            oracle.read(columns)
            rows = context.connection.execute("select tags from content_items order by id").fetchall()
            assert [row[0] for row in rows] == oracle.tags
            assert [(place, value) for place, _, value in quarantine(context.connection)] == oracle.quarantine

    compare()


def test_decisions_of_a_policy_are_what_the_ledger_holds(context: Context, gallery: Gallery) -> None:
    """The backfill reads what the seeding decided; nobody has to say it twice."""
    gallery.legacy_item([ANIME])
    migrate(context, "not_an_array=map", "duplicate=quarantine")
    assert decisions.in_force(context.connection, "seed_tags")[DirtyKind.NOT_AN_ARRAY] is Decision.MAP
    assert decisions.in_force(context.connection, "backfill_tag_uuids")[DirtyKind.DUPLICATE] is Decision.QUARANTINE


def test_a_value_is_not_taken_for_the_string_that_looks_like_it(context: Context, gallery: Gallery) -> None:
    """The quick look sees texts only: a number alone in its array is no tag though its text is one."""
    for tags in (["42", "true", "{}", "[]"], [42], [True], [{}], [[]]):
        gallery.legacy_item(tags)
    migrate(context)
    assert names(context.connection) == [["42", "true", "{}", "[]"], [], [], [], []]
    assert [value for _, _, value in quarantine(context.connection)] == [42, True, {}, []]
