"""Mutants of what the gallery answers, counts and writes."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

CLAUSES = "genonaut_lib/gallery/clauses.py"
COUNTING = "genonaut_lib/gallery/counting.py"
STATISTICS = "genonaut_lib/sql/tag_stats.sql"
LOADED = "genonaut_lib/sql/statistics.sql"
NAMING = "genonaut_lib/sql/naming.sql"
ITEMS = "genonaut_lib/sql/items.sql"
PAGE_TESTS = "tests/gallery/test_pages.py"
COUNT_TESTS = "tests/gallery/test_counts.py"
WALK_TESTS = "tests/gallery/test_walks.py"
STATISTICS_TESTS = "tests/integration/test_statistics.py"
ITEM_TESTS = "tests/integration/test_items.py"

MUTANTS = (
    Mutant(
        "everybody sees everybody's private items",
        CLAUSES,
        "",
        "    return [or_(public, items.c.creator_id == _viewer()) if shape.has_viewer else public]",
        "    return [or_(public, true()) if shape.has_viewer else public]",
        (f"{PAGE_TESTS}::test_a_private_item_is_its_creators_alone",),
    ),
    Mutant(
        "an item has the tags of its namesake in the other source",
        CLAUSES,
        "",
        "same_item = and_(LINK.content_id == items.c.id, LINK.content_source == word(source.junction))",
        "same_item = and_(LINK.content_id == items.c.id)",
        (f"{PAGE_TESTS}::test_all_match_ignores_the_same_id_in_the_other_source",),
    ),
    Mutant(
        "excluded tags exclude nothing",
        CLAUSES,
        "",
        "    return [~carries(source, unwanted, probed=walks, items=items)]",
        "    return [or_(true(), carries(source, unwanted, probed=walks, items=items))]",
        ("tests/gallery/test_conformance.py::test_every_strategy_shows_what_the_oracle_shows",),
    ),
    Mutant(
        "a page begins with the last row of the page before",
        CLAUSES,
        "",
        "return own < there if shape.descending else own > there",
        "return own <= there if shape.descending else own >= there",
        (f"{WALK_TESTS}::test_walking_there_and_back_yields_every_row_once_in_order",),
    ),
    Mutant(
        "at equal dates a page leaves the other source out",
        CLAUSES,
        "",
        "        return column <= value if shape.descending else column >= value",
        "        return column < value if shape.descending else column > value",
        (f"{WALK_TESTS}::test_walking_there_and_back_yields_every_row_once_in_order",),
    ),
    Mutant(
        "rows without a value are left out behind those with one",
        CLAUSES,
        "",
        "return [past if shape.backwards else or_(past, column.is_(None))]",
        "return [past]",
        (f"{WALK_TESTS}::test_walking_there_and_back_yields_every_row_once_in_order",),
    ),
    Mutant(
        "no page knows that another follows",
        CLAUSES,
        "",
        '"rows": query.page_size + 1,',
        '"rows": query.page_size,',
        (f"{WALK_TESTS}::test_walking_there_and_back_yields_every_row_once_in_order",),
    ),
    Mutant(
        "links of both sources are read for one",
        CLAUSES,
        "",
        "return select(LINK.content_id).where(LINK.content_source == word(source.junction))",
        "return select(LINK.content_id)",
        (
            f"{COUNT_TESTS}::test_every_counting_strategy_counts_alike",
            f"{COUNT_TESTS}::test_every_filter_counts_what_the_oracle_counts",
        ),
    ),
    Mutant(
        "the community's items are counted with one's own",
        COUNTING,
        "",
        "    if shape.scope.of(source) is Creators.COMMUNITY:",
        "    if shape.scope.of(source) is Creators.COMMUNITY and shape.excludes:",
        (f"{COUNT_TESTS}::test_all_sixteen_scopes_count_what_the_oracle_counts",),
    ),
    Mutant(
        "one's own private items are not counted",
        COUNTING,
        "",
        "*([hidden.creator_id != viewer] if shape.has_viewer else [])",
        "*([hidden.creator_id == viewer] if shape.has_viewer else [])",
        (f"{COUNT_TESTS}::test_all_sixteen_scopes_count_what_the_oracle_counts",),
    ),
    Mutant(
        "a session without a limit counts without the budget",
        "genonaut_lib/sql/counts.sql",
        "bound",
        "nullif((extract(epoch from current_setting('statement_timeout')::interval) * 1000)::bigint, 0)",
        "(extract(epoch from current_setting('statement_timeout')::interval) * 1000)::bigint",
        (f"{COUNT_TESTS}::test_an_exceeded_budget_gives_an_interval_that_holds",),
    ),
    Mutant(
        "every item counts as hidden",
        STATISTICS,
        "stage_tags",
        "    where c.is_private\n",
        "    where true\n",
        (f"{STATISTICS_TESTS}::test_a_refresh_counts_what_brute_force_counts",),
    ),
    Mutant(
        "private items of one source are taken off the tags of both",
        STATISTICS,
        "stage_tags",
        "t.content_id = c.id and t.content_source = s.junction",
        "t.content_id = c.id",
        (f"{STATISTICS_TESTS}::test_a_refresh_counts_what_brute_force_counts",),
    ),
    Mutant(
        "figures of tags that nobody uses any more stay",
        STATISTICS,
        "remove_tags",
        "select tag_id, content_source from tag_cardinality_stats except select",
        "select tag_id, content_source from tag_cardinality_stats where false except select",
        (f"{STATISTICS_TESTS}::test_a_second_refresh_takes_every_change_in",),
    ),
    Mutant(
        "a row that stays as it is is written anew",
        STATISTICS,
        "merge_tags",
        "where (o.cardinality, o.display_count) is distinct from (s.cardinality, s.display_count)\n",
        "",
        (f"{STATISTICS_TESTS}::test_a_row_that_stays_as_it_is_is_not_written",),
    ),
    Mutant(
        "whoever has no items sees none of the community's",
        LOADED,
        "source_counts",
        "coalesce(g.public_count, 0)",
        "coalesce(g.public_count, t.public_items)",
        (f"{STATISTICS_TESTS}::test_the_four_figures_are_what_each_viewer_may_see",),
    ),
    Mutant(
        "the figures of an absent viewer are unknown",
        LOADED,
        "source_counts",
        "left join gen_source_stats",
        "join gen_source_stats",
        (f"{STATISTICS_TESTS}::test_the_four_figures_are_what_each_viewer_may_see",),
    ),
    Mutant(
        "a circle of tags is walked without end",
        NAMING,
        "families",
        "    union\n",
        "    union all\n",
        ("tests/integration/test_naming.py::test_a_circle_that_somebody_wrote_ends",),
    ),
    Mutant(
        "a change is written to the namesake too",
        ITEMS,
        "update_item",
        "where source_type = %(partition)s and id = %(id)s",
        "where id = %(id)s",
        (f"{ITEM_TESTS}::test_the_item_of_the_same_id_in_the_other_source_is_left_alone",),
    ),
    Mutant(
        "a deletion takes the namesake along",
        ITEMS,
        "delete_item",
        "where source_type = %(partition)s and id = %(id)s",
        "where id = %(id)s",
        (f"{ITEM_TESTS}::test_the_item_of_the_same_id_in_the_other_source_is_left_alone",),
    ),
    Mutant(
        "tags are taken from the namesake too",
        ITEMS,
        "remove_tags",
        "where content_id = %(id)s and content_source = %(junction)s and",
        "where content_id = %(id)s and",
        (f"{ITEM_TESTS}::test_the_item_of_the_same_id_in_the_other_source_is_left_alone",),
    ),
    Mutant(
        "tags that are there already are refused",
        ITEMS,
        "add_tags",
        "\non conflict do nothing",
        "",
        (
            f"{ITEM_TESTS}::test_tags_are_replaced_as_a_whole",
            f"{ITEM_TESTS}::test_the_same_change_again_writes_nothing",
        ),
    ),
    Mutant(
        "the view shows regular items with the tags of auto ones",
        "genonaut_lib/sql/gallery_view.sql",
        "create",
        "where t.content_id = i.id and t.content_source = 'regular'",
        "where t.content_id = i.id and t.content_source = 'auto'",
        ("tests/gallery/test_conformance.py::test_every_strategy_shows_what_the_oracle_shows",),
    ),
)
