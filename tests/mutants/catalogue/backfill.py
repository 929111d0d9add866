"""Mutants of the backfill engine and of the backfill from names to ids."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ENGINE = "genonaut_lib/sql/backfill.sql"
UUIDS = "genonaut_lib/sql/backfill_tag_uuids.sql"
WORKER = "genonaut_lib/migration/worker.py"
ENGINE_TESTS = "tests/integration/test_backfill.py"
DIRTY_TESTS = "tests/migration/test_dirty_data.py"
NOTEBOOK = "tests/mutants/lone_notebook.py::test_a_notebook_alone_gives_its_reference_outputs[06_12_backfill_tag_uuids]"

MUTANTS = (
    Mutant(
        "a further range begins with the first row again",
        ENGINE,
        "open_ranges",
        "from {table} where id > %(after)s",
        "from {table}",
        (f"{ENGINE_TESTS}::test_rows_that_came_after_the_end_get_a_further_range",),
    ),
    Mutant(
        "a range ends before its last row",
        ENGINE,
        "batch_end",
        "id <= %(upto)s",
        "id < %(upto)s",
        (f"{ENGINE_TESTS}::test_progress_counts_rows_really_changed",),
    ),
    Mutant(
        "two workers may claim one range",
        ENGINE,
        "claim",
        "limit 1 for update skip locked",
        "limit 1",
        (f"{ENGINE_TESTS}::test_engines_at_once_share_the_work",),
    ),
    Mutant(
        "a worker waits for a range that somebody else holds",
        ENGINE,
        "claim",
        "for update skip locked",
        "for update",
        (f"{ENGINE_TESTS}::test_a_range_held_by_a_dying_session_holds_up_no_other",),
    ),
    Mutant(
        "a batch commits without moving its cursor",
        ENGINE,
        "checkpoint",
        "set cursor_id = %(cursor)s, rows_read",
        "set rows_read",
        (f"{ENGINE_TESTS}::test_progress_counts_rows_really_changed",),
    ),
    Mutant(
        "a checkpoint moves the cursor of every range",
        ENGINE,
        "checkpoint",
        " and range_no = %(range_no)s",
        "",
        (f"{ENGINE_TESTS}::test_as_many_workers_work_as_were_asked_for",),
    ),
    Mutant(
        "a checkpoint forgets what earlier batches changed",
        ENGINE,
        "checkpoint",
        "rows_changed = rows_changed + %(rows_changed)s",
        "rows_changed = %(rows_changed)s",
        (f"{ENGINE_TESTS}::test_a_worker_killed_again_and_again_loses_and_doubles_nothing",),
    ),
    Mutant(
        "a checkpoint commits apart from its rows",
        WORKER,
        "",
        '        with connection.transaction():\n            self._execute("set_local"',
        '        if True:\n            self._execute("set_local"',
        (
            f"{ENGINE_TESTS}::test_a_batch_that_fails_leaves_neither_rows_nor_checkpoint",
            f"{ENGINE_TESTS}::test_a_killed_junction_worker_leaves_each_pair_once",
        ),
    ),
    Mutant(
        "the UUID backfill fills every row in its first batch",
        UUIDS,
        "batch",
        "where c.tags is null and c.id > %(after)s and c.id <= %(upto)s",
        "where c.tags is null and c.id > %(after)s",
        (NOTEBOOK,),
    ),
    Mutant(
        "the UUID backfill leaves the last row of each batch out",
        UUIDS,
        "batch",
        "where c.tags is null and c.id > %(after)s and c.id <= %(upto)s",
        "where c.tags is null and c.id > %(after)s and c.id < %(upto)s",
        (f"{ENGINE_TESTS}::test_progress_counts_rows_really_changed",),
    ),
    Mutant(
        "the UUID backfill writes over what somebody wrote meanwhile",
        UUIDS,
        "batch",
        "where c.tags is null and c.id > %(after)s",
        "where c.id > %(after)s",
        ("tests/migration/test_phases.py::test_a_row_written_during_the_backfill_keeps_what_was_written",),
    ),
    Mutant(
        "the UUID backfill keeps what it could not map",
        UUIDS,
        "batch",
        "where tag_id is not null), '{{}}') end",
        "), '{{}}') end",
        (NOTEBOOK,),
    ),
    Mutant(
        "an element that became no tag is written down nowhere",
        UUIDS,
        "batch",
        "where n.tag_id is null or n.turn > 1",
        "where n.turn > 1",
        ("tests/migration/test_phases.py::test_the_mapping_merges_spellings_and_quarantines_the_rest",),
    ),
    Mutant(
        "the decision on doubles is turned round",
        UUIDS,
        "batch",
        "coalesce(bool_or(decision = 'map') filter (where kind = 'duplicate')",
        "coalesce(bool_or(decision <> 'map') filter (where kind = 'duplicate')",
        (f"{DIRTY_TESTS}::test_every_decision_is_counted",),
    ),
    Mutant(
        "records of every source are filed under regular content",
        UUIDS,
        "batch",
        "    select %(source)s, n.id, n.position, n.element,\n           case when not n.readable",
        "    select 'regular', n.id, n.position, n.element,\n           case when not n.readable",
        (f"{DIRTY_TESTS}::test_each_decision_does_what_it_says",),
    ),
    Mutant(
        "rows are released whose late names somebody wrote over",
        UUIDS,
        "release_late",
        "          and u.element = case jsonb_typeof(c.tags_old) when 'array' then c.tags_old -> (u.position - 1)\n"
        "                                                        else c.tags_old end)",
        "    )",
        (f"{DIRTY_TESTS}::test_a_row_written_before_its_late_names_were_judged_keeps_what_was_written",),
    ),
    Mutant(
        "equal records of an item count once in the balance",
        UUIDS,
        "balance",
        "union all",
        "union",
        (
            f"{DIRTY_TESTS}::test_every_decision_is_counted",
            f"{DIRTY_TESTS}::test_the_balance_holds_when_an_item_is_written_afterwards",
            NOTEBOOK,
        ),
    ),
)
