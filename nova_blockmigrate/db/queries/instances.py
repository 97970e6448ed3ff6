"""Servers."""

from __future__ import annotations

import datetime
import uuid as uuids
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Instance, Port, utcnow
from nova_blockmigrate.db.queries import rows
from nova_blockmigrate.objects import VmState

_AT_ONCE = (orm.joinedload(Instance.ports), orm.joinedload(Instance.volumes))
"""A single server with what belongs to it: one statement instead of three. For lists the models' way is better."""


def get(db: orm.Session, uuid: str, include_deleted: bool = False) -> Instance:
    """
    :raises exceptions.InstanceNotFound:
    """
    conditions = [Instance.uuid == uuid]
    if not include_deleted:
        conditions.append(Instance.deleted_at.is_(None))
    instance = db.scalars(sa.select(Instance).where(*conditions).options(*_AT_ONCE)).unique().one_or_none()
    if instance is None:
        raise exceptions.InstanceNotFound(instance_id=uuid)
    return instance


def create(db: orm.Session, **values: Any) -> Instance:
    values.setdefault("uuid", str(uuids.uuid4()))
    return rows.add(db, Instance(**values))


def update(db: orm.Session, uuid: str, **values: Any) -> Instance:
    """
    :raises exceptions.InstanceNotFound:
    """
    return rows.assign(db, get(db, uuid, include_deleted=True), values)


def swap_task_state(
    db: orm.Session, uuid: str, expected: Sequence[str | None], new: str | None, vm_states: Sequence[str] | None = None
) -> bool:
    """Set task_state to `new` if it is one of `expected` (and vm_state one of `vm_states`); whether it was."""
    alternatives = [Instance.task_state.is_(None) if state is None else Instance.task_state == state for state in expected]
    conditions = [Instance.uuid == uuid, Instance.deleted_at.is_(None), sa.or_(sa.false(), *alternatives)]
    if vm_states is not None:
        conditions.append(Instance.vm_state.in_(vm_states))
    return rows.change_where(db, Instance, conditions, {"task_state": new})


def on_host(db: orm.Session, host: str) -> list[Instance]:
    """The servers of a host, oldest first; deleted ones are not among them."""
    statement = sa.select(Instance).where(Instance.host == host, Instance.deleted_at.is_(None)).order_by(Instance.id)
    return list(db.scalars(statement))


class ServerStates(NamedTuple):
    """What of a server is compared with its guest."""

    uuid: str
    vm_state: str
    power_state: int
    task_state: str | None
    created_at: datetime.datetime
    updated_at: datetime.datetime | None


def states_on(db: orm.Session, host: str) -> list[ServerStates]:
    """The same servers, of each only its states: asked for with every report of every host."""
    columns = [getattr(Instance, name) for name in ServerStates._fields]
    statement = sa.select(*columns).where(Instance.host == host, Instance.deleted_at.is_(None)).order_by(Instance.id)
    return [ServerStates(*row) for row in db.execute(statement)]


def with_ports_on(db: orm.Session, host: str) -> list[Instance]:
    """The servers of a host that have ports of ours."""
    having = Instance.id.in_(sa.select(Port.instance_id).where(Port.instance_id.is_not(None)))
    statement = sa.select(Instance).where(Instance.host == host, Instance.deleted_at.is_(None), having).order_by(Instance.id)
    return list(db.scalars(statement))


def disk_gib_on(db: orm.Session, host: str) -> dict[str, int]:
    """Virtual size of the local disk of each server of a host, by its uuid."""
    statement = sa.select(Instance.uuid, Instance.root_gib).where(Instance.host == host, Instance.deleted_at.is_(None))
    return {uuid: gib for uuid, gib in db.execute(statement)}


def memory_mib_by_host(db: orm.Session) -> dict[str, int]:
    """What the servers that are not stopped have together, for each host that has any."""
    statement = sa.select(Instance.host, sa.func.sum(Instance.memory_mib)).where(
        Instance.host.is_not(None), Instance.deleted_at.is_(None), Instance.vm_state != VmState.STOPPED.value
    )
    return {host: int(mib) for host, mib in db.execute(statement.group_by(Instance.host)) if host is not None}


def forget(db: orm.Session, uuid: str) -> None:
    """Remove the row of a server that has neither ports nor volumes, as if it had never been; one that is not there is fine."""
    for instance in db.scalars(sa.select(Instance).where(Instance.uuid == uuid)).all():
        db.delete(instance)
    db.flush()


def mark_deleted(db: orm.Session, uuid: str, now: datetime.datetime | None = None) -> Instance:
    """The server is gone: it leaves the lists, its row stays.

    :raises exceptions.InstanceNotFound:
    """
    gone = now or utcnow()
    return update(db, uuid, vm_state=VmState.DELETED.value, task_state=None, deleted_at=gone, terminated_at=gone)
