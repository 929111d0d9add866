"""The gallery as it was: users, two content tables, tag names in a JSONB array."""

from genonaut_lib.migration.alembic_steps import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_file("legacy")


def downgrade() -> None:
    run_file("legacy_undo")
