"""${message}"""

from genonaut_lib.migration.alembic_steps import backward, forward

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    forward("PHASE")


def downgrade() -> None:
    backward("PHASE")
