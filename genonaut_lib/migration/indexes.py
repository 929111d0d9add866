"""Building an index on a table that is in use, so that a build killed half-way is found and made good."""

from __future__ import annotations

from genonaut_lib.db.statements import Block, block
from genonaut_lib.migration.plan import Action, action, probe


def build_index(create: Block, table: str, index: str) -> list[Action]:
    """Return the actions that give `table` a valid index called `index`.

    `create` is a CREATE INDEX CONCURRENTLY IF NOT EXISTS that takes {index} and {table}. A killed one
    leaves an invalid index of its name, which writers pay for and no reader uses, and which IF NOT
    EXISTS takes for the real one: it is dropped before the next try.
    """
    no_ruin = probe("has_invalid_index", index, wanted=False)
    there = probe("has_valid_index", index)
    return [
        action(f"clear:{index}", block("upkeep", "drop_index"), done=no_ruin, index=index),
        action(f"create:{index}", create, done=there, table=table, index=index),
    ]
