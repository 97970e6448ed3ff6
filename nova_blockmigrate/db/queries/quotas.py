"""Limits of projects: those that were set; what holds without is configuration (`[quota]`)."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate.db.project_models import Quota
from nova_blockmigrate.db.queries import rows

DEFAULTS = ""
"""Stands for a project: the limits of all that have none of their own."""


def of_project(db: orm.Session, project_id: str) -> dict[str, int]:
    """The limits that were set for it, by resource."""
    found = db.execute(sa.select(Quota.resource, Quota.hard_limit).where(Quota.project_id == project_id))
    return {resource: limit for resource, limit in found}


def change(db: orm.Session, project_id: str, limits: Mapping[str, int]) -> None:
    there = {quota.resource: quota for quota in db.scalars(sa.select(Quota).where(Quota.project_id == project_id))}
    for resource, limit in limits.items():
        if resource in there:
            rows.assign(db, there[resource], {"hard_limit": limit})
        else:
            rows.add(db, Quota(project_id=project_id, resource=resource, hard_limit=limit))


def forget(db: orm.Session, project_id: str) -> None:
    """The defaults hold again."""
    db.execute(sa.delete(Quota).where(Quota.project_id == project_id))
