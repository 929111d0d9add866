"""One partitioned parent over both tables (notebook 30); needs a verified junction."""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    forward("attach_partitions")


def downgrade() -> None:
    backward("attach_partitions")
