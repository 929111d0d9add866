"""A sidecar for the rarely used fields of each source (notebook 31)."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    forward("create_sidecars")


def downgrade() -> None:
    backward("create_sidecars")
