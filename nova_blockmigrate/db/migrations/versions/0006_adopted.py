"""Servers whose guests somebody else made keep their domain's name."""

import sqlalchemy as sa
from alembic import op

revision = "0006_adopted"
down_revision = "0005_server_tasks"


def upgrade() -> None:
    op.add_column("instances", sa.Column("adopted", sa.JSON(), nullable=True))
