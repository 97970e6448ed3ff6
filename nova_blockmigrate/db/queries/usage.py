"""Servers that a project had during a time."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import rows

_ORDER = (("project_id", False), ("id", False))


def search(
    db: orm.Session, project_id: str | None, start: datetime.datetime, end: datetime.datetime, limit: int, marker: str | None
) -> list[Instance]:
    """Those that were launched before the end and not gone at the start, by project and age; None: of all projects.

    :raises exceptions.MarkerNotFound:
    """
    conditions: list[Any] = [
        Instance.launched_at.is_not(None),
        Instance.launched_at < end,
        sa.or_(Instance.terminated_at.is_(None), Instance.terminated_at > start),
    ]
    theirs = [] if project_id is None else [Instance.project_id == project_id]
    return rows.page(db, Instance, conditions + theirs, rows.Page(limit, marker, _ORDER), "uuid", theirs)
