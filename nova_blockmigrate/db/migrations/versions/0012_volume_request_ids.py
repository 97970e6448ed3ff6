"""What is left of attaching or detaching a volume is finished under the id, too, that another service gave the request."""

import sqlalchemy as sa
from alembic import op

revision = "0012_volume_request_ids"
down_revision = "0011_lease_epochs"


def upgrade() -> None:
    op.add_column("block_device_mappings", sa.Column("global_request_id", sa.String(length=255), nullable=True))
