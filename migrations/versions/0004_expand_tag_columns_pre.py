"""A uuid[] column beside the legacy names (notebook 11)."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    forward("expand_tag_columns")


def downgrade() -> None:
    backward("expand_tag_columns")
