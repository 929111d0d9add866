"""The mutants fit the source as it is, and are judged truly; `make mutants` runs them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.catalogue import BY_NAME, GROUPS
from tests.mutants.mutant import ROOT, Mutant, PatchDoesNotFit
from tests.mutants.running import Verdict, copied, judge, run_tests

ALWAYS = (
    "an element that became no tag is written down nowhere",
    "a refusal says the secret",
    "the bulk load reads every row in every batch",
    "the UUID backfill fills every row in its first batch",
    "the UUID backfill keeps what it could not map",
)
"""One of SQL and one of Python that are fast, and three lost WHEREs that turn a notebook red; `make mutants` runs
the others."""
SMALL = BY_NAME["a notebook without its verify cell"]


@pytest.mark.parametrize("mutant", BY_NAME.values(), ids=BY_NAME)
def test_a_mutant_fits_the_source_as_it_is(mutant: Mutant) -> None:
    """Whoever changes what a patch looks for brings the patch along, and the tests it names are there."""
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.applied(text) != text
    for test in mutant.tests:
        file, _, rest = test.partition("::")
        assert f"def {rest.partition('[')[0]}" in (ROOT / file).read_text(encoding="utf-8")


def test_mutants_are_told_apart_by_name() -> None:
    """A name says what is broken, once."""
    assert sum(map(len, GROUPS.values())) == len(BY_NAME)


def test_a_patch_that_no_longer_fits_is_an_error() -> None:
    """It would else be a mutant that nothing has been changed in."""
    text = (ROOT / SMALL.file).read_text(encoding="utf-8")
    for broken in (replace(SMALL, find="no such text"), replace(SMALL, find="run"), replace(SMALL, block="none")):
        with pytest.raises(PatchDoesNotFit, match="a notebook without its verify cell"):
            broken.applied(text)


def test_a_patch_stays_within_its_block() -> None:
    """The same text in another block is another statement."""
    text = "-- name: one\nselect 1;\n\n-- name: two\nselect 1;\n"
    mutant = replace(SMALL, block="one", find="select 1", replace="select 2")
    assert mutant.applied(text) == "-- name: one\nselect 2;\n\n-- name: two\nselect 1;\n"
    assert replace(mutant, block="two").applied(text) == "-- name: one\nselect 1;\n\n-- name: two\nselect 2;\n"


@pytest.mark.parametrize("name", ALWAYS)
def test_a_mutant_is_killed(name: str, admin_url: str) -> None:
    """The tests it names turn red."""
    result = judge(BY_NAME[name], admin_url)
    assert result.verdict is Verdict.KILLED, result.said


def test_a_change_that_breaks_nothing_survives() -> None:
    """Red is the mutant's doing, not the copy's."""
    harmless = replace(SMALL, find='"run.verify()"', replace='"run.verify() "')
    result = judge(harmless, "")
    assert result.verdict is Verdict.SURVIVED, result.said


def test_tests_that_do_not_begin_tell_nothing(tmp_path: Path) -> None:
    """A selection that is not there, or a syntax error, kills no mutant."""
    result = run_tests(tmp_path, ["test_not_there.py"], "")
    assert result.verdict is Verdict.BROKEN


def test_tests_over_their_time_are_killed(tmp_path: Path) -> None:
    """A mutant that makes them wait for ever does not hold up the others."""
    (tmp_path / "test_waits.py").write_text("import time\n\n\ndef test_waits():\n    time.sleep(600)\n")
    result = run_tests(tmp_path, ["test_waits.py"], "", timeout_s=3)
    assert result.verdict is Verdict.TIMEOUT


def test_a_copy_has_no_records_and_no_servers() -> None:
    """Neither the checkout's nor another mutant's."""
    with copied() as root:
        assert (root / "genonaut_lib" / "sql").is_dir()
        assert not [path for path in (".git", ".venv", ".genonaut", "outputs") if (root / path).exists()]
