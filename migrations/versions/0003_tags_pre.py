"""Tags, their hierarchy and their spellings (notebook 10)."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    forward("seed_tags")


def downgrade() -> None:
    backward("seed_tags")
