"""Servers know the ports that a network service owns, and what other services said of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007_network_service"
down_revision = "0006_adopted"


def upgrade() -> None:
    op.add_column("instances", sa.Column("requested_networks", sa.JSON(), nullable=True))
    op.add_column("instances", sa.Column("network_info", sa.JSON(), nullable=True))
    op.create_table(
        "external_events",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("instance_uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("tag", sa.String(255), nullable=False),
        sa.Column("status", sa.String(255), nullable=False),
        sa.Column("created_at", sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb"), nullable=False),
        sa.Column("updated_at", sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb"), nullable=True),
    )
    op.create_index("ix_external_events_instance_uuid", "external_events", ["instance_uuid"])
