"""What a lock holds up, from the text of a statement's lock."""

from __future__ import annotations

from itertools import product

import pytest

from genonaut_lib.db.statements import blocks as blocks_of
from genonaut_lib.db.statements import files
from genonaut_lib.migration.lock_modes import MODES, blocks, conflicts, strongest

LOCKS = sorted({found.lock for file in files() for found in blocks_of(file).values() if found.lock})


@pytest.mark.parametrize("lock", LOCKS)
def test_every_stated_lock_begins_with_a_mode_or_none(lock: str) -> None:
    """A slip in a lock's name would be shown as a lock that holds up nothing."""
    assert lock.startswith((*MODES, "none"))
    assert (strongest(lock) is None) is lock.startswith("none")


@pytest.mark.parametrize(
    ("lock", "mode"),
    [
        ("SHARE UPDATE EXCLUSIVE on the parent, ACCESS EXCLUSIVE on the table", "ACCESS EXCLUSIVE"),
        ("ROW EXCLUSIVE on content_tags, row share of one batch", "ROW EXCLUSIVE"),
        ("SHARE ROW EXCLUSIVE on tags", "SHARE ROW EXCLUSIVE"),
        ("SHARE (a table)", "SHARE"),
        ("none (new table)", None),
        ("", None),
    ],
)
def test_the_strongest_mode_counts(lock: str, mode: str | None) -> None:
    """A long name is not taken for the short one inside it."""
    assert strongest(lock) == mode


@pytest.mark.parametrize(
    ("lock", "held"),
    [
        ("ACCESS EXCLUSIVE", "reads and writes"),
        ("EXCLUSIVE", "SELECT FOR UPDATE, writes, VACUUM and DDL; reads go on"),
        ("SHARE ROW EXCLUSIVE", "writes, VACUUM and DDL; reads go on"),
        ("SHARE", "writes, VACUUM and DDL; reads go on"),
        ("SHARE UPDATE EXCLUSIVE", "only VACUUM and DDL"),
        ("ROW EXCLUSIVE", "only DDL"),
        ("ACCESS SHARE", "only DDL"),
        ("SHARE on tags (not in use yet)", "nothing"),
        ("none (function)", "nothing"),
    ],
)
def test_a_lock_says_what_it_holds_up(lock: str, held: str) -> None:
    """Words for who must decide whether to run it now."""
    assert blocks(lock) == held


def test_conflicts_go_both_ways() -> None:
    """Whoever excludes is excluded."""
    assert all(conflicts(one, other) is conflicts(other, one) for one, other in product(MODES, MODES))
