"""The SQL lint: each rule names what it forbids and passes what it allows; the repository itself is clean."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from genonaut_lib.db.statements import Block, Waiver
from genonaut_lib.migration.plan import action
from tests.lint import __main__ as entry
from tests.lint import squawk
from tests.lint.findings import Finding, Place
from tests.lint.report import WHOLE_FILE, judge, lint, python_waivers
from tests.lint.rules import RULES
from tests.lint.scripts import Script, script_of, scripts
from tests.lint.sources import SOURCE_RULES, Module

ROOT = Path(__file__).parents[2]
ADD = "alter table content_items add constraint c check (source_type = 'items') not valid"
VALIDATE = "alter table content_items validate constraint c"
ATTACH = "alter table content_items_all attach partition content_items for values in ('items')"
DROP = "alter table content_items drop constraint c"
OTHER = "alter table content_items_auto validate constraint c"

BAD_SQL = [
    ("unreadable", ["selct 1"]),
    ("attach-without-proof", [ATTACH]),
    ("attach-without-proof", [ADD, ATTACH]),
    ("attach-without-proof", [VALIDATE, ATTACH]),
    ("attach-without-proof", [ATTACH, ADD, VALIDATE]),
    ("attach-without-proof", [ADD, VALIDATE, DROP, ATTACH]),
    ("attach-without-proof", [ADD, OTHER, ATTACH]),
    ("attach-without-proof", [ADD.replace("'items'", "'auto'"), VALIDATE, ATTACH]),
    ("unbounded-write", ["update content_items set tags = null"]),
    ("unbounded-write", ["delete from public.content_tags where content_source = 'regular'"]),
    ("unbounded-write", ["update content_items set tags = null where tags is not null or id <= 7"]),
    ("unbounded-write", ["delete from content_items where id > %(after)s"]),
    ("unbounded-write", ["delete from content_items where id > 1 and 2 < id"]),
    ("unbounded-write", ["delete from content_items where created_at < now()"]),
    ("unbounded-write", ["with gone as (delete from tags returning id) select count(*) from gone"]),
    ("unbounded-write", ["truncate content_items_auto, users"]),
    ("missing-lock", ["alter table content_items add column x integer"]),
    ("missing-lock", ["select 1; drop index i"]),
    ("missing-lock", ["vacuum content_items"]),
    ("concurrently-in-transaction", ["create table t (a integer); create index concurrently i on t (a)"]),
    ("concurrently-in-transaction", ["refresh materialized view concurrently m"]),
    ("concurrently-in-transaction", ["reindex (concurrently) index i"]),
    ("validated-with-add", [f"{ADD}; {VALIDATE}"]),
    ("validated-with-add", ["alter table t add constraint c check (a > 0) not valid, validate constraint c"]),
    ("session-setting", ["set lock_timeout = '5s'"]),
    ("session-setting", ["select set_config('lock_timeout', '5s', false)"]),
    ("session-setting", ["select pg_catalog.set_config('jit', 'off', %(local)s)"]),
]
GOOD_SQL = [
    ("unreadable", ["select %(a)s, %s, 5 %% 3"]),
    ("attach-without-proof", [ADD, VALIDATE, "analyze content_items", ATTACH, DROP]),
    ("attach-without-proof", ["create table content_items (a text)", ATTACH]),
    ("unbounded-write", ["update content_items c set tags = null where c.id > %(after)s and c.id <= %(upto)s"]),
    ("unbounded-write", ["update content_items c set tags = '{}' from batch b where c.id = b.id and c.tags is null"]),
    ("unbounded-write", ["delete from content_tags where content_id = any(%(ids)s) and content_source = 'auto'"]),
    ("unbounded-write", ["delete from content_tags where content_id in (select id from gone)"]),
    ("unbounded-write", ["delete from content_tags where (content_id, tag_id) = (%s, %s)"]),
    ("unbounded-write", ["delete from tags where id between %s and %s"]),
    ("unbounded-write", ["delete from workbench.unmapped_tags", "truncate drawn_items"]),
    ("unbounded-write", ["delete from workbench.tags"]),
    ("missing-lock", ["create temporary table t (a integer)", "create temporary table u as select 1", "analyze users"]),
    ("missing-lock", ["insert into users (username) values ('a')", "lock table tags in share mode"]),
    ("concurrently-in-transaction", ["create index concurrently if not exists i on t (a)"]),
    ("concurrently-in-transaction", ["vacuum (analyze) t", "analyze t"]),
    ("concurrently-in-transaction", ["alter table content_items_all detach partition content_items concurrently"]),
    ("validated-with-add", [ADD, VALIDATE]),
    ("validated-with-add", [f"{ADD}; {VALIDATE.replace('constraint c', 'constraint d')}"]),
    ("session-setting", ["set local lock_timeout = '5s'", "select set_config('a.b', 'c', true)", "reset jit"]),
    ("session-setting", ["create function f() returns int language sql set search_path = public as 'select 1'"]),
]
BAD_PYTHON = [
    ("ddl-outside-helper", "c.execute('drop table content_tags')"),
    ("ddl-outside-helper", "c.execute(sql.SQL('alter table {} add a int').format(x))".replace("{}", "t")),
    ("ddl-outside-helper", "c.execute(block('attach_partitions', 'attach').sql(table='t'))"),
    ("ddl-outside-helper", "F = 'attach_partitions'\ndef f(c):\n    s = block(F, 'detach')\n    c.execute(s.sql())"),
    ("ddl-outside-helper", "def f(c):\n  for n in ('create_tags', 'x'):\n    c.execute(block('seed_tags', n).sql())"),
    ("ddl-outside-helper", "def f(c):\n  a, b = 1, block('drop_legacy_tags', 'set_not_null').sql()\n  c.execute(b)"),
    ("session-setting", "c.execute(\"select set_config('jit', %s, false)\", ['off'])"),
    ("session-setting", 'c.execute("set jit = off")'),
]  # fmt: skip
GOOD_PYTHON = [
    ("ddl-outside-helper", "run_ddl(c, block('attach_partitions', 'attach').sql(table='t'), settings)"),
    ("ddl-outside-helper", "def f():\n    s = block('attach_partitions', 'detach')\n    return action('x', s)"),
    ("ddl-outside-helper", "c.execute(block('attach_partitions', 'rows_moved').sql(table='t'))"),
    ("ddl-outside-helper", "c.execute('select 1 from drop_table')\nprint('drop table t')"),
    ("session-setting", "c.execute(\"select set_config('jit', %s, true)\", ['off'])"),
    ("session-setting", "c.execute(block('session', 'settle').sql())"),
]
BY_NAME = {rule.name: rule for rule in RULES}
PYTHON_BY_NAME = {rule.name: rule for rule in SOURCE_RULES}
SQUAWK_BAD = [
    ("require-concurrent-index-creation", "create index i on content_items (title)"),
    ("constraint-missing-not-valid", "alter table content_items add constraint c check (id > 0)"),
    ("adding-not-nullable-field", "alter table content_items alter column title set not null"),
    ("changing-column-type", "alter table content_items alter column title type text"),
    ("ban-drop-column", "alter table content_items drop column title"),
]


def script(texts: list[str], *, lock: str = "", undoes: bool = False) -> Script:
    """Return the script of statements written out, each an action of its own."""
    steps = [
        action(f"step {number}", Block("f", "n", text.replace("{", "{{").replace("}", "}}"), lock))
        for number, text in enumerate(texts)
    ]
    return script_of("a plan", steps, undoes=undoes)


def rules_broken(texts: list[str], **options: bool) -> set[str]:
    """Return the rules of squawk that statements break."""
    return {found.rule for found in squawk.findings([script(texts, lock="some", **options)])}


@pytest.mark.parametrize(("rule", "texts"), BAD_SQL)
def test_a_bad_script_is_named(rule: str, texts: list[str]) -> None:
    """The rule points at the statement, and says how to mend it."""
    found = list(BY_NAME[rule].findings(script(texts)))
    assert found
    assert {(one.rule, one.place.file) for one in found} == {(rule, "genonaut_lib/sql/f.sql")}
    assert all(one.mend in str(one) and one.place.step in str(one) for one in found)


@pytest.mark.parametrize(("rule", "texts"), GOOD_SQL)
def test_a_good_script_passes(rule: str, texts: list[str]) -> None:
    """What the rule allows is not complained about."""
    assert list(BY_NAME[rule].findings(script(texts))) == []


def test_ddl_with_a_lock_line_passes() -> None:
    """The header is what the rule asks for."""
    assert list(BY_NAME["missing-lock"].findings(script(["drop index i"], lock="ACCESS EXCLUSIVE"))) == []


@pytest.mark.parametrize(("rule", "text"), BAD_PYTHON)
def test_bad_python_is_named(rule: str, text: str) -> None:
    """A statement sent past the helper is found where it is sent."""
    found = list(PYTHON_BY_NAME[rule].findings(Module("genonaut_lib/x.py", text)))
    assert len(found) == 1
    assert "genonaut_lib/x.py" in str(found[0])


@pytest.mark.parametrize(("rule", "text"), GOOD_PYTHON)
def test_good_python_passes(rule: str, text: str) -> None:
    """Data statements, and DDL that goes through the helper, are not complained about."""
    assert list(PYTHON_BY_NAME[rule].findings(Module("genonaut_lib/x.py", text))) == []


@pytest.mark.parametrize("line", ["op.add_column('t', c)", "op.execute('select 1')"])
def test_a_revision_calls_no_operation_of_alembic(line: str) -> None:
    """A revision is thin: what it does stands in a phase."""
    rule = PYTHON_BY_NAME["ddl-outside-helper"]
    assert [found.statement for found in rule.findings(Module("migrations/versions/0009_x.py", line))]
    assert not list(rule.findings(Module("migrations/versions/0009_x.py", "forward('seed_tags')")))


def test_every_rule_has_a_bad_and_a_good_fixture() -> None:
    """A rule without a fixture may have stopped working."""
    for rules, bad, good in ((BY_NAME, BAD_SQL, GOOD_SQL), (PYTHON_BY_NAME, BAD_PYTHON, GOOD_PYTHON)):
        assert set(rules) == {name for name, _ in bad} == {name for name, _ in good}


@pytest.mark.parametrize(("rule", "text"), SQUAWK_BAD)
def test_squawk_is_asked(rule: str, text: str) -> None:
    """The traps that squawk knows are found in a plan."""
    assert rule in rules_broken([text])


def test_squawk_says_which_step_of_which_block_it_means() -> None:
    """A finding is carried back from its line to the action."""
    found = list(squawk.findings([script(["select 1,\n2", "alter table t\ndrop column a", "select 3"], lock="some")]))
    assert [(one.rule, one.place.step) for one in found] == [("ban-drop-column", "step 1")]


def test_a_new_table_may_be_indexed_plainly() -> None:
    """Nobody waits for a table that the same plan makes; an older one needs CONCURRENTLY."""
    new = "create table fresh (a integer)"
    assert rules_broken([new, "create index i on fresh (a)"]) == set()
    assert rules_broken([new, "create index i on stale (a)"]) == {squawk.NEW_TABLE_INDEX}


def test_an_undo_may_drop_what_was_made() -> None:
    """Forward it is a finding, backward it is the purpose."""
    assert rules_broken(["drop table content_tags"]) == {"ban-drop-table"}
    assert rules_broken(["drop table content_tags"], undoes=True) == set()


def test_waivers_speak_for_their_block_or_their_file_only() -> None:
    """A finding elsewhere, or of another rule, stays."""
    here = Finding("r", Place("f.sql", "b", "s"), "select 1", "p", "m")
    others = [replace(here, place=Place("f.sql", "c", "s")), replace(here, rule="q")]
    assert judge([here, *others], {("f.sql", "b"): (Waiver("r", "so"),)}) == others
    assert judge([here, *others], {("f.sql", WHOLE_FILE): (Waiver("r", "so"),)}) == others[1:]


@pytest.mark.parametrize(
    "text",
    [
        "c.execute('drop table t')  # lint: allow ddl-outside-helper because it is ours",
        "# lint: allow ddl-outside-helper because it is ours\n# And so on.\nc.execute('drop table t')",
        "c.execute(block('attach_partitions', 'detach').sql())  # lint: allow ddl-outside-helper because it is ours",
        "c.execute(\n    'drop table t'\n)\n",
    ],
)
def test_a_line_of_python_can_be_waived(text: str) -> None:
    """On the line itself or above it, with a reason; without one the finding stands."""
    module = Module("genonaut_lib/x.py", text)
    found = list(PYTHON_BY_NAME["ddl-outside-helper"].findings(module))
    assert len(found) == 1
    assert bool(judge(found, python_waivers([module]))) is ("because" not in text)


def test_a_waiver_of_python_that_nothing_needs_is_a_finding() -> None:
    """Neither does one speak for another line, or another rule."""
    text = "# lint: allow session-setting because so\nc.execute('drop table t')\n\nc.execute('drop table u')"
    module = Module("genonaut_lib/x.py", text)
    found = list(PYTHON_BY_NAME["ddl-outside-helper"].findings(module))
    left = judge(found, python_waivers([module]))
    assert [one.rule for one in left] == ["ddl-outside-helper", "ddl-outside-helper", "unused-waiver"]


def test_a_waiver_that_nothing_needs_is_a_finding() -> None:
    """What was mended takes its excuse along."""
    found = judge([], {("f.sql", "b"): (Waiver("r", "so"),)})
    assert [(one.rule, one.place.block) for one in found] == [("unused-waiver", "b")]


def test_every_action_of_every_phase_is_linted() -> None:
    """Nothing that is executed stays unread: the plans both ways, the revisions' files, all other blocks."""
    names = {found.name for found in scripts()}
    assert {
        "attach_partitions",
        "attach_partitions.undo",
        "legacy",
        "ledger_schema_undo",
        "backfill_tag_uuids",
    } <= names


def test_the_whole_repository_passes() -> None:
    """Every statement keeps every rule, or says why not."""
    assert [str(found) for found in lint()] == []


def test_the_command_ends_with_one_and_says_what_to_mend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make check` stops, and whoever reads it knows the file, the rule and the way out."""
    finding = Finding("r", Place("f.sql", "b", "s"), "select 1", "is wrong", "Mend it.")
    monkeypatch.setattr(entry, "lint", lambda: [finding])
    assert entry.main() == 1
    printed = capsys.readouterr().out
    assert "f.sql block b (s): r: is wrong" in printed
    assert "-- lint: allow" in printed


def test_the_module_runs_as_make_check_calls_it() -> None:
    """`python -m tests.lint` ends with 0 on this repository."""
    command = [sys.executable, "-m", "tests.lint"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "SQL lint: nothing found.\n")
