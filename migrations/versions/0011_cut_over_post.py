"""The junction becomes the truth, the arrays read-only (notebook 70); needs a verified junction."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    forward("cut_over")


def downgrade() -> None:
    backward("cut_over")
