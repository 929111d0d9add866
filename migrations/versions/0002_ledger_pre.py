"""The ledger of the workbench, in its own schema."""

from genonaut_lib.migration.alembic_steps import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_file("ledger_schema")


def downgrade() -> None:
    run_file("ledger_schema_undo")
