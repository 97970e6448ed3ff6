"""What projects and users have beside servers: key pairs, quotas, server groups, flavors; access addresses of servers."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009_projects"
down_revision = "0008_security_groups"

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    for name in ("access_ip_v4", "access_ip_v6"):
        op.add_column("instances", sa.Column(name, sa.String(length=255), nullable=True))
    op.add_column("instances", sa.Column("server_group_id", sa.String(length=36), nullable=True))
    op.create_index("ix_instances_server_group_id", "instances", ["server_group_id"])
    _table(
        "key_pairs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False),
        sa.Column("fingerprint", sa.String(length=255), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.UniqueConstraint("user_id", "name", name="uq_key_pairs_user_id_name"),
    )
    _table(
        "quotas",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=255), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.UniqueConstraint("project_id", "resource", name="uq_quotas_project_id_resource"),
    )
    _table(
        "server_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("policy", sa.String(length=255), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
    )
    op.create_index("ix_server_groups_project_id", "server_groups", ["project_id"])
    _table(
        "flavor_projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("flavor_id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["flavor_id"], ["flavors.id"], name="fk_flavor_projects_flavor_id"),
        sa.UniqueConstraint("flavor_id", "project_id", name="uq_flavor_projects_flavor_id_project_id"),
    )


def _table(name: str, *parts: Any) -> None:
    """With the columns that all have."""
    times = sa.Column("created_at", _TIME, nullable=False), sa.Column("updated_at", _TIME, nullable=True)
    op.create_table(name, *parts, *times, sa.PrimaryKeyConstraint("id", name=f"pk_{name}"))
