"""Every SQL file parses into named blocks, and DDL says which lock it takes."""

from __future__ import annotations

import re
import string
from importlib import resources
from pathlib import Path

import pytest
from psycopg import sql

from genonaut_lib.db import statements
from genonaut_lib.db.statements import Block, block, blocks, files
from genonaut_lib.migration.phases import PHASES

EVERY_BLOCK = [found for file in files() for found in blocks(file).values()]
PHASE_FILES = (set(files()) & set(PHASES)) | {"upkeep"}
DDL = re.compile(r"(create|alter|drop|truncate|vacuum|analyze|reindex)\b(?! temporary)", re.IGNORECASE)
"""What changes the schema or is run like it; a temporary table is the session's own."""


def text_of(file: str) -> str:
    """Return the text of an SQL file."""
    return resources.files("genonaut_lib.sql").joinpath(f"{file}.sql").read_text(encoding="utf-8")


def placeholders(found: Block) -> set[str]:
    """Return the names of a block's identifiers."""
    return {name for _, name, _, _ in string.Formatter().parse(found.text) if name is not None}


def label(found: Block) -> str:
    """Return how a block is called in the list of tests."""
    return f"{found.file}.{found.name}"


@pytest.mark.parametrize("file", files())
def test_every_name_line_opens_a_block(file: str) -> None:
    """A header with a slip in it would silently become part of the block above."""
    headers = [line for line in text_of(file).splitlines() if re.match(r"\s*--\s*name\b", line)]
    assert len(headers) == len(blocks(file)) > 0


@pytest.mark.parametrize("file", files())
def test_nothing_but_waivers_stands_before_the_first_block(file: str) -> None:
    """Text above the first header would be lost."""
    lines = text_of(file).partition("-- name: ")[0].split("\n")
    assert [line for line in lines if line and not line.startswith("-- lint: allow ")] == []


@pytest.mark.parametrize("line", ["-- lint: allow missing-lock", "-- lint: allow a-rule because ", "-- lint: skip"])
def test_a_waiver_gives_its_reason(line: str) -> None:
    """A statement is taken out of a rule for a reason that a reader can judge."""
    with pytest.raises(ValueError, match="because <reason>"):
        statements._parse("f", "n", f"{line}\nselect 1;")


def test_a_waiver_is_no_part_of_the_why() -> None:
    """What a plan shows of a block stays what it was."""
    found = statements._parse("f", "n", "-- lint: allow a-rule because of that\n-- The why.\nselect 1;")
    assert (found.why, found.waivers) == ("The why.", (statements.Waiver("a-rule", "of that"),))


@pytest.mark.parametrize("found", EVERY_BLOCK, ids=label)
def test_every_block_composes(found: Block) -> None:
    """Each placeholder is a name, so that filling all of them gives a statement."""
    names = placeholders(found)
    assert all(name.isidentifier() for name in names)
    assert found.sql(**dict.fromkeys(names, "something")).as_string(None)


@pytest.mark.parametrize("found", EVERY_BLOCK, ids=label)
def test_every_block_holds_a_statement_without_end_or_header(found: Block) -> None:
    """The text is what is sent: no comment before it, no semicolon after it."""
    assert found.text
    assert not found.text.startswith("--")
    assert not found.text.endswith(";")


@pytest.mark.parametrize("found", EVERY_BLOCK, ids=label)
def test_every_bound_value_is_named(found: Block) -> None:
    """Values are bound by name, some in binary; any other per cent sign is doubled."""
    rest = re.sub(r"%%|%\(\w+\)[sb]", "", found.text)
    assert "%" not in rest


@pytest.mark.parametrize("found", [found for found in EVERY_BLOCK if found.file in PHASE_FILES], ids=label)
def test_every_ddl_block_of_a_phase_names_its_lock(found: Block) -> None:
    """A plan shows the lock of each statement that changes the schema."""
    assert found.lock or not DDL.match(found.text)


def test_every_schema_phase_has_an_sql_file() -> None:
    """A phase's statements stand in the file of its name."""
    assert {"seed_tags", "expand_tag_columns", "create_content_tags", "attach_partitions"} <= PHASE_FILES


def test_block_header_is_taken_apart() -> None:
    """Lock and why leave the text and stand beside it."""
    found = statements._parse("file", "name", "\n-- lock: SHARE\n-- Why it is\n-- so.\nselect 1;\n\n")
    assert found == Block("file", "name", "select 1", "SHARE", "Why it is so.")


def test_comment_inside_a_statement_stays() -> None:
    """Only the comment lines at the head are the why."""
    assert statements._parse("f", "n", "select 1 -- one\n-- more\n;").text == "select 1 -- one\n-- more"


def test_unknown_block_is_a_key_error() -> None:
    """A slip in a block's name fails where it stands."""
    with pytest.raises(KeyError):
        block("catalog", "no_such_block")


def test_repeated_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of one name would hide each other."""
    (tmp_path / "twice.sql").write_text("-- name: a\nselect 1;\n\n-- name: a\nselect 2;\n")
    monkeypatch.setattr(statements.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="twice"):
        blocks.__wrapped__("twice")


def test_identifier_is_quoted() -> None:
    """A name with a quote in it stays one name."""
    text = Block("f", "n", "drop table {table}").sql(table='x"; drop table users; --').as_string(None)
    assert text == 'drop table "x""; drop table users; --"'


def test_dot_separates_schema_and_table() -> None:
    """A qualified name is quoted part by part."""
    assert Block("f", "n", "select {t}").sql(t="workbench.runs").as_string(None) == 'select "workbench"."runs"'


def test_composable_is_taken_as_it_is() -> None:
    """Literals and composed statements are not quoted again."""
    assert Block("f", "n", "select {v}").sql(v=sql.Literal("it's")).as_string(None) == "select 'it''s'"


def test_doubled_braces_are_braces() -> None:
    """An array literal is written with doubled braces."""
    assert Block("f", "n", "select '{{}}'").sql().as_string(None) == "select '{}'"
