"""Migrations count how often conductors have taken them, so that hosts can tell an old one's word from a new one's."""

import sqlalchemy as sa
from alembic import op

revision = "0011_lease_epochs"
down_revision = "0010_global_request_ids"


def upgrade() -> None:
    op.add_column("migrations", sa.Column("lease_epoch", sa.Integer(), nullable=False, server_default=sa.text("0")))
