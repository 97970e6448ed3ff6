"""What other services said of servers, until somebody has acted upon it."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import ExternalEvent
from nova_blockmigrate.db.queries import rows


def add(db: orm.Session, instance_uuid: str, name: str, tag: str, status: str) -> ExternalEvent:
    return rows.add(db, ExternalEvent(instance_uuid=instance_uuid, name=name, tag=tag, status=status))


def statuses(db: orm.Session, instance_uuid: str, name: str) -> dict[str, str]:
    """The latest status of each tag for which an event of that name came."""
    statement = sa.select(ExternalEvent).where(ExternalEvent.instance_uuid == instance_uuid, ExternalEvent.name == name)
    return {event.tag: event.status for event in db.scalars(statement.order_by(ExternalEvent.id))}


def forget(db: orm.Session, instance_uuids: Iterable[str]) -> None:
    """Delete what came for these servers."""
    db.execute(sa.delete(ExternalEvent).where(ExternalEvent.instance_uuid.in_(list(instance_uuids))))
