"""Marked items on servers of another kind: one that has prepared transactions, one started anew, and a replica."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from genonaut_lib.db import engine
from genonaut_lib.gallery.bitmaps.marked import Marked
from genonaut_lib.gallery.bitmaps.state import probe
from genonaut_lib.vocabulary import ContentSource
from tests import servers
from tests.databases import settings_of
from tests.gallery import built
from tests.gallery.built import Built
from tests.gallery.marking import EVERYTHING, SNAPSHOT, mark, put_into_service, reader, seal

REGULAR = ContentSource.REGULAR
CHANGE = "update content_items set is_private = not is_private where id = 1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a server that allows prepared transactions and replicas."""
    with servers.primary(max_prepared_transactions="5") as address:
        yield address


@pytest.fixture(scope="module")
def gallery_there(url: str) -> Iterator[Built]:
    """A gallery on it whose index serves."""
    with built.template(url) as template, template.copy() as copy:
        put_into_service(copy)
        yield copy


@pytest.fixture
def serving(gallery_there: Built) -> Built:
    """That gallery with no marks and nothing private."""
    gallery_there.connection.execute("update content_items_all set is_private = false")
    seal(gallery_there.connection)
    return gallery_there


def items(view: Marked) -> set[int]:
    return {item.id for item in view.matching(EVERYTHING, {})}


def test_a_prepared_transaction_shows_once_it_is_committed(serving: Built) -> None:
    """It has no session any more, and is in flight all the same."""
    with reader(serving) as one, engine.connect(serving.settings) as writer:
        writer.execute("begin")
        writer.execute(CHANGE)
        writer.execute("prepare transaction 'later'")
        mark(serving.connection, REGULAR, 1, 2)
        before = items(one.view())
        serving.connection.execute("commit prepared 'later'")
        assert (before, items(one.view())) == ({1, 2}, {2})


def test_what_was_known_of_a_server_started_otherwise_is_not_asked_about(serving: Built) -> None:
    """All marks are new, and its snapshots do not compare with those of another start."""
    mark(serving.connection, REGULAR, 1)
    with reader(serving) as one:
        state = one.view().state
        earlier = replace(state, server_started=state.server_started - timedelta(days=1))
        one.execute(SNAPSHOT)
        found = [serving.run(probe(one.session, known, 10)) for known in (state, earlier)]
    assert [(len(probe.marks), probe.renewed) for probe in found] == [(0, False), (1, True)]
    assert not state.follows(earlier)


def test_a_replica_is_asked_anew_each_time(serving: Built, url: str) -> None:
    """There the text of a snapshot does not name what is in flight, and what is kept would miss it for good."""
    with servers.replica(url) as address, closing(engine.connect(serving.settings)) as writer:
        settings = settings_of(address, serving.connection.info.dbname)
        servers.wait_until_caught_up(serving.connection)
        with reader(replace(serving, settings=settings)) as one:
            writer.execute("begin")
            writer.execute(CHANGE)
            mark(serving.connection, REGULAR, 1, 2)
            servers.wait_until_caught_up(serving.connection)
            before = one.view()
            writer.execute("commit")
            servers.wait_until_caught_up(serving.connection)
            assert (items(before), items(one.view())) == ({1, 2}, {2})
            assert before.state.in_recovery
