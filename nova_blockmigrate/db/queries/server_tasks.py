"""What is to be done to servers besides moving them, one task a server: written with the request, gone when it is done.

Conductors take tasks by leases, as they do migrations: one whose conductor died is taken up by another.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import ServerTask
from nova_blockmigrate.db.queries import rows


def put(
    db: orm.Session,
    instance_uuid: str,
    action: str,
    arguments: dict[str, Any],
    request_id: str,
    global_request_id: str | None = None,
) -> ServerTask:
    """Give a server its task. One that it has is replaced; who works at that one finds this one afterwards."""
    found = find(db, instance_uuid)
    values = {"action": action, "arguments": arguments, "request_id": request_id, "global_request_id": global_request_id}
    if found is not None:
        return rows.assign(db, found, values)
    return rows.add(db, ServerTask(instance_uuid=instance_uuid, **values))


def find(db: orm.Session, instance_uuid: str) -> ServerTask | None:
    return db.scalar(sa.select(ServerTask).where(ServerTask.instance_uuid == instance_uuid))


def end(db: orm.Session, instance_uuid: str, request_id: str) -> bool:
    """The task of this request is done; False when another one has taken its place, which stays."""
    conditions = [ServerTask.instance_uuid == instance_uuid, ServerTask.request_id == request_id]
    result: Any = db.execute(sa.delete(ServerTask).where(*conditions))
    return bool(result.rowcount)


# --- leases ----------------------------------------------------------------------------------------------------------


def _free(now: datetime.datetime) -> sa.ColumnElement[bool]:
    return sa.or_(ServerTask.owner.is_(None), ServerTask.lease_expires_at.is_(None), ServerTask.lease_expires_at <= now)


def without_owner(db: orm.Session, now: datetime.datetime) -> list[str]:
    """Servers whose task no living conductor works at, the longest waiting first."""
    return list(db.scalars(sa.select(ServerTask.instance_uuid).where(_free(now)).order_by(ServerTask.id)))


def owners(db: orm.Session) -> set[str]:
    """Conductors that hold leases, alive or not."""
    return set(filter(None, db.scalars(sa.select(ServerTask.owner).distinct())))


def take_lease(db: orm.Session, instance_uuid: str, owner: str, now: datetime.datetime, seconds: float) -> bool:
    """Own a task that is free, or owned already; also renews."""
    conditions = [ServerTask.instance_uuid == instance_uuid, sa.or_(_free(now), ServerTask.owner == owner)]
    values = {"owner": owner, "lease_expires_at": now + datetime.timedelta(seconds=seconds)}
    return rows.change_where(db, ServerTask, conditions, values)


def release_leases(db: orm.Session, owner: str) -> None:
    """Free all that `owner` holds."""
    rows.change_where(db, ServerTask, [ServerTask.owner == owner], {"owner": None, "lease_expires_at": None})


def release_lease(db: orm.Session, instance_uuid: str, owner: str) -> None:
    conditions = [ServerTask.instance_uuid == instance_uuid, ServerTask.owner == owner]
    rows.change_where(db, ServerTask, conditions, {"owner": None, "lease_expires_at": None})
