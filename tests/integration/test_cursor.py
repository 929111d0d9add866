"""Cursors walk a real gallery in every order, and their key is found where it is kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CursorKeyMissing, MissingPrivilege
from genonaut_lib.gallery.cursor import Signer, load_key, open_signer
from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.page import Page, read_page
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery

Ask = Callable[..., Any]
SIGNER = Signer(b"k" * 32)
SCORES = [None, math.nan, math.inf, -math.inf, 0.1, 0.1, -0.0, None, 1e-300, math.nan]
TITLES = ["a", "A", "ä", "猫", "🐈", "", "a", "z" * 255, "猫" * 255, "%"]


@pytest.fixture
def filled(gallery: Gallery, migrate: Callable[[], None]) -> Gallery:
    """Twenty migrated items with odd titles and scores, equal in both sources."""
    for source in ContentSource:
        for score, title in zip(SCORES, TITLES, strict=True):
            gallery.legacy_item([], source, quality_score=score, title=title)
    migrate()
    return gallery


def walk(ask: Ask, query: GalleryQuery, *, backwards: bool) -> list[str]:
    """Return the keys of all pages from the query's own to the last in a direction, by cursors alone."""
    keys: list[str] = []
    for _ in range(100):
        page: Page = ask(lambda reader, query=query: read_page(reader, query))
        keys = [*page.keys, *keys] if backwards else [*keys, *page.keys]
        position = page.previous_position if backwards else page.next_position
        if position is None:
            return keys
        query = SIGNER.decode(SIGNER.encode(query, position, backwards=backwards), query)
    raise AssertionError("the walk does not end")


def test_cursors_walk_every_order_to_its_end_and_back(ask: Ask, filled: Gallery) -> None:
    """Every row once, forth and back, over missing scores, NaN, infinities and titles of any script."""
    for field, descending in itertools.product(SortField, (True, False)):
        query = GalleryQuery(page_size=1000, sort=Sort(field, descending=descending))
        whole = ask(lambda reader, query=query: read_page(reader, query))
        assert len(whole.keys) == 20
        small = replace(query, page_size=3)
        assert walk(ask, small, backwards=False) == whole.keys
        last = SIGNER.decode(SIGNER.encode(query, query.position_of(whole.rows[-1]), backwards=True), small)
        assert walk(ask, last, backwards=True) == whole.keys[:-1]


def keep_key(connection: Connection, key: bytes) -> None:
    connection.execute("create schema if not exists workbench")
    connection.execute("create table if not exists workbench.service_keys (name text primary key, key bytea not null)")
    connection.execute(
        "insert into workbench.service_keys (name, key) values ('cursor', %s)"
        " on conflict (name) do update set key = excluded.key",
        [key],
    )


def test_the_database_keeps_a_key(ask: Ask, connection: Connection, settings: Settings) -> None:
    """Every service on one database gives out the same cursors, with nothing set."""
    keep_key(connection, b"\x00\xff" * 16)
    assert ask(load_key) == b"\x00\xff" * 16
    assert ask(lambda reader: open_signer(settings, reader)) == Signer(b"\x00\xff" * 16)


def test_keys_of_the_settings_go_before_the_database_s(ask: Ask, connection: Connection, settings: Settings) -> None:
    """The first signs, all are accepted."""
    keep_key(connection, b"d" * 32)
    given = settings.model_copy(update={"cursor_key": SecretStr(f"{'a' * 32},{'b' * 32}")})
    assert ask(lambda reader: open_signer(given, reader)) == Signer(b"a" * 32, (b"b" * 32,))


def test_without_any_key_it_is_said_how_to_get_one(ask: Ask, connection: Connection, settings: Settings) -> None:
    """Neither table nor row: no cursor is signed with a key that everybody knows."""
    with pytest.raises(CursorKeyMissing, match="GENONAUT_CURSOR_KEY"):
        ask(lambda reader: open_signer(settings, reader))
    keep_key(connection, b"d" * 32)
    connection.execute("delete from workbench.service_keys")
    with pytest.raises(CursorKeyMissing, match="50_refresh_tag_stats"):
        ask(load_key)


def test_a_user_who_may_not_read_the_key_is_told_what_to_do(ask: Ask, connection: Connection) -> None:
    """The key is its owner's until somebody grants it."""
    keep_key(connection, b"d" * 32)
    ask(lambda reader: reader.execute("set role pg_monitor"))
    with pytest.raises(MissingPrivilege, match="Set GENONAUT_CURSOR_KEY, or grant this user SELECT"):
        ask(load_key)
