"""Commands that look at tags: tags list, popular, show, roots, children, parents, descendants, ancestors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer

from genonaut_lib.cli.options import AsJson, Env, out, print_json, print_table
from genonaut_lib.db import engine, guard, pool
from genonaut_lib.db.engine import translated
from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.gallery import naming, tags
from genonaut_lib.gallery.tags import Relative, Tag, TagListing, TagSearch, TagSort
from genonaut_lib.request_errors import UnknownTag
from genonaut_lib.settings import load_settings
from genonaut_lib.vocabulary import ContentSource

T = TypeVar("T")

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look at the tags of a gallery: how many items carry them, and what lies above and below them. Only reads.

    genonaut tags popular --limit 10
    genonaut tags list --search lang --sort count --desc
    genonaut tags show "Devel::Lang:Perl"
    genonaut tags descendants devel

Counts are those of the last refresh, by 50_refresh_tag_stats.""",
)

Word = Annotated[str, typer.Argument(help="A tag's id, slug, name or alias.")]
OfSource = Annotated[
    str | None, typer.Option("--source", help="Counts of one source: regular or auto. Default: both together.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.add_typer(group, name="tags", rich_help_panel="Gallery")


@group.command(name="list")
def list_(  # noqa: PLR0913  # the options of a command are its parameters
    *,
    search: Annotated[str, typer.Option("--search", help="A word of the name; see --prefix.")] = "",
    prefix: Annotated[bool, typer.Option("--prefix", help="Search at the beginning of names.")] = False,
    sort: Annotated[TagSort, typer.Option("--sort")] = TagSort.NAME,
    descending: Annotated[bool, typer.Option("--desc", help="The other way round.")] = False,
    source: OfSource = None,
    least: Annotated[int | None, typer.Option("--min", help="Least number of items.")] = None,
    most: Annotated[int | None, typer.Option("--max", help="Greatest number of items.")] = None,
    page_size: Annotated[int, typer.Option("--page-size")] = 50,
    page: Annotated[int, typer.Option("--page")] = 1,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """List tags with the number of items that everybody may see.

    A tag that no item carries is listed as well; --min 1 leaves it out. Counts
    that are not known yet are empty.

        genonaut tags list --sort count --desc --min 100
        genonaut tags list --search lang: --prefix --json
    """
    listing = TagListing(
        sort=sort, descending=descending, source=_source(source), search=search,
        search_by=TagSearch.PREFIX if prefix else TagSearch.WORD, min_count=least, max_count=most,
        page_size=page_size, page=page,
    )  # fmt: skip
    found = _ask(env, lambda session: tags.list_tags(session, listing))
    _show("Tags", found.tags, as_json=as_json)
    if found.next_place is not None and not as_json:
        out.print(f"There are more: --page {page + 1}")


@group.command()
def popular(
    limit: Annotated[int, typer.Option("--limit", help="How many.")] = 20,
    source: OfSource = None,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Show the tags that most items show to everybody.

    What only its creator may see makes no tag popular. Without a refresh of the
    statistics there is none.

        genonaut tags popular --limit 10 --source auto
    """
    chosen = _source(source)
    _show("Popular tags", _ask(env, lambda one: tags.popular(one, limit, chosen)), as_json=as_json)


@group.command()
def show(tag: Word, env: Env = None, as_json: AsJson = False) -> None:
    """Show one tag.

    By its id, slug, name or any alias. An unknown one is refused with those that
    are spelled alike.

        genonaut tags show "Devel::Lang:Perl" --json
    """
    found = _ask(env, lambda one: _known(one, tag))
    if as_json:
        print_json(_plain(found))
    else:
        _show("Tag", [found], as_json=False)


@group.command()
def roots(env: Env = None, as_json: AsJson = False) -> None:
    """Show the tags that have children and no parent.

    All other tags of the hierarchy lie below them; see descendants. A tag without
    children is no root.

        genonaut tags roots
    """
    _show("Roots", _ask(env, tags.roots), as_json=as_json)


@group.command()
def children(tag: Word, env: Env = None, as_json: AsJson = False) -> None:
    """Show the tags right below a tag.

    One step only; see descendants for all below it. A tag without children shows
    an empty table.

        genonaut tags children devel
    """
    _show(f"Children of {tag}", _near(env, tag, tags.children), as_json=as_json)


@group.command()
def parents(tag: Word, env: Env = None, as_json: AsJson = False) -> None:
    """Show the tags right above a tag; there may be several.

    One step only; see ancestors for all above it. A root shows an empty
    table.

        genonaut tags parents devel::lang:perl
    """
    _show(f"Parents of {tag}", _near(env, tag, tags.parents), as_json=as_json)


@group.command()
def descendants(tag: Word, env: Env = None, as_json: AsJson = False) -> None:
    """Show all tags below a tag, with how many steps away each is.

    Where several ways lead to one, the shortest counts. The nearest stand
    first.

        genonaut tags descendants devel --json
    """
    _show_relatives(f"Descendants of {tag}", _near(env, tag, tags.descendants), as_json=as_json)


@group.command()
def ancestors(tag: Word, env: Env = None, as_json: AsJson = False) -> None:
    """Show all tags above a tag, with how many steps away each is.

    Where several ways lead to one, the shortest counts. The nearest stand
    first.

        genonaut tags ancestors devel::lang:perl
    """
    _show_relatives(f"Ancestors of {tag}", _near(env, tag, tags.ancestors), as_json=as_json)


def _source(word: str | None) -> ContentSource | None:
    """Return the source of a word; raise BadParameter for any other."""
    if word is None:
        return None
    try:
        return ContentSource.from_junction(word)
    except KeyError:
        known = ", ".join(source.junction for source in ContentSource)
        raise typer.BadParameter(f"{word!r} is none of {known}.", param_hint="--source") from None


def _ask(env: str | None, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Return what work returns on a reading session."""
    settings = load_settings(env)
    with engine.session(settings, writing=False) as connection:
        guard.require_readable(connection)

    async def ask() -> T:
        async with pool.open_session(settings) as session:
            return await work(session)

    with translated():
        return asyncio.run(ask())


def _near(env: str | None, word: str, step: Callable[..., Awaitable[T]]) -> T:
    """Return what lies around the tag that a word means."""

    async def work(session: AsyncConnection) -> T:
        return await step(session, (await _known(session, word)).id)

    return _ask(env, work)


async def _known(session: AsyncConnection, word: str) -> Tag:
    """Return the tag that a word means; raise UnknownTag with near names."""
    resolved = await naming.resolve(session, [word])
    tag = await tags.tag_by_id(session, resolved.found[word]) if word in resolved.found else None
    if tag is None:
        near = resolved.unknown.get(word, ())
        hint = f"Near: {', '.join(map(repr, near))}." if near else "`genonaut tags list --search WORD` finds names."
        raise UnknownTag(f"No tag is called {word!r}.", hint=hint, word=word, near=near)
    return tag


def _show(title: str, found: Iterable[Tag], *, as_json: bool) -> None:
    if as_json:
        print_json([_plain(tag) for tag in found])
        return
    print_table(title, ["tag", "slug", "items", "regular", "auto"], [_cells(tag) for tag in found])


def _show_relatives(title: str, found: Iterable[Relative], *, as_json: bool) -> None:
    if as_json:
        print_json([{"depth": one.depth, **_plain(one.tag)} for one in found])
        return
    columns = ["steps", "tag", "slug", "items", "regular", "auto"]
    print_table(title, columns, [(one.depth, *_cells(one.tag)) for one in found])


def _cells(tag: Tag) -> tuple[Any, ...]:
    by_source = (tag.counts.get(source) for source in ContentSource)
    shown = (None if count is None else count.display_count for count in (tag.total, *by_source))
    return tag.name, tag.slug, *shown


def _plain(tag: Tag) -> dict[str, Any]:
    counts = {source.junction: vars(count) for source, count in tag.counts.items()}
    names = {"id": str(tag.id), "name": tag.name, "slug": tag.slug, "label": tag.label}
    counted_at = None if tag.counted_at is None else tag.counted_at.isoformat()
    return {**names, "total": vars(tag.total) if tag.total else None, "counts": counts, "counted_at": counted_at}
