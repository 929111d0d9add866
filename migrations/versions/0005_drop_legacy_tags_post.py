"""The legacy names go; contracting, so the ledger is asked first (notebook 13)."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    forward("drop_legacy_tags")


def downgrade() -> None:
    backward("drop_legacy_tags")
