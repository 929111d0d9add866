"""The command that reads the gallery from the shell: gallery."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import typer

from genonaut_lib.cli import answers
from genonaut_lib.cli.options import AsJson, Env
from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import translated
from genonaut_lib.gallery.answer import Answer, Explanation
from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.gallery.request import GalleryRequest
from genonaut_lib.settings import Settings, load_settings


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for: a request, and how it is to be answered."""

    request: GalleryRequest
    count: CountMode
    strategy: str | None
    explain: bool


@dataclass(frozen=True)
class Found:
    """What there is to show; names are those of the tags on the page."""

    answer: Answer
    names: Mapping[UUID, str]
    explanation: Explanation | None


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Gallery")(gallery)


def gallery(  # noqa: PLR0913  # the options of a command are its parameters, and a gallery has many filters
    *,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag's name, slug, alias or id; may be repeated.")
    ] = None,
    match: Annotated[str, typer.Option("--match", help="any of the tags, or all of them.")] = "any",
    under: Annotated[
        list[str] | None, typer.Option("--under", help="A tag or any of its descendants; may be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="A tag that items must not carry; may be repeated.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="regular or auto; may be repeated. Default: both.")
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="The viewer's own items.")] = False,
    community: Annotated[bool, typer.Option("--community", help="Everybody else's items.")] = False,
    viewer: Annotated[
        str | None, typer.Option("--viewer", help="Who looks: a username or an id. Private items are their own only.")
    ] = None,
    search: Annotated[str, typer.Option("--search", help='Words, "quoted phrases" and -exclusions.')] = "",
    sort: Annotated[
        str, typer.Option("--sort", help="created_at, updated_at, quality_score, title or id.")
    ] = "created_at",
    order: Annotated[str, typer.Option("--order", help="asc or desc.")] = "desc",
    page_size: Annotated[int, typer.Option("--page-size", help="From 1 to 1,000.")] = 25,
    page: Annotated[int, typer.Option("--page", help="A page's number, from 1.")] = 1,
    cursor: Annotated[str | None, typer.Option("--cursor", help="A cursor of an earlier page.")] = None,
    count: Annotated[CountMode, typer.Option("--count", help="How the total is found.")] = CountMode.NONE,
    stale: Annotated[bool, typer.Option("--stale", help="Allow an answer from the materialized view.")] = False,
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="Answer by this one instead of the planner's choice.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Execute the page once more under EXPLAIN and show its plan.")
    ] = False,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Show a page of the gallery, and by which strategy it was found and why. Only
    reads.

    An unknown tag is refused with those that are spelled alike. A page after the
    first is reached by its number or, as fast as the first, by the cursor shown
    below the page before it, with the same filters and sort.

    --count none (the default), estimated, exact, or auto: exact unless that takes
    longer than planner.count_budget_ms. What it was is said.

        genonaut gallery --tag devel::lang:perl --tag "role::program" --match all
        genonaut gallery --under devel --exclude role::shared-lib --count auto
        genonaut gallery --mine --viewer ada --search '"red cat" -dog' --sort title --order asc
        genonaut gallery --tag anime --match all --strategy self_join --explain
        genonaut gallery --tag anime --page-size 100 --json | jq -r '.rows[].title'

    --json has these keys, none of which ever changes its meaning: rows (a list of
    id, source, title, content_type, creator, creator_id, created_at, updated_at,
    quality_score, is_private, tags by name), strategy, reason, estimated_rows,
    total (kind, value, low, high), milliseconds (plan, page, count, total),
    statistics_at, has_next, next_cursor, previous_cursor, and with --explain plan
    (shape_hash, planning_ms, execution_ms, nodes, document). Unknown is null.

    Exit codes: 0 answered, be it by no row; 1 failed; 2 refused, as an unknown tag
    or a cursor of another query.
    """
    request = GalleryRequest(
        tags=tag or (), families=under or (), exclude=exclude or (), match=match, viewer=viewer, search=search,
        content_types=source or None, creator_filter=_creators(mine=mine, community=community),
        sort_field=sort, sort_order=order, page=page, page_size=page_size, cursor=cursor, stale=stale,
    )  # fmt: skip
    settings = load_settings(env)
    found = _found(settings, Wanted(request, count, strategy, explain))
    if as_json:
        answers.print_answer_json(found.answer, found.names, found.explanation)
    else:
        answers.print_answer(found.answer, found.names, found.explanation)


def _creators(*, mine: bool, community: bool) -> str | None:
    """Return the word for whose items are wanted: the viewer's and everybody else's are everybody's."""
    if mine == community:
        return "all" if mine else None
    return "user" if mine else "community"


def _found(settings: Settings, wanted: Wanted) -> Found:
    # First a plain session: what cannot be reached or read is said in a sentence, and at once.
    with engine.session(settings, writing=False) as connection:
        guard.require_readable(connection)
    with translated():
        return asyncio.run(_ask(settings, wanted))


async def _ask(settings: Settings, wanted: Wanted) -> Found:
    async with Gallery.opened(settings, sessions=1) as gallery:
        query = await gallery.query_of(wanted.request)
        answer = await gallery.page(query, wanted.count, wanted.strategy)
        names = await gallery.tag_names({tag for row in answer.page.rows for tag in row["tags"]})
        # The page's own strategy: what it taught the planner might make it choose another one now.
        explanation = await gallery.explain(query, answer.choice.strategy) if wanted.explain else None
        return Found(answer, names, explanation)
