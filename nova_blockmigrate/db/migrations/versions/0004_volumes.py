"""Volumes of servers, and which hosts may use them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004_volumes"
down_revision = "0003_wishes"

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "block_device_mappings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("instance_id", sa.Integer(), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("device_name", sa.String(length=255), nullable=False),
        sa.Column("delete_on_termination", sa.Boolean(), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=255), nullable=False),
        sa.Column("busy_until", _TIME, nullable=True),
        sa.Column("request_id", sa.String(length=255), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_block_device_mappings_instance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_block_device_mappings"),
        sa.UniqueConstraint("uuid", name="uq_block_device_mappings_uuid"),
        sa.UniqueConstraint("volume_id", name="uq_block_device_mappings_volume_id"),
    )
    op.create_index("ix_block_device_mappings_instance_id", "block_device_mappings", ["instance_id"])
    op.create_table(
        "volume_attachments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mapping_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("attachment_id", sa.String(length=255), nullable=True),
        sa.Column("protocol", sa.String(length=255), nullable=False),
        sa.Column("connection", sa.JSON(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["mapping_id"], ["block_device_mappings.id"], name="fk_volume_attachments_mapping_id"),
        sa.PrimaryKeyConstraint("id", name="pk_volume_attachments"),
        sa.UniqueConstraint("mapping_id", "host", name="uq_volume_attachments_mapping_id_host"),
    )
    op.create_index("ix_volume_attachments_host", "volume_attachments", ["host"])
