"""Live migrations: their rows, and who runs them (leases). How many may run at a time is in `slots`."""

from __future__ import annotations

import datetime
import uuid as uuids
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Instance, Migration
from nova_blockmigrate.db.queries import rows
from nova_blockmigrate.objects import IN_PROGRESS_STATUSES, MigrationStatus

_UNFINISHED = Migration.status.in_(sorted(status.value for status in IN_PROGRESS_STATUSES))


def create(db: orm.Session, **values: Any) -> Migration:
    values.setdefault("uuid", str(uuids.uuid4()))
    return rows.add(db, Migration(**values))


def get(db: orm.Session, id: int) -> Migration:
    """
    :raises exceptions.MigrationNotFound:
    """
    migration = db.get(Migration, id)
    if migration is None:
        raise exceptions.MigrationNotFound(migration_id=id)
    return migration


def get_owned(db: orm.Session, id: int, owner: str) -> Migration | None:
    """The row as it is now, locked until the transaction ends; None when `owner` does not run it."""
    statement = sa.select(Migration).where(Migration.id == id, Migration.owner == owner).with_for_update()
    return db.scalar(statement.execution_options(populate_existing=True))


def update(db: orm.Session, id: int, **values: Any) -> Migration:
    """
    :raises exceptions.MigrationNotFound:
    """
    return rows.assign(db, get(db, id), values)


def id_of(db: orm.Session, uuid: str) -> int | None:
    """The id of the migration with this uuid that is under way."""
    return db.scalar(sa.select(Migration.id).where(Migration.uuid == uuid, _UNFINISHED))


def in_progress(db: orm.Session, instance_uuid: str) -> Migration | None:
    """The migration that the server is in: the newest, where one before it still finishes."""
    statement = sa.select(Migration).where(Migration.instance_uuid == instance_uuid, _UNFINISHED)
    return db.scalars(statement.order_by(Migration.id.desc()).limit(1)).first()


def unfinished_before(db: orm.Session, migration: Migration) -> int | None:
    """The id of an older migration of the same server that is not over."""
    older = (Migration.instance_uuid == migration.instance_uuid, Migration.id < migration.id)
    return db.scalar(sa.select(Migration.id).where(_UNFINISHED, *older).limit(1))


def arriving(db: orm.Session, instance_uuid: str) -> Migration | None:
    """The migration whose guest has moved to where its server is, and is not finished there."""
    statement = sa.select(Migration).where(Migration.instance_uuid == instance_uuid, _UNFINISHED)
    return db.scalar(statement.where(Migration.step == "finish_destination").limit(1))


def unfinished(db: orm.Session) -> list[Migration]:
    """All migrations that are under way, oldest first."""
    return list(db.scalars(sa.select(Migration).where(_UNFINISHED).order_by(Migration.id)))


def moving_by_host(db: orm.Session) -> dict[str, int]:
    """How many migrations from and to each host are under way."""
    found: dict[str, int] = {}
    for column in (Migration.source_compute, Migration.dest_compute):
        counted = sa.select(column, sa.func.count()).where(_UNFINISHED, column.is_not(None)).group_by(column)
        for host, number in db.execute(counted):
            found[str(host)] = found.get(str(host), 0) + number
    return found


def holding_slots_at(db: orm.Session, host: str) -> int:
    """How many migrations from or to a host hold its slots."""
    here = sa.or_(Migration.source_compute == host, Migration.dest_compute == host)
    found = db.scalar(sa.select(sa.func.count()).select_from(Migration).where(_UNFINISHED, here, Migration.holds_slot.is_(True)))
    return found or 0


def any_at(db: orm.Session, host: str) -> bool:
    """Whether a migration from a host, or to it (as far as that is known), is under way."""
    here = sa.or_(Migration.source_compute == host, Migration.dest_compute == host, Migration.requested_host == host)
    return db.scalar(sa.select(Migration.id).where(_UNFINISHED, here).limit(1)) is not None


def coming_to(db: orm.Session, host: str) -> list[tuple[Migration, Instance]]:
    """The migrations to a host, or to one that is still to be checked for it, with their servers; oldest first."""
    here = sa.or_(Migration.dest_compute == host, sa.and_(Migration.dest_compute.is_(None), Migration.requested_host == host))
    statement = sa.select(Migration, Instance).join(Instance, Instance.uuid == Migration.instance_uuid).where(_UNFINISHED, here)
    plain = orm.noload(Instance.ports), orm.noload(Instance.volumes), orm.defer(Migration.report)
    return [(migration, instance) for migration, instance in db.execute(statement.options(*plain).order_by(Migration.id))]


def servers_coming_to(db: orm.Session, host: str) -> list[str]:
    """Uuids of the servers that are on their way to a host."""
    return list(db.scalars(sa.select(Migration.instance_uuid).where(_UNFINISHED, Migration.dest_compute == host)))


def destinations(db: orm.Session, server_uuids: Collection[str]) -> dict[str, str]:
    """Where those of the servers that are on their way go to."""
    wanted = (_UNFINISHED, Migration.dest_compute.is_not(None), Migration.instance_uuid.in_(server_uuids))
    found = db.execute(sa.select(Migration.instance_uuid, Migration.dest_compute).where(*wanted))
    return {uuid: str(host) for uuid, host in found}


def memory_mib_coming(db: orm.Session) -> dict[str, int]:
    """Memory of the servers that are on their way to each host."""
    statement = sa.select(Migration.dest_compute, sa.func.sum(Instance.memory_mib)).join(
        Instance, Instance.uuid == Migration.instance_uuid
    )
    coming = statement.where(_UNFINISHED, Migration.dest_compute.is_not(None)).group_by(Migration.dest_compute)
    return {str(host): int(mib) for host, mib in db.execute(coming)}


def ends(db: orm.Session, uuids_asked: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Of the migrations with these uuids those that are over: their `status`, and the `host` that has the server now ("" when it
    was deleted since, None when nothing is known of it). A migration that has no row counts as an error."""
    columns = (Migration.uuid, Migration.status, Instance.uuid.is_not(None), Instance.deleted_at.is_not(None), Instance.host)
    query = sa.select(*columns).outerjoin(Instance, Instance.uuid == Migration.instance_uuid)
    over: dict[str, dict[str, str | None]] = {uuid: {"status": MigrationStatus.ERROR.value, "host": None} for uuid in uuids_asked}
    for uuid, status, is_known, is_deleted, host in db.execute(query.where(Migration.uuid.in_(uuids_asked))):
        if MigrationStatus(status).is_final:
            over[uuid] = {"status": status, "host": "" if is_known and is_deleted else host}
        else:
            del over[uuid]
    return over


def is_under_way(db: orm.Session, uuid: str, host: str) -> bool:
    """Whether a migration to this host is neither over nor on its way back, and its server not deleted. (One that failed with a
    host may be under way to another.)"""
    query = sa.select(Migration.id).join(Instance, Instance.uuid == Migration.instance_uuid)
    query = query.where(Migration.uuid == uuid, Migration.dest_compute == host, _UNFINISHED)
    return db.scalar(query.where(Migration.rolling_back.is_(False), Instance.deleted_at.is_(None))) is not None


# --- leases ----------------------------------------------------------------------------------------------------------


def _free(now: datetime.datetime) -> sa.ColumnElement[bool]:
    return sa.or_(Migration.owner.is_(None), Migration.lease_expires_at.is_(None), Migration.lease_expires_at <= now)


def ids_without_owner(db: orm.Session, now: datetime.datetime) -> list[int]:
    """Unfinished migrations that no living conductor runs, oldest first."""
    return list(db.scalars(sa.select(Migration.id).where(_UNFINISHED, _free(now)).order_by(Migration.id)))


def take_lease(db: orm.Session, id: int, owner: str, now: datetime.datetime, seconds: float) -> bool:
    """Own an unfinished migration that is free, or whose owner let it expire, or that is owned already. Each time begins a lease
    that hosts can tell from the ones before (`compute.epochs`)."""
    conditions = [Migration.id == id, _UNFINISHED, sa.or_(_free(now), Migration.owner == owner)]
    return rows.change_where(db, Migration, conditions, _lease(owner, now, seconds) | {"lease_epoch": Migration.lease_epoch + 1})


def renew_leases(db: orm.Session, ids: Collection[int], owner: str, now: datetime.datetime, seconds: float) -> None:
    """Go on owning those of them that are owned still."""
    conditions = [Migration.id.in_(sorted(ids)), Migration.owner == owner]
    rows.change_where(db, Migration, conditions, _lease(owner, now, seconds))


def release_lease(db: orm.Session, id: int, owner: str) -> None:
    conditions = [Migration.id == id, Migration.owner == owner]
    rows.change_where(db, Migration, conditions, {"owner": None, "lease_expires_at": None})


def _lease(owner: str, now: datetime.datetime, seconds: float) -> dict[str, Any]:
    return {"owner": owner, "lease_expires_at": now + datetime.timedelta(seconds=seconds)}
