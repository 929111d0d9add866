"""Mutants of the tag bitmap index: marked, built, sealed, read."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MARKS = "genonaut_lib/sql/create_tag_bitmaps.sql"
BUILD = "genonaut_lib/sql/bitmap_build.sql"
SEAL = "genonaut_lib/sql/bitmap_seal.sql"
SEEN = "genonaut_lib/sql/bitmap_marks.sql"
READ = "genonaut_lib/sql/tag_bitmaps.sql"
MARK_TESTS = "tests/integration/test_bitmap_marks.py"
BUILD_TESTS = "tests/migration/test_bitmap_build.py"
SEAL_TESTS = "tests/migration/test_bitmap_seal.py"
SEEN_TESTS = "tests/gallery/test_marked.py"
READ_TESTS = "tests/gallery/test_bitmap_reader.py"

MUTANTS = (
    Mutant(
        "an item that becomes private leaves no mark",
        MARKS,
        "create_mark_content",
        "where (o.created_at, o.creator_id, o.is_private) is distinct from (n.created_at, n.creator_id, n.is_private)",
        "where (o.created_at, o.creator_id) is distinct from (n.created_at, n.creator_id)",
        (f"{MARK_TESTS}::test_a_write_of_content_marks_the_items_it_changes",),
    ),
    Mutant(
        "tags that are taken away mark the item of the other source",
        MARKS,
        "create_mark_links",
        "then {regular} else {auto} end, content_id, false\n        from old_rows",
        "then {auto} else {regular} end, content_id, false\n        from old_rows",
        (f"{MARK_TESTS}::test_a_write_of_tags_marks_the_items_that_carry_them",),
    ),
    Mutant(
        "a statement marks an item once for each of its tags",
        MARKS,
        "create_mark_links",
        "select distinct case content_source when {regular_junction} then {regular} else {auto} end, "
        "content_id, false\n        from old_rows",
        "select case content_source when {regular_junction} then {regular} else {auto} end, content_id, false\n"
        "        from old_rows",
        (f"{MARK_TESTS}::test_a_statement_marks_an_item_once",),
    ),
    Mutant(
        "what lies in the future is in no bitmap and has no mark",
        BUILD,
        "mark_future",
        "where created_at > now()",
        "where created_at > now() + interval '1000 years'",
        (f"{BUILD_TESTS}::test_what_lies_in_the_future_is_marked_and_not_ranked",),
    ),
    Mutant(
        "marks of changes that the ranking did not see are dropped",
        BUILD,
        "drop_seen_marks",
        "where pg_visible_in_snapshot(m.changed_by, s.building_snapshot)",
        "where s.building_snapshot is not null",
        (f"{BUILD_TESTS}::test_what_changes_during_the_build_ends_up_marked",),
    ),
    Mutant(
        "of the marks kept for a build those come back that it needs not",
        BUILD,
        "bring_marks_back",
        "on not pg_visible_in_snapshot",
        "on pg_visible_in_snapshot",
        (f"{BUILD_TESTS}::test_marks_that_were_sealed_meanwhile_come_back",),
    ),
    Mutant(
        "a tag with exactly as many items as are asked for gets no bitmap",
        BUILD,
        "tags_by_use",
        "count(*) >= %(least)s",
        "count(*) > %(least)s",
        (f"{BUILD_TESTS}::test_rare_tags_have_no_bitmaps",),
    ),
    Mutant(
        "a tag's bitmap holds the items of both sources as those of one",
        BUILD,
        "content_ids",
        " and content_source = %(source)s",
        "",
        (f"{BUILD_TESTS}::test_every_bit_is_the_junctions",),
    ),
    Mutant(
        "items of one moment are ranked in another order than pages have",
        BUILD,
        "ranking",
        "order by created_at, source_type, id",
        "order by created_at, id, source_type",
        (
            f"{BUILD_TESTS}::test_every_bit_is_the_junctions",
            f"{BUILD_TESTS}::test_the_state_tells_chunks_ranks_and_the_last_key",
        ),
    ),
    Mutant(
        "a cleared epoch is the one that serves",
        BUILD,
        "clear_epochs",
        "r.epoch is distinct from s.serving and r.epoch",
        "r.epoch",
        (f"{BUILD_TESTS}::test_a_rebuild_takes_the_old_ones_place_and_clears_it_away",),
    ),
    Mutant(
        "sealing takes the marks of an item's namesake along",
        SEAL,
        "take_marks",
        "where m.source_type = h.source_type and m.content_id",
        "where m.content_id",
        (f"{SEAL_TESTS}::test_ties_at_the_end_are_decided_by_source_and_id", SEAL_TESTS),
    ),
    Mutant(
        "an item that waits for a build loses its last mark",
        SEAL,
        "take_marks",
        " and m.ctid is distinct from h.keep::tid",
        "",
        (f"{SEAL_TESTS}::test_a_new_item_below_the_end_waits_with_one_mark",),
    ),
    Mutant(
        "what a build has not seen is not kept for it",
        SEAL,
        "take_marks",
        "where s.building is not null and not pg_visible",
        "where s.building is null and not pg_visible",
        (f"{SEAL_TESTS}::test_what_a_build_has_not_seen_is_kept_for_it",),
    ),
    Mutant(
        "items that were just made are appended at once",
        SEAL,
        "next_items",
        "coalesce(c.created_at <= %(horizon)s::timestamptz, false) as ripe",
        "true as ripe",
        (f"{SEAL_TESTS}::test_what_is_just_made_is_left_to_the_next_seal",),
    ),
    Mutant(
        "an item below the end is appended behind it",
        SEAL,
        "next_items",
        "(c.created_at, c.source_type, c.id) > (s.end_at, s.end_source, s.end_id)",
        "(c.created_at, c.id) > (s.end_at, s.end_id)",
        (f"{SEAL_TESTS}::test_ties_at_the_end_are_decided_by_source_and_id",),
    ),
    Mutant(
        "readers do not learn that chunks were sealed",
        SEAL,
        "advance",
        "set version = version + 1, chunks",
        "set version = version, chunks",
        (f"{SEAL_TESTS}::test_marks_of_an_unchanged_item_change_no_chunk",),
    ),
    Mutant(
        "the mark of the oldest transaction in flight is never seen",
        SEEN,
        "probe",
        "where m.changed_by >= pg_snapshot_xmin",
        "where m.changed_by > pg_snapshot_xmin",
        (f"{SEEN_TESTS}::test_what_was_in_flight_shows_once_it_is_committed",),
    ),
    Mutant(
        "a marked item carries the tags of its namesake",
        SEEN,
        "images",
        "where j.content_source = %(junction)s and j.content_id",
        "where j.content_id",
        (f"{SEEN_TESTS}::test_matching_is_what_the_oracle_finds_among_marked_items",),
    ),
    Mutant(
        "a range of chunks lacks its first",
        READ,
        "strips",
        "b.chunk >= w.low",
        "b.chunk > w.low",
        (f"{READ_TESTS}::test_bitmaps_show_and_count_what_the_oracle_does",),
    ),
    Mutant(
        "a tag without bitmaps is read with the links of the other source",
        READ,
        "postings",
        "join content_tags c on c.tag_id = t.id and c.content_source = w.junction",
        "join content_tags c on c.tag_id = t.id and c.content_source <> w.junction",
        (f"{READ_TESTS}::test_bitmaps_show_and_count_what_the_oracle_does",),
    ),
    Mutant(
        "facets count what is no tag",
        READ,
        "common_bits",
        "where b.tag_no >= 0",
        "where b.tag_no >= -3",
        (READ_TESTS,),
    ),
)
