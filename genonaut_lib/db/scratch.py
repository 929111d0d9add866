"""Throw-away databases beside the environment's own: for measurements that must not touch a gallery."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo
from pydantic import SecretStr

from genonaut_lib.db import engine
from genonaut_lib.db.statements import block
from genonaut_lib.settings import Settings


@contextmanager
def database(settings: Settings, name: str, template: Settings | None = None) -> Iterator[Settings]:
    """Create a database on the environment's server, yield settings that point to it, drop it afterwards.

    With `template` it is a copy of that database, to which nobody may be connected.
    """
    address = engine.database_url(settings)
    full_name = f"genonaut_{name}_{os.getpid()}"
    with _admin(address) as admin:
        source = "template1" if template is None else _name_of(template)
        # Copying files beats writing every page to the log, for templates of more than a few megabytes.
        copying = template is not None and admin.info.server_version >= 150_000
        create = block("scratch", "create_by_file_copy" if copying else "create")
        admin.execute(create.sql(database=full_name, template=source))
    try:
        yield settings.model_copy(update={"database_url": SecretStr(conninfo.make_conninfo(address, dbname=full_name))})
    finally:
        with _admin(address) as admin:
            # lint: allow ddl-outside-helper because a database of one's own has no lock to wait for
            admin.execute(block("scratch", "drop").sql(database=full_name))


def _admin(address: str) -> engine.Connection:
    return psycopg.connect(address, autocommit=True)


def _name_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return str(conninfo.conninfo_to_dict(settings.database_url.get_secret_value())["dbname"])
