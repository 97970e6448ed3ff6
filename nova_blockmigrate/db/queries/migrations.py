"""Live migrations: their rows, who runs them (leases), and how many may run at a time (slots)."""

from __future__ import annotations

import collections
import datetime
import uuid as uuids
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import ComputeNode, Migration
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


def update(db: orm.Session, id: int, **values: Any) -> Migration:
    """
    :raises exceptions.MigrationNotFound:
    """
    return rows.assign(db, get(db, id), values)


def in_progress(db: orm.Session, instance_uuid: str) -> Migration | None:
    """The migration that the server is in; there is one at most."""
    statement = sa.select(Migration).where(Migration.instance_uuid == instance_uuid, _UNFINISHED)
    return db.scalars(statement.order_by(Migration.id.desc()).limit(1)).first()


def unfinished(db: orm.Session) -> list[Migration]:
    """All migrations that are under way, oldest first."""
    return list(db.scalars(sa.select(Migration).where(_UNFINISHED).order_by(Migration.id)))


def final_statuses(db: orm.Session, uuids_asked: Sequence[str]) -> dict[str, str]:
    """Of the migrations with these uuids those that are over, with their status; one that has no row counts as an error."""
    found = {row.uuid: row.status for row in db.scalars(sa.select(Migration).where(Migration.uuid.in_(uuids_asked)))}
    over = {uuid: status for uuid, status in found.items() if MigrationStatus(status).is_final}
    return over | {uuid: MigrationStatus.ERROR.value for uuid in uuids_asked if uuid not in found}


# --- leases ----------------------------------------------------------------------------------------------------------


def _free(now: datetime.datetime) -> sa.ColumnElement[bool]:
    return sa.or_(Migration.owner.is_(None), Migration.lease_expires_at.is_(None), Migration.lease_expires_at <= now)


def ids_without_owner(db: orm.Session, now: datetime.datetime) -> list[int]:
    """Unfinished migrations that no living conductor runs, oldest first."""
    return list(db.scalars(sa.select(Migration.id).where(_UNFINISHED, _free(now)).order_by(Migration.id)))


def take_lease(db: orm.Session, id: int, owner: str, now: datetime.datetime, seconds: float) -> bool:
    """Own an unfinished migration that is free, or whose owner let it expire, or that is owned already."""
    conditions = [Migration.id == id, _UNFINISHED, sa.or_(_free(now), Migration.owner == owner)]
    return rows.change_where(db, Migration, conditions, _lease(owner, now, seconds))


def renew_lease(db: orm.Session, id: int, owner: str, now: datetime.datetime, seconds: float) -> bool:
    """Go on owning; false when another one has taken over."""
    conditions = [Migration.id == id, Migration.owner == owner]
    return rows.change_where(db, Migration, conditions, _lease(owner, now, seconds))


def release_lease(db: orm.Session, id: int, owner: str) -> None:
    conditions = [Migration.id == id, Migration.owner == owner]
    rows.change_where(db, Migration, conditions, {"owner": None, "lease_expires_at": None})


def _lease(owner: str, now: datetime.datetime, seconds: float) -> dict[str, Any]:
    return {"owner": owner, "lease_expires_at": now + datetime.timedelta(seconds=seconds)}


# --- slots -----------------------------------------------------------------------------------------------------------


class Route(NamedTuple):
    """From which host to which."""

    source: str
    destination: str


def may_start(candidate: Route, running: Iterable[Route], waiting_longer: Iterable[Route], limit_per_host: int) -> bool:
    """Whether `candidate` finds a free slot at both its hosts once those who came before it have taken theirs."""
    leaving: collections.Counter[str] = collections.Counter()
    arriving: collections.Counter[str] = collections.Counter()

    def fits(route: Route) -> bool:
        return leaving[route.source] < limit_per_host and arriving[route.destination] < limit_per_host

    def count(route: Route) -> None:
        leaving[route.source] += 1
        arriving[route.destination] += 1

    for route in running:
        count(route)
    for route in waiting_longer:
        if fits(route):
            count(route)
    return fits(candidate)


def claim_slot(db: orm.Session, id: int, limit_per_host: int) -> bool:
    """Take the slots of a migration at its source and destination, when its turn has come.

    Locks the rows of both hosts in the order of their names: conductors that claim for the same host do so one after the
    other, and never wait for each other in a circle.

    :raises exceptions.MigrationNotFound:
    """
    wanted = get(db, id)
    if wanted.dest_compute is None:
        raise ValueError(f"migration {id} has no destination yet")
    route = Route(wanted.source_compute, wanted.dest_compute)
    db.execute(sa.select(ComputeNode.id).where(ComputeNode.host.in_(route)).order_by(ComputeNode.host).with_for_update())
    db.refresh(wanted)
    if wanted.holds_slot:
        return True
    running = _routes(db, Migration.holds_slot.is_(True))
    waiting_longer = _routes(
        db,
        sa.or_(Migration.priority > wanted.priority, sa.and_(Migration.priority == wanted.priority, Migration.id < id)),
        Migration.status == MigrationStatus.QUEUED.value,
        Migration.holds_slot.is_(False),
        Migration.rolling_back.is_(False),
        Migration.abort_requested.is_(False),
    )
    if not may_start(route, running, waiting_longer, limit_per_host):
        return False
    rows.assign(db, wanted, {"holds_slot": True})
    return True


def release_slot(db: orm.Session, id: int) -> None:
    rows.change_where(db, Migration, [Migration.id == id], {"holds_slot": False})


def _routes(db: orm.Session, *conditions: Any) -> list[Route]:
    statement = sa.select(Migration.source_compute, Migration.dest_compute).where(
        _UNFINISHED, Migration.dest_compute.is_not(None), *conditions
    )
    in_order = statement.order_by(Migration.priority.desc(), Migration.id)
    return [Route(source, destination) for source, destination in db.execute(in_order) if destination]
