"""Mutants of what proves the others right: the comparisons, their coverage, and the proofs of the partitions."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

JUNCTION = "genonaut_lib/sql/verify_content_tags.sql"
NAMES = "genonaut_lib/sql/verify_tag_uuids.sql"
CHUNKS = "genonaut_lib/sql/verify.sql"
PARTITIONS = "genonaut_lib/sql/attach_partitions.sql"
TESTS = "tests/migration/test_verification.py"
EACH_FAULT = f"{TESTS}::test_each_kind_of_fault_is_found_when_it_is_the_only_one"
LONE = "tests/mutants/lone_notebook.py::test_a_notebook_alone_gives_its_reference_outputs"
PROOFS = "tests/integration/test_partitions.py"
UNDO = "tests/migration/test_undo.py"
PHASES = "tests/migration/test_phases.py"

MUTANTS = (
    Mutant(
        "pairs are counted and not compared",
        JUNCTION,
        "sums",
        "coalesce(wanted.hash, 0), coalesce(links.hash, 0)",
        "0, 0",
        (EACH_FAULT,),
    ),
    Mutant(
        "the hash of a pair knows its tag only",
        JUNCTION,
        "sums",
        "sum(uuid_hash_extended(tag, id::bigint)) as hash\n"
        "    from (select id, unnest(tags) as tag from {table} where id > %(after)s and id <= %(upto)s) one\n"
        ") wanted, (\n"
        "    select count(*) as pairs, sum(uuid_hash_extended(tag_id, content_id::bigint)) as hash",
        "sum(uuid_hash_extended(tag, 0)) as hash\n"
        "    from (select id, unnest(tags) as tag from {table} where id > %(after)s and id <= %(upto)s) one\n"
        ") wanted, (\n"
        "    select count(*) as pairs, sum(uuid_hash_extended(tag_id, 0)) as hash",
        (EACH_FAULT,),
    ),
    Mutant(
        "rows of the junction that no array holds are not named",
        JUNCTION,
        "keys",
        "union all\nselect id, tag::text, 'extra' "
        "from (select id, tag from linked except select id, tag from wanted) extra\n",
        "",
        (EACH_FAULT,),
    ),
    Mutant(
        "the last item of a range is compared with nothing",
        JUNCTION,
        "keys",
        "    where c.id > %(after)s and c.id <= %(upto)s\n",
        "    where c.id > %(after)s and c.id < %(upto)s\n",
        (EACH_FAULT,),
    ),
    Mutant(
        "items are compared with the links of the other source",
        JUNCTION,
        "keys",
        "where content_source = %(source)s",
        "where content_source <> %(source)s",
        (EACH_FAULT,),
    ),
    Mutant(
        "tags of one source are counted in both",
        JUNCTION,
        "tags_used",
        " and content_source = %(source)s",
        "",
        (f"{LONE}[10_22_verify_content_tags]",),
    ),
    Mutant(
        "an element with another's place in quarantine counts as found",
        NAMES,
        "keys",
        "u.content_id = e.id and u.position = e.position and",
        "u.content_id = e.id and",
        (f"{TESTS}::test_equal_elements_of_an_item_have_a_record_each",),
    ),
    Mutant(
        "elements that are lost do not make an item wrong",
        NAMES,
        "sums",
        " or names.lost > 0",
        "",
        (f"{TESTS}::test_an_element_that_left_the_quarantine_is_found",),
    ),
    Mutant(
        "a number is taken for the tag of that name",
        NAMES,
        "keys",
        "when jsonb_typeof(e.element) = 'string'",
        "when true",
        (f"{TESTS}::test_a_number_is_not_taken_for_the_tag_of_that_name",),
    ),
    Mutant(
        "tags that the names do not mean are not named",
        NAMES,
        "keys",
        "except select id, tag_id from element where tag_id is not null) extra",
        "except select id, tag from said) extra",
        (f"{TESTS}::test_faults_of_the_ids_are_found_by_key",),
    ),
    Mutant(
        "a chunk covers the row before it and not its last",
        CHUNKS,
        "coverage",
        "'(]'",
        "'[)'",
        (f"{TESTS}::test_coverage_is_the_share_of_rows_inside_verified_chunks",),
    ),
    Mutant(
        "chunks of one source cover the other",
        CHUNKS,
        "coverage",
        "phase = %(phase)s and source = %(source)s",
        "phase = %(phase)s",
        (f"{TESTS}::test_coverage_is_the_share_of_rows_inside_verified_chunks",),
    ),
    Mutant(
        "chunks from before a backfill stay verified",
        CHUNKS,
        "begin",
        " or c.started_at <= moved.at",
        "",
        (TESTS,),
    ),
    Mutant(
        "a new verification goes on with the chunks of the last",
        CHUNKS,
        "begin",
        "(c.follows <> newest.id or c.started_at <= moved.at)",
        "c.started_at <= moved.at",
        (f"{TESTS}::test_a_new_verification_begins_anew",),
    ),
)

PARTITION_MUTANTS = (
    Mutant(
        "a partition is compared with the whole parent",
        PARTITIONS,
        "rows_moved",
        "from content_items_all where source_type = %(value)s",
        "from content_items_all",
        (f"{PHASES}::test_ids_given_out_after_attaching_meet_no_old_id", f"{LONE}[11_30_attach_partitions]"),
    ),
    Mutant(
        "the shared sequence gives the id of a deleted item again",
        PARTITIONS,
        "share_ids",
        "\n                                    union all select last_value from content_items_auto_id_seq",
        "",
        (f"{UNDO}::test_the_id_of_a_deleted_item_is_not_given_out_again",),
    ),
    Mutant(
        "the shared sequence begins below the ids of auto content",
        PARTITIONS,
        "share_ids",
        "\n                                    union all select max(id) from content_items_auto",
        "",
        (f"{PHASES}::test_ids_given_out_after_attaching_meet_no_old_id",),
    ),
    Mutant(
        "parted sequences give ids again that the shared one gave",
        PARTITIONS,
        "part_ids",
        "greatest(s.last_value, i.last, a.last)",
        "greatest(i.last, a.last)",
        (f"{UNDO}::test_the_id_of_a_deleted_item_is_not_given_out_again",),
    ),
    Mutant(
        "any check that was validated proves the rows",
        PARTITIONS,
        "missing_proofs",
        "contype = 'c' and convalidated\n      and pg_get_constraintdef(oid) in (",
        "contype = 'c' and convalidated\n      or pg_get_constraintdef(oid) in (",
        (f"{PROOFS}::test_a_check_on_another_value_proves_nothing",),
    ),
    Mutant(
        "an index of another order is taken for the parent's",
        PARTITIONS,
        "missing_proofs",
        " and c.indoption = p.indoption",
        "",
        (f"{PROOFS}::test_what_is_not_proved_is_not_attached",),
    ),
    Mutant(
        "an index over other columns is taken for the parent's",
        PARTITIONS,
        "missing_proofs",
        "from unnest(c.indkey) with ordinality k (number, place)\n"
        "           join pg_attribute a on a.attrelid = c.indrelid and",
        "from unnest(p.indkey) with ordinality k (number, place)\n"
        "           join pg_attribute a on a.attrelid = p.indrelid and",
        (f"{PROOFS}::test_what_is_not_proved_is_not_attached",),
    ),
)
