"""Instance actions and their events: the history that users see of a server."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import InstanceAction, InstanceActionEvent, utcnow
from nova_blockmigrate.db.queries import rows

_MESSAGE_LENGTH = 255


def start(
    db: orm.Session,
    instance_uuid: str,
    action: str,
    request_id: str,
    user_id: str,
    project_id: str,
    now: datetime.datetime | None = None,
) -> InstanceAction:
    begun = InstanceAction(
        action=action,
        instance_uuid=instance_uuid,
        request_id=request_id,
        user_id=user_id,
        project_id=project_id,
        start_time=now or utcnow(),
    )
    return rows.add(db, begun)


def get(db: orm.Session, instance_uuid: str, request_id: str) -> InstanceAction:
    """
    :raises exceptions.ActionNotFound:
    """
    return _get(db, instance_uuid, request_id)


def get_with_events(db: orm.Session, instance_uuid: str, request_id: str) -> InstanceAction:
    """The same, with its events.

    :raises exceptions.ActionNotFound:
    """
    return _get(db, instance_uuid, request_id, orm.selectinload(InstanceAction.events))


def find(db: orm.Session, instance_uuid: str, request_id: str) -> InstanceAction | None:
    """The action of a request, if that began one."""
    try:
        return _get(db, instance_uuid, request_id)
    except exceptions.ActionNotFound:
        return None


def _get(db: orm.Session, instance_uuid: str, request_id: str, *options: Any) -> InstanceAction:
    wanted = (InstanceAction.instance_uuid == instance_uuid, InstanceAction.request_id == request_id)
    statement = sa.select(InstanceAction).where(*wanted).options(*options).order_by(InstanceAction.id.desc()).limit(1)
    action = db.scalars(statement).first()
    if action is None:
        raise exceptions.ActionNotFound(request_id=request_id, instance_id=instance_uuid)
    return action


def finish(
    db: orm.Session, instance_uuid: str, request_id: str, message: str | None = None, now: datetime.datetime | None = None
) -> None:
    """The action is over; `message` says why it failed, and is None when it succeeded.

    :raises exceptions.ActionNotFound:
    """
    shown = message[:_MESSAGE_LENGTH] if message else None
    rows.assign(db, get(db, instance_uuid, request_id), {"finish_time": now or utcnow(), "message": shown})


def start_event(
    db: orm.Session, instance_uuid: str, request_id: str, event: str, host: str | None, now: datetime.datetime | None = None
) -> None:
    """Begin a part of an action.

    :raises exceptions.ActionNotFound:
    """
    action = get(db, instance_uuid, request_id)
    begun = InstanceActionEvent(action_id=action.id, event=event, host=host, start_time=now or utcnow())
    db.add(begun)
    rows.assign(db, action, {"updated_at": begun.start_time})


def end_open_events(
    db: orm.Session,
    instance_uuid: str,
    request_id: str,
    result: str,
    details: str | None = None,
    now: datetime.datetime | None = None,
) -> None:
    """End whatever part of an action is under way, with "Success" or "Error"; `details` are for its user.

    :raises exceptions.ActionNotFound:
    """
    action = get(db, instance_uuid, request_id)
    conditions = [InstanceActionEvent.action_id == action.id, InstanceActionEvent.finish_time.is_(None)]
    values = {"finish_time": now or utcnow(), "result": result, "details": details}
    rows.change_where(db, InstanceActionEvent, conditions, values)


def next_event(
    db: orm.Session, instance_uuid: str, request_id: str, event: str | None, host: str | None, is_last: bool = False
) -> None:
    """The part that is under way has succeeded. The next begins (`event` None: it has no event), or the action is over.

    :raises exceptions.ActionNotFound:
    """
    action, now = get(db, instance_uuid, request_id), utcnow()
    conditions = [InstanceActionEvent.action_id == action.id, InstanceActionEvent.finish_time.is_(None)]
    rows.change_where(db, InstanceActionEvent, conditions, {"finish_time": now, "result": "Success"})
    if is_last:
        rows.assign(db, action, {"finish_time": now, "message": None})
    elif event is not None:
        db.add(InstanceActionEvent(action_id=action.id, event=event, host=host, start_time=now))
        rows.assign(db, action, {"updated_at": now})
