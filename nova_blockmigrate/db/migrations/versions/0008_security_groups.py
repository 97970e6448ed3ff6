"""Networks say what carries them; security groups guard the ports on them.

Networks that are there already stay open: their servers were never guarded, and nobody has made rules for them.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008_security_groups"
down_revision = "0007_network_service"

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    _extend_networks()
    op.create_table(
        "security_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_security_groups"),
        sa.UniqueConstraint("project_id", "name", name="uq_security_groups_project_id_name"),
    )
    op.create_table(
        "security_group_rules",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("ethertype", sa.String(length=8), nullable=False),
        sa.Column("protocol", sa.String(length=255), nullable=False),
        sa.Column("port_min", sa.Integer(), nullable=True),
        sa.Column("port_max", sa.Integer(), nullable=True),
        sa.Column("remote_cidr", sa.String(length=255), nullable=False),
        sa.Column("remote_group_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["group_id"], ["security_groups.id"], name="fk_security_group_rules_group_id"),
        sa.ForeignKeyConstraint(["remote_group_id"], ["security_groups.id"], name="fk_security_group_rules_remote_group_id"),
        sa.PrimaryKeyConstraint("id", name="pk_security_group_rules"),
    )
    op.create_index("ix_security_group_rules_group_id", "security_group_rules", ["group_id"])
    op.create_index("ix_security_group_rules_remote_group_id", "security_group_rules", ["remote_group_id"])
    op.create_table(
        "port_security_groups",
        sa.Column("port_id", sa.String(length=36), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["port_id"], ["ports.id"], name="fk_port_security_groups_port_id"),
        sa.ForeignKeyConstraint(["group_id"], ["security_groups.id"], name="fk_port_security_groups_group_id"),
        sa.PrimaryKeyConstraint("port_id", "group_id", name="pk_port_security_groups"),
    )
    op.create_index("ix_port_security_groups_group_id", "port_security_groups", ["group_id"])


def _extend_networks() -> None:
    """New columns that must have a value: given one for the rows there are, and none for those to come."""
    columns: dict[str, tuple[sa.types.TypeEngine[Any], Any]] = {
        "segment_kind": (sa.String(length=255), "flat"),
        "segment_id": (sa.Integer(), "0"),
        "physical_network": (sa.String(length=255), ""),
        "port_security": (sa.Boolean(), sa.false()),
    }
    for name, (kind, value) in columns.items():
        op.add_column("networks", sa.Column(name, kind, nullable=False, server_default=value))
    with op.batch_alter_table("networks") as table:
        for name, (kind, _) in columns.items():
            table.alter_column(name, existing_type=kind, existing_nullable=False, server_default=None)
