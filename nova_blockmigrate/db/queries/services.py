"""Services and whether they are alive."""

from __future__ import annotations

import datetime
import uuid as uuids
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Service
from nova_blockmigrate.db.queries import rows


def find(db: orm.Session, host: str, binary: str) -> Service | None:
    return db.scalar(sa.select(Service).where(Service.host == host, Service.binary == binary))


def get(db: orm.Session, host: str, binary: str) -> Service:
    """
    :raises exceptions.ServiceNotFound:
    """
    service = find(db, host, binary)
    if service is None:
        raise exceptions.ServiceNotFound(service_id=f"{binary} on {host}")
    return service


def report(db: orm.Session, host: str, binary: str, now: datetime.datetime) -> Service:
    """A sign of life; the first one makes the service known."""
    service = find(db, host, binary) or _create(db, host, binary)
    return rows.assign(db, service, {"report_count": service.report_count + 1, "last_seen_up": now})


def is_up(service: Service, now: datetime.datetime, down_time_s: float) -> bool:
    """Whether it reported within `down_time_s`, and nobody declared it down."""
    if service.forced_down or service.last_seen_up is None:
        return False
    return abs((now - service.last_seen_up).total_seconds()) <= down_time_s


def update(db: orm.Session, service: Service, **values: Any) -> Service:
    return rows.assign(db, service, values)


def _create(db: orm.Session, host: str, binary: str) -> Service:
    try:
        with db.begin_nested():
            return rows.add(db, Service(uuid=str(uuids.uuid4()), host=host, binary=binary, report_count=0))
    except db_exception.DBDuplicateEntry:  # another conductor heard it first
        return get(db, host, binary)
