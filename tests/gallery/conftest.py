"""Copies of one migrated gallery: a still one for each file, and one of its own for a test that changes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gallery import built
from tests.gallery.built import Built, Template


@pytest.fixture(scope="session")
def template(admin_url: str) -> Iterator[Template]:
    """The gallery that is copied, built once."""
    with built.template(admin_url) as found:
        yield found


@pytest.fixture(scope="module")
def still(template: Template) -> Iterator[Built]:
    """A gallery that no test changes."""
    with template.copy() as copy:
        yield copy


@pytest.fixture
def own(template: Template) -> Iterator[Built]:
    """A gallery of the test's own."""
    with template.copy() as copy:
        yield copy
