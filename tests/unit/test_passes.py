"""What CI's second pass leaves out is there to be left out, and the order of files names files."""

from __future__ import annotations

import pytest

from genonaut_lib.settings import project_root
from tests.passes import LONGEST, SERVERS_OF_THEIR_OWN, asked_of_another_server, place_of


@pytest.mark.parametrize("beginning", SERVERS_OF_THEIR_OWN)
def test_what_is_left_out_is_there(beginning: str) -> None:
    """A test that was moved or renamed would otherwise be asked of both servers without anybody's wish."""
    file, _, name = beginning.partition("::")
    assert f"def {name}" in (project_root() / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", LONGEST)
def test_the_longest_files_are_there(file: str) -> None:
    """They begin first, in their order."""
    assert (project_root() / file).is_file()
    assert place_of(f"{file}::test_this") < place_of("tests/unit/test_passes.py::test_that")


def test_what_is_not_named_is_asked_of_both_servers() -> None:
    """Nothing is left out by chance."""
    assert asked_of_another_server("tests/migration/test_phases.py::test_this[that]")
    assert not asked_of_another_server("tests/integration/test_embedded.py::test_this")
