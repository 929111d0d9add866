"""Alembic's entry: the session comes from the workbench, the version table lies in its own schema."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from genonaut_lib.db import guard
from genonaut_lib.db.engine import connect
from genonaut_lib.db.schema import LEDGER_SCHEMA, metadata
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration.autogenerate import include_name, include_object
from genonaut_lib.settings import load_settings


def run_online() -> None:
    """Run revisions in autocommit mode: each statement is its own short transaction, made to be repeated."""
    called_by_library = "settings" in context.config.attributes
    settings = context.config.attributes.setdefault("settings", None) or load_settings()
    context.config.attributes["settings"] = settings
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(settings),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        session = connection.connection.driver_connection
        if not called_by_library:
            guard.require_writable(session, settings)
        session.execute(block("catalog", "schema").sql())
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=LEDGER_SCHEMA,
            include_schemas=True,
            include_name=include_name,
            include_object=include_object,
            transactional_ddl=False,
        )
        context.run_migrations()


if context.is_offline_mode():
    raise InvalidInput(
        "Offline mode has no database to ask which statements are done already.",
        hint="`genonaut run NOTEBOOK -p dry_run=true` prints the statements of a step.",
    )
run_online()
