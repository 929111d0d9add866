"""Mutants of the junction: filled online and in bulk, kept by triggers, turned round by the cut over."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ONLINE = "genonaut_lib/sql/backfill_content_tags.sql"
BULK = "genonaut_lib/sql/bulk_content_tags.sql"
TRIGGERS = "genonaut_lib/sql/create_content_tags.sql"
CUT_OVER = "genonaut_lib/sql/cut_over.sql"
BULK_TESTS = "tests/migration/test_bulk.py"
ENGINE_TESTS = "tests/integration/test_backfill.py"
CUT_OVER_TESTS = "tests/migration/test_cut_over.py"
PHASE_TESTS = "tests/migration/test_phases.py"
LONE = "tests/mutants/lone_notebook.py::test_a_notebook_alone_gives_its_reference_outputs"

MUTANTS = (
    Mutant(
        "the last item of each batch is not linked",
        ONLINE,
        "batch",
        "id <= %(upto)s order by id for share",
        "id < %(upto)s order by id for share",
        (f"{ENGINE_TESTS}::test_a_killed_junction_worker_leaves_each_pair_once",),
    ),
    Mutant(
        "links of both sources are filed under regular content",
        ONLINE,
        "batch",
        "select id, %(source)s, unnest(tags) from sorted_out where not begun",
        "select id, 'regular', unnest(tags) from sorted_out where not begun",
        (f"{BULK_TESTS}::test_links_of_one_source_alone_are_filed_under_it",),
    ),
    Mutant(
        "a retag beside the batch is overwritten from an older snapshot",
        ONLINE,
        "batch",
        "order by id for share",
        "order by id",
        (f"{ENGINE_TESTS}::test_tags_taken_away_by_a_writer_in_flight_do_not_come_back",),
    ),
    Mutant(
        "a tag that stands twice in an array stops the backfill",
        ONLINE,
        "careful_batch",
        "    on conflict do nothing\n",
        "",
        (f"{ENGINE_TESTS}::test_an_array_that_holds_a_tag_twice_is_filled_once",),
    ),
    Mutant(
        "the bulk load reads every row in every batch",
        BULK,
        "load",
        "select id, tags from {table} where id > %(after)s and id <= %(upto)s",
        "select id, tags from {table}",
        (f"{LONE}[09_21_backfill_content_tags]",),
    ),
    Mutant(
        "a tag that was taken away during a bulk load stays",
        BULK,
        "catch_up",
        "(item.id is null or t.tag_id <> all (item.tags))",
        "item.id is null",
        (f"{BULK_TESTS}::test_what_is_written_after_a_step_arrives",),
    ),
    Mutant(
        "catching up with one source forgets the notes of the other",
        BULK,
        "catch_up",
        "where content_source = %(source)s and content_id is not null",
        "where content_id is not null",
        (f"{BULK_TESTS}::test_what_is_written_after_a_step_arrives",),
    ),
    Mutant(
        "doubles are removed with their originals",
        BULK,
        "remove_doubles",
        "found.number > 1",
        "found.number >= 1",
        (f"{BULK_TESTS}::test_a_tag_that_stands_twice_in_an_array_is_one_relationship",),
    ),
    Mutant(
        "a tag deleted without a key keeps its links",
        BULK,
        "dangling_tags",
        "where tag_id is not null and not exists",
        "where tag_id is null and not exists",
        (f"{BULK_TESTS}::test_a_tag_deleted_while_no_key_watched_takes_its_relationships",),
    ),
    Mutant(
        "after a TRUNCATE every link of the source goes",
        BULK,
        "catch_up_truncated",
        "\n      and not exists (select from {table} c where c.id = t.content_id)",
        "",
        (
            f"{BULK_TESTS}::test_what_is_written_after_a_step_arrives",
            f"{BULK_TESTS}::test_a_truncated_source_leaves_no_relationship",
        ),
    ),
    Mutant(
        "a retag that keeps a tag is refused by the key",
        TRIGGERS,
        "create_sync_function",
        "        on conflict do nothing;",
        "        ;",
        (f"{PHASE_TESTS}::test_triggers_carry_every_write_of_the_array_into_the_junction",),
    ),
    Mutant(
        "a deleted item takes the tags of its namesake along",
        TRIGGERS,
        "create_sync_function",
        "where content_id = old.id and content_source = tg_argv[0]\n",
        "where content_id = old.id\n",
        (f"{PHASE_TESTS}::test_triggers_carry_every_write_of_the_array_into_the_junction",),
    ),
    Mutant(
        "after the cut over a deleted item takes the tags of its namesake along",
        CUT_OVER,
        "create_release_function",
        "delete from content_tags t where t.content_id = old.id and t.content_source = tg_argv[0];",
        "delete from content_tags t where t.content_id = old.id;",
        (f"{CUT_OVER_TESTS}::test_a_deleted_item_takes_its_tags_along",),
    ),
    Mutant(
        "the junction takes one row for an item that is not there",
        CUT_OVER,
        "create_content_check_function",
        "if locked < cardinality",
        "if locked + 1 < cardinality",
        (f"{CUT_OVER_TESTS}::test_the_junction_takes_no_row_for_an_item_that_is_not_there",),
    ),
    Mutant(
        "the junction asks the other source whether its item is there",
        CUT_OVER,
        "create_content_check_function",
        "when 'regular' then 'items' else 'auto' end",
        "when 'regular' then 'auto' else 'items' end",
        (f"{CUT_OVER_TESTS}::test_the_junction_takes_no_row_for_an_item_that_is_not_there",),
    ),
    Mutant(
        "the undo writes the arrays of the other source",
        CUT_OVER,
        "create_rebuild_function",
        "when 'regular' then 'items' else 'auto' end",
        "when 'regular' then 'auto' else 'items' end",
        (f"{CUT_OVER_TESTS}::test_undo_gives_the_arrays_what_the_junction_learnt",),
    ),
    Mutant(
        "a changed array is not refused after the cut over",
        CUT_OVER,
        "switch_table",
        "when (new.tags is distinct from old.tags)",
        "when (new.tags is null)",
        (f"{CUT_OVER_TESTS}::test_a_changed_array_is_refused_with_the_way_out",),
    ),
)
