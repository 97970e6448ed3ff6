"""Migrations remember what their users wish: to be completed at once, to go before others."""

import sqlalchemy as sa
from alembic import op

revision = "0003_wishes"
down_revision = "0002_attempts"


def upgrade() -> None:
    false, zero = sa.false(), sa.text("0")
    op.add_column("migrations", sa.Column("force_complete_requested", sa.Boolean(), nullable=False, server_default=false))
    op.add_column("migrations", sa.Column("priority", sa.Integer(), nullable=False, server_default=zero))
