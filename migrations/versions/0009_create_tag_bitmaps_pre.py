"""Tables and functions of the tag bitmap index; empty, without triggers (notebook 40)."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    forward("create_tag_bitmaps")


def downgrade() -> None:
    backward("create_tag_bitmaps")
