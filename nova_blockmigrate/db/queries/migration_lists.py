"""Lists of migrations, as the API shows them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import Migration
from nova_blockmigrate.db.queries import rows
from nova_blockmigrate.objects import IN_PROGRESS_STATUSES, MigrationStatus

_ORDER = (("created_at", True), ("id", True))


@dataclasses.dataclass(frozen=True)
class Filters:
    """What the migrations of a list must have; None or empty: does not matter."""

    host: str | None = None
    """Source or destination."""
    changed_since: datetime.datetime | None = None
    changed_before: datetime.datetime | None = None
    equal: tuple[tuple[str, Any], ...] = ()
    """Columns and the values that they must have."""


def in_progress(db: orm.Session, instance_uuid: str) -> list[Migration]:
    unfinished = sorted(status.value for status in IN_PROGRESS_STATUSES)
    statement = sa.select(Migration).where(Migration.instance_uuid == instance_uuid, Migration.status.in_(unfinished))
    return list(db.scalars(statement.order_by(Migration.id)))


def completed(db: orm.Session, limit: int, source: str | None = None, destination: str | None = None) -> list[Migration]:
    """The newest completed ones, between two hosts or all."""
    conditions = [Migration.status == MigrationStatus.COMPLETED.value]
    if source is not None:
        conditions.append(Migration.source_compute == source)
    if destination is not None:
        conditions.append(Migration.dest_compute == destination)
    return list(db.scalars(sa.select(Migration).where(*conditions).order_by(Migration.id.desc()).limit(limit)))


def search(db: orm.Session, filters: Filters, limit: int | None = None, marker: str | None = None) -> list[Migration]:
    """Newest first; the marker is a migration's uuid, of the project that is asked for.

    :raises exceptions.MarkerNotFound:
    """
    conditions: list[Any] = [getattr(Migration, column) == value for column, value in filters.equal]
    if filters.host is not None:
        conditions.append(sa.or_(Migration.source_compute == filters.host, Migration.dest_compute == filters.host))
    changed = sa.func.coalesce(Migration.updated_at, Migration.created_at)
    if filters.changed_since is not None:
        conditions.append(changed >= filters.changed_since)
    if filters.changed_before is not None:
        conditions.append(changed <= filters.changed_before)
    theirs = [Migration.project_id == value for column, value in filters.equal if column == "project_id"]
    return rows.page(db, Migration, conditions, rows.Page(limit, marker, _ORDER), "uuid", theirs)
