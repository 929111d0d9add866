"""The junction and its triggers (notebook 20)."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    forward("create_content_tags")


def downgrade() -> None:
    backward("create_content_tags")
