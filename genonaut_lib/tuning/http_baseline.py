"""What the service is measured against: the same page as one writes it in an afternoon.

FastAPI, mapped classes of SQLAlchemy, and a pydantic model for the answer. Filters are EXISTS clauses, tags come
by one more statement for all items of the page (selectinload), the total is a SELECT count(*) of the same filter.
It takes the parameters of `/content/unified` that the benchmark uses, and checks nothing else about them.

    python -m genonaut_lib.tuning.http_baseline --timeout-ms 5000 --sessions 10
"""

from __future__ import annotations

import argparse
import functools
import os
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import psycopg
import uvicorn
from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, and_, case, create_engine, exists, func, or_, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, relationship, selectinload, sessionmaker

from genonaut_lib.db import schema
from genonaut_lib.db.engine import APPLICATION_NAME
from genonaut_lib.vocabulary import ContentSource

REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO
_ITEMS, _LINKS = schema.content_items_all, schema.content_tags
_JUNCTION = case((_ITEMS.c.source_type == REGULAR.partition, REGULAR.junction), else_=AUTO.junction)
_LINKED = and_(_LINKS.c.content_id == _ITEMS.c.id, _LINKS.c.content_source == _JUNCTION)


class _Mapped(DeclarativeBase):
    metadata = schema.metadata


class User(_Mapped):
    """Whoever made an item."""

    __table__ = schema.users
    id: Mapped[uuid.UUID]
    username: Mapped[str]


class Tag(_Mapped):
    """A tag."""

    __table__ = schema.tags
    id: Mapped[uuid.UUID]
    name: Mapped[str]


class Item(_Mapped):
    """An item of either source, with its creator and its tags."""

    __table__ = _ITEMS
    # The array `tags` is stale once the junction is the truth, and nobody is shown `content_data`.
    __mapper_args__ = {  # noqa: RUF012  # what SQLAlchemy reads
        "primary_key": [_ITEMS.c.id, _ITEMS.c.source_type],
        "exclude_properties": {"tags", "content_data"},
    }
    id: Mapped[int]
    source_type: Mapped[str]
    title: Mapped[str]
    content_type: Mapped[str]
    creator_id: Mapped[uuid.UUID]
    quality_score: Mapped[float | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    path_thumb: Mapped[str | None]
    path_thumbs_alt_res: Mapped[Any]
    prompt: Mapped[str]
    item_metadata: Mapped[Any]
    is_private: Mapped[bool]
    creator: Mapped[User] = relationship(
        User, primaryjoin=_ITEMS.c.creator_id == schema.users.c.id, foreign_keys=[_ITEMS.c.creator_id], viewonly=True
    )
    tags: Mapped[list[Tag]] = relationship(
        Tag,
        secondary=_LINKS,
        primaryjoin=_LINKED,
        secondaryjoin=_LINKS.c.tag_id == schema.tags.c.id,
        foreign_keys=[_LINKS.c.content_id, _LINKS.c.tag_id],
        order_by=schema.tags.c.name,
        viewonly=True,
    )


class ItemOut(BaseModel):
    """An item as it is answered."""

    id: int
    title: str
    content_type: str
    source_type: str
    creator_id: uuid.UUID
    creator_username: str
    quality_score: float | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    path_thumb: str | None
    path_thumbs_alt_res: Any
    prompt: str
    item_metadata: Any
    is_private: bool


class PaginationOut(BaseModel):
    """Where the page lies."""

    page: int
    page_size: int
    total_count: int | None
    has_next: bool
    has_previous: bool


class PageOut(BaseModel):
    """A page as it is answered."""

    items: list[ItemOut]
    pagination: PaginationOut


class Filters(BaseModel):
    """What is asked for, as FastAPI reads it from the query string."""

    tag: list[uuid.UUID] = []
    exclude_tag: list[uuid.UUID] = []
    tag_match: str = "any"
    creator_filter: str = "all"
    user_id: uuid.UUID | None = None
    page: int = Field(1, ge=1)
    page_size: int = Field(10, ge=1, le=1000)
    count: str = "exact"

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what an item must fulfil."""
        mine = Item.creator_id == self.user_id
        whose = {"user": [mine], "community": [~mine]}.get(self.creator_filter, [])
        groups = [[tag] for tag in self.tag] if self.tag_match == "all" else [self.tag] if self.tag else []
        without = [~_tagged(self.exclude_tag)] if self.exclude_tag else []
        return [or_(~Item.is_private, mine), *whose, *map(_tagged, groups), *without]


def create_app(sessions: sessionmaker[Session]) -> FastAPI:
    """Return the baseline over a factory of sessions."""
    app = FastAPI()
    app.state.sessions = sessions
    app.add_exception_handler(OperationalError, _timed_out)
    app.get("/api/v1/content/unified", response_model=PageOut)(unified)
    return app


def _session(request: Request) -> Iterator[Session]:
    with request.app.state.sessions() as session:
        yield session


def unified(filters: Annotated[Filters, Query()], session: Annotated[Session, Depends(_session)]) -> PageOut:
    """Return a page."""
    conditions, size = filters.conditions(), filters.page_size
    statement = (
        select(Item)
        .where(*conditions)
        .order_by(Item.created_at.desc(), Item.source_type.desc(), Item.id.desc())
        .offset((filters.page - 1) * size)
        .limit(size + 1)
        .options(joinedload(Item.creator), selectinload(Item.tags))
    )
    found = session.scalars(statement).all()
    counting = select(func.count()).select_from(Item).where(*conditions)
    total = session.scalar(counting) if filters.count == "exact" else None
    pagination = PaginationOut(
        page=filters.page, page_size=size, total_count=total, has_next=len(found) > size, has_previous=filters.page > 1
    )
    return PageOut(items=[_out(item) for item in found[:size]], pagination=pagination)


def _tagged(tags: list[uuid.UUID]) -> ColumnElement[bool]:
    return exists().where(_LINKED, _LINKS.c.tag_id.in_(tags)).correlate(_ITEMS)


def _out(item: Item) -> ItemOut:
    return ItemOut(
        **{name: getattr(item, name) for name in ItemOut.model_fields if name not in _MADE},
        source_type=ContentSource.from_partition(item.source_type).junction,
        creator_username=item.creator.username,
        tags=[tag.name for tag in item.tags],
    )


_MADE = {"source_type", "creator_username", "tags"}


async def _timed_out(_request: Request, error: Exception) -> Response:
    """Answer 504 where the statement ran into its time limit; whatever else is a fault."""
    if isinstance(error, OperationalError) and isinstance(error.orig, psycopg.errors.QueryCanceled):
        return Response(status_code=504)
    raise error


def _connect(address: str, timeout_ms: int) -> psycopg.Connection[Any]:
    return psycopg.connect(address, application_name=APPLICATION_NAME, options=f"-c statement_timeout={timeout_ms}")


def main() -> None:
    """Serve the gallery of DATABASE_URL on any free port, until a signal ends it."""
    parser = argparse.ArgumentParser(description="The baseline of `genonaut bench http`.")
    parser.add_argument("--timeout-ms", type=int, default=5_000)
    parser.add_argument("--sessions", type=int, default=10)
    given = parser.parse_args()
    connect = functools.partial(_connect, os.environ["DATABASE_URL"], given.timeout_ms)
    made = create_engine("postgresql+psycopg://", creator=connect, pool_size=given.sessions, max_overflow=0)
    app = create_app(sessionmaker(made))
    uvicorn.run(app, host="127.0.0.1", port=0, loop="uvloop", http="httptools", access_log=False)


if __name__ == "__main__":
    main()
