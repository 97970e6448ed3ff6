"""What is done later for a request remembers the id that another service gave it."""

import sqlalchemy as sa
from alembic import op

revision = "0010_global_request_ids"
down_revision = "0009_projects"


def upgrade() -> None:
    for table in ("migrations", "server_tasks"):
        op.add_column(table, sa.Column("global_request_id", sa.String(length=255), nullable=True))
