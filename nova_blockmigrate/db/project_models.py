"""Tables of what projects and users have beside servers: key pairs, quotas, server groups, and flavors shown to them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import Base, Timestamps


class KeyPair(Base, Timestamps):
    """A user's public key. The private half is never kept."""

    __tablename__ = "key_pairs"
    __table_args__ = (sa.UniqueConstraint("user_id", "name"),)

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    user_id: orm.Mapped[str]
    name: orm.Mapped[str]
    type: orm.Mapped[str] = orm.mapped_column(sa.String(8))
    fingerprint: orm.Mapped[str]
    public_key: orm.Mapped[str] = orm.mapped_column(sa.Text)


class Quota(Base, Timestamps):
    """A limit that an administrator set: for one project, or (project_id "") for all that have none of their own."""

    __tablename__ = "quotas"
    __table_args__ = (sa.UniqueConstraint("project_id", "resource"),)

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    project_id: orm.Mapped[str]
    resource: orm.Mapped[str]
    hard_limit: orm.Mapped[int]
    """-1: no limit."""


class ServerGroup(Base, Timestamps):
    """Servers that shall be together, or apart. Who is in it is said by the servers (`Instance.server_group_id`)."""

    __tablename__ = "server_groups"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    project_id: orm.Mapped[str] = orm.mapped_column(index=True)
    user_id: orm.Mapped[str]
    name: orm.Mapped[str]
    policy: orm.Mapped[str]
    rules: orm.Mapped[dict[str, Any]] = orm.mapped_column(default=dict)


class FlavorAccess(Base, Timestamps):
    """A project that may use a flavor which is not public."""

    __tablename__ = "flavor_projects"
    __table_args__ = (sa.UniqueConstraint("flavor_id", "project_id"),)

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    flavor_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("flavors.id"))
    project_id: orm.Mapped[str]
