"""A migrated gallery with statistics and bitmaps, copied for each file, and the service that serves the copy.

The gallery is that of tests/gallery/built.py: 60 regular and 90 auto items with equal ids, three users, private items,
and tags named in `built.CHANCES`. `content` is a file's copy with a session and what an oracle read of it, `service`
serves it over HTTP. A file whose tests write makes a copy for each of them by `template.copy()` and `serve`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from genonaut_lib.migration import tag_stats
from genonaut_lib.migration.bitmap_build import build
from tests.databases import database, settings_of
from tests.gallery import built
from tests.gallery.built import Built, Template
from tests.gallery.served import LEAST_SHARE, change_some
from tests.service.served import Served, serve


@pytest.fixture(scope="session")
def template(admin_url: str) -> Iterator[Template]:
    """The gallery that is copied, migrated and indexed once; some items were changed after that, and are marked."""
    with built.template(admin_url) as plain, database(admin_url, plain.name) as name:
        with built.opened(settings_of(admin_url, name)) as copy:
            build(copy.settings, least_share=LEAST_SHARE)
            change_some(copy)
            tag_stats.refresh(copy.connection)
        yield Template(admin_url, name)


@pytest.fixture(scope="module")
def content(template: Template) -> Iterator[Built]:
    """A copy of the gallery for a file."""
    with template.copy() as copy:
        yield copy


@pytest.fixture(scope="module")
def service(content: Built) -> Iterator[Served]:
    """The service on that copy.

    Its counts are made anew for every request, so that they are those of the moment; and a total is not estimated
    because the machine is busy.
    """
    knobs = {"GENONAUT_SERVICE__STATS_FRESH_S": "0", "GENONAUT_PLANNER__COUNT_BUDGET_MS": "60000"}
    with serve(content.settings, **knobs) as served:
        yield served
