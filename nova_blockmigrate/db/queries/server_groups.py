"""Server groups and who is in them."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.project_models import ServerGroup
from nova_blockmigrate.db.queries import rows


class ServerGroupNotFound(exceptions.NotFound):
    template = "Instance group {group_id} could not be found."


def create(db: orm.Session, **values: Any) -> ServerGroup:
    return rows.add(db, ServerGroup(id=str(uuids.uuid4()), **values))


def get(db: orm.Session, group_id: str, project_id: str | None) -> ServerGroup:
    """`project_id`: whose it must be; None: anybody's.

    :raises ServerGroupNotFound:
    """
    found = db.get(ServerGroup, group_id)
    if found is None or project_id not in (None, found.project_id):
        raise ServerGroupNotFound(group_id=group_id)
    return found


def search(db: orm.Session, project_id: str | None, offset: int = 0, limit: int | None = None) -> list[ServerGroup]:
    """Oldest first; None: those of all projects."""
    statement = sa.select(ServerGroup).order_by(ServerGroup.created_at, ServerGroup.id).offset(offset).limit(limit)
    if project_id is not None:
        statement = statement.where(ServerGroup.project_id == project_id)
    return list(db.scalars(statement))


def count(db: orm.Session, project_id: str) -> int:
    return db.scalar(sa.select(sa.func.count()).select_from(ServerGroup).where(ServerGroup.project_id == project_id)) or 0


def members(db: orm.Session, group_ids: Sequence[str]) -> dict[str, list[Instance]]:
    """The servers of each group, oldest first; deleted ones left out."""
    found: dict[str, list[Instance]] = {group_id: [] for group_id in group_ids}
    columns = orm.load_only(Instance.id, Instance.uuid, Instance.host, Instance.user_id, Instance.server_group_id)
    statement = (
        sa.select(Instance)
        .options(columns, orm.noload(Instance.ports), orm.noload(Instance.volumes))
        .where(Instance.server_group_id.in_(group_ids), Instance.deleted_at.is_(None))
        .order_by(Instance.id)
    )
    for instance in db.scalars(statement) if group_ids else ():
        found[instance.server_group_id or ""].append(instance)
    return found


def delete(db: orm.Session, group_id: str) -> None:
    """Its servers are in none from now on."""
    db.execute(
        sa.update(Instance)
        .where(Instance.server_group_id == group_id)
        .values(server_group_id=None)
        .execution_options(synchronize_session=False)
    )
    db.execute(sa.delete(ServerGroup).where(ServerGroup.id == group_id))
