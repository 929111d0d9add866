"""The gallery with its bitmaps built, absent, switched off, truncated, or with too much changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from genonaut_lib.errors import BitmapsUnavailable, InvalidInput
from genonaut_lib.gallery.bitmaps.standing import ABSENT, SWITCHED_OFF, Ready, Unready, look
from genonaut_lib.gallery.counts import CountMode, Total
from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.migration.bitmap_build import build
from genonaut_lib.planner_settings import COEFFICIENTS
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.plan_tree import parse
from genonaut_lib.vocabulary import tag_id
from tests.gallery import oracle
from tests.gallery.built import Built, Template
from tests.gallery.served import Served, change_some, served, served_with_bitmaps, with_knobs

COMMON, HALF, LEFT, RIGHT = (tag_id(name) for name in ("common", "half", "left", "right"))
BOTH = GalleryQuery((COMMON, HALF), TagMatch.ALL, page_size=4)
APART = GalleryQuery((LEFT, RIGHT), TagMatch.ALL)


@pytest.fixture(scope="module")
def ready(template: Template) -> Iterator[Served]:
    """A gallery whose index serves; some items changed since."""
    with template.copy() as built, served_with_bitmaps(built, at_low_prices(built.settings)) as found:
        yield found


def at_low_prices(settings: Settings) -> Settings:
    """Let the planner take the bitmaps wherever they are fit: a gallery this small is read at once by any strategy."""
    free = COEFFICIENTS | {"bitmap": dict.fromkeys(COEFFICIENTS["bitmap"], 0.0001)}
    return with_knobs(settings, "planner", coefficients=free)


def truth(built: Built, query: GalleryQuery) -> tuple[list[str], int]:
    """Return the keys of the page and the total, as the oracle has them."""
    return [row.key for row in built.oracle.page(query).rows], sum(built.oracle.counts(query).values())


def standing(found: Served) -> object:
    """Return how the index stands, as the service knows it."""
    return found.built.run(found.gallery._knowledge.current()).bitmaps


def must_be_true(found: Served, query: GalleryQuery, answer: Any) -> None:
    keys, total = truth(found.built, query)
    assert (answer.page.keys, answer.total.value) == (keys, total)


def test_a_page_that_is_to_have_its_total_comes_from_the_bitmaps(ready: Served) -> None:
    """Both in one pass: nothing is counted beside it."""
    found = ready.page(APART, CountMode.EXACT)
    assert found.choice.strategy == "bitmap"
    assert "bitmaps together" in found.choice.reason
    assert "count" not in found.milliseconds
    must_be_true(ready, APART, found)


def test_a_query_without_tags_has_its_total_from_the_bitmaps(ready: Served) -> None:
    """Without a total there is nothing that they could save."""
    walked, counted = (ready.page(GalleryQuery(page_size=5), mode) for mode in (CountMode.NONE, CountMode.EXACT))
    assert (walked.choice.strategy, counted.choice.strategy) == ("time_walk", "bitmap")
    must_be_true(ready, GalleryQuery(page_size=5), counted)


@pytest.mark.parametrize("mode", [CountMode.ESTIMATED, CountMode.AUTO, CountMode.EXACT])
def test_a_total_of_the_bitmaps_is_exact_and_says_so(mode: CountMode, ready: Served) -> None:
    """Whoever asked for an estimate is told that it is none."""
    total = truth(ready.built, BOTH)[1]
    assert ready.page(BOTH, mode, "bitmap").total == Total(CountMode.EXACT, total, total, total)


def test_no_total_is_given_unless_it_is_asked_for(ready: Served) -> None:
    """Not by the bitmaps either."""
    assert ready.page(BOTH, strategy="bitmap").total.kind is CountMode.NONE


@pytest.mark.parametrize("search", ["", "cat"])
def test_another_strategys_page_is_counted_by_the_bitmaps_but_for_a_search(
    search: str, ready: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words are counted where they stand."""
    counted, real = [], ready.gallery._answering._bitmaps.total

    async def total(*arguments: Any) -> int:
        counted.append(await real(*arguments))
        return counted[-1]

    monkeypatch.setattr(ready.gallery._answering._bitmaps, "total", total)
    query = replace(BOTH, search=search, page_size=1)
    found = ready.page(query, CountMode.EXACT, "time_walk")
    must_be_true(ready, query, found)
    assert counted == ([] if search else [found.total.value])


def test_what_the_bitmaps_counted_is_what_is_estimated_next(ready: Served) -> None:
    """Feedback notes them like the others, but for their time: the first answers fill a cache."""
    ready.page(APART, CountMode.EXACT, "bitmap")
    assert ready.page(APART).choice.estimated_rows == truth(ready.built, APART)[1]
    lesson = ready.gallery._feedback.recall(APART, ready.built.run(ready.gallery._knowledge.current()).statistics)
    assert not [strategy for strategy, _ in lesson.slow if strategy == "bitmap"]


def test_facets_are_exact_by_the_bitmaps(ready: Served) -> None:
    """As the oracle counts them, in order of count and name."""
    built = ready.built
    names = dict(built.connection.execute("select id, name from tags").fetchall())
    rows = [row for row in built.oracle.rows if oracle.wanted(row, BOTH)]
    counts = Counter(names[tag] for row in rows for tag in set(row.tags))
    found = built.run(ready.gallery.facets(BOTH, 7))
    assert (found.sampled, found.sample_size) == (False, None)
    expected = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:7]
    assert [(one.name, one.count) for one in found.counts] == expected


@pytest.mark.parametrize("strategy", ["bitmap", None])
def test_the_best_statement_is_explained_in_place_of_the_bitmaps(strategy: str | None, ready: Served) -> None:
    """And the reason says so: bitmaps are brought together by no statement."""
    query = replace(APART, page_size=9)
    found = ready.built.run(ready.gallery.explain(query, strategy))
    assert found.choice.strategy != "bitmap"
    assert found.choice.reason.startswith("explained in place of bitmap, since it brings bitmaps together")
    assert parse(found.document).root.actual == 0


def test_too_many_ids_to_hand_on_are_answered_by_another_strategy(ready: Served) -> None:
    """The planner sees it coming; whoever insists is refused."""
    settings = with_knobs(ready.built.settings, "bitmaps", filter_max=3)
    by_title = replace(BOTH, sort=Sort(SortField.TITLE))
    with served(ready.built, settings) as few:
        found = few.page(by_title, CountMode.EXACT)
        assert "over 3 (bitmaps.filter_max)" in found.choice.unfit["bitmap"]
        must_be_true(few, by_title, found)
        with pytest.raises(BitmapsUnavailable):
            few.page(by_title, strategy="bitmap")


def test_without_an_index_the_other_strategies_answer(still: Built) -> None:
    """The planner says what is missing, and which notebook makes it; so does the refusal."""
    with served(still) as found:
        answer = found.page(APART, CountMode.EXACT)
        assert answer.choice.unfit["bitmap"] == ABSENT.why
        must_be_true(found, APART, answer)
        assert not found.built.run(found.gallery.facets(BOTH)).sampled
        with pytest.raises(BitmapsUnavailable, match="40_build_tag_bitmaps"):
            found.page(BOTH, strategy="bitmap")


def test_without_its_tables_the_other_strategies_answer(own: Built) -> None:
    """A gallery that was never given them is no worse off."""
    own.connection.execute("drop table workbench.bitmap_state cascade")
    with served(own) as found:
        assert found.page(BOTH).choice.unfit["bitmap"] == ABSENT.why
        with pytest.raises(BitmapsUnavailable):
            found.page(BOTH, strategy="bitmap")


def test_a_session_that_may_not_read_the_index_goes_without(own: Built) -> None:
    """Whoever reads the gallery by a role of their own is answered by the tables they may read."""
    own.run(own.session.execute("set role pg_signal_backend"))
    found = own.run(look(own.session, own.settings.bitmaps, ABSENT))
    assert isinstance(found, Unready)


def test_an_index_that_is_switched_off_is_not_read(ready: Served) -> None:
    """Not even on request."""
    with served(ready.built, with_knobs(ready.built.settings, "bitmaps", enabled=False)) as off:
        answer = off.page(APART, CountMode.EXACT)
        assert answer.choice.unfit["bitmap"] == SWITCHED_OFF.why
        must_be_true(off, APART, answer)
        with pytest.raises(BitmapsUnavailable, match=r"bitmaps\.enabled"):
            off.page(BOTH, strategy="bitmap")


def test_a_truncated_table_is_met_while_reading_and_the_next_best_answers(own: Built) -> None:
    """The choice says why; an insisting caller is told; and the index is looked at again soon."""
    with served_with_bitmaps(own, at_low_prices(own.settings)) as found:
        assert found.page(APART, CountMode.EXACT).choice.strategy == "bitmap"
        own.connection.execute("truncate content_tags")
        own.look_again()
        answer = found.page(APART, CountMode.EXACT)
        due = found.gallery._knowledge._known.bitmaps_due
        assert answer.choice.strategy != "bitmap"
        assert "the bitmaps could not answer" in answer.choice.reason
        must_be_true(found, APART, answer)
        with pytest.raises(BitmapsUnavailable):
            found.page(APART, strategy="bitmap")
        assert due - found.gallery._knowledge._known.looked_at < 10


def test_more_marked_items_than_allowed_are_told_before_and_while_reading(own: Built) -> None:
    """What was known as ready may have met too many writes since."""
    build(own.settings)
    few = with_knobs(own.settings, "bitmaps", marks_max=1)
    with served(own, few) as early:
        assert isinstance(standing(early), Ready)
        change_some(own)
        own.look_again()
        answer = early.page(APART, CountMode.EXACT)
        must_be_true(early, APART, answer)
        assert answer.choice.strategy != "bitmap"
        with pytest.raises(BitmapsUnavailable):
            early.page(BOTH, strategy="bitmap")
    with served(own, few) as late:
        assert standing(late) == Unready("over 1 items changed since it was sealed (bitmaps.marks_max)")


def test_a_forced_strategys_count_does_without_bitmaps_that_cannot(own: Built) -> None:
    """The page stays with the strategy that was asked for."""
    with served_with_bitmaps(own) as found:
        assert isinstance(standing(found), Ready)
        own.connection.execute("truncate content_tags")
        own.look_again()
        everything = GalleryQuery(page_size=3)
        answer = found.page(everything, CountMode.EXACT, "time_walk")
        assert answer.choice.strategy == "time_walk"
        must_be_true(found, everything, answer)


def test_statements_only_are_strategies_of_a_statement(ready: Served) -> None:
    """A page's statement cannot be asked of the bitmaps."""
    with pytest.raises(InvalidInput, match="no statement"):
        ready.built.page(BOTH, "bitmap")
