"""A network's bridge may be one of Open vSwitch's."""

import sqlalchemy as sa
from alembic import op

revision = "0013_vif_types"
down_revision = "0012_volume_request_ids"


def upgrade() -> None:
    kind = sa.String(length=255)
    op.add_column("networks", sa.Column("vif_type", kind, nullable=False, server_default="bridge"))
    with op.batch_alter_table("networks") as table:
        table.alter_column("vif_type", existing_type=kind, existing_nullable=False, server_default=None)
