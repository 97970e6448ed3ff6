"""Migrations remember the hosts that were tried before."""

import sqlalchemy as sa
from alembic import op

revision = "0002_attempts"
down_revision = "0001_initial"


def upgrade() -> None:
    op.add_column("migrations", sa.Column("attempts", sa.JSON(), nullable=True))
