"""Lists of instance actions, as the API shows them."""

from __future__ import annotations

import datetime

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import InstanceAction
from nova_blockmigrate.db.queries import rows

_ORDER = (("created_at", True), ("id", True))


def of_server(
    db: orm.Session,
    instance_uuid: str,
    changed_since: datetime.datetime | None = None,
    changed_before: datetime.datetime | None = None,
    limit: int | None = None,
    marker: str | None = None,
) -> list[InstanceAction]:
    """Newest first; the marker is an action's request id.

    :raises exceptions.MarkerNotFound:
    """
    of_this = InstanceAction.instance_uuid == instance_uuid
    conditions: list[sa.ColumnElement[bool]] = [of_this]
    changed = sa.func.coalesce(InstanceAction.updated_at, InstanceAction.created_at)
    if changed_since is not None:
        conditions.append(changed >= changed_since)
    if changed_before is not None:
        conditions.append(changed <= changed_before)
    return rows.page(db, InstanceAction, conditions, rows.Page(limit, marker, _ORDER), "request_id", [of_this])
