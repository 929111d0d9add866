"""Tables for the gallery's statistics and keys, and the search indexes (notebook 50)."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    forward("create_gallery_stats")


def downgrade() -> None:
    backward("create_gallery_stats")
