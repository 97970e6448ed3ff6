"""Which projects may use flavors that are not public."""

from __future__ import annotations

from typing import Any, Protocol

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Flavor
from nova_blockmigrate.db.project_models import FlavorAccess
from nova_blockmigrate.db.queries import flavors, rows


class AccessExists(exceptions.Conflict):
    template = "Flavor access already exists for flavor {flavor_id} and project {project_id} combination."


class AccessNotFound(exceptions.NotFound):
    template = "Flavor access not found for {flavor_id} / {project_id} combination."


class Caller(Protocol):
    """Who looks at flavors."""

    is_admin: bool | None
    project_id: str | None


def projects(db: orm.Session, flavor: Flavor) -> list[str]:
    statement = sa.select(FlavorAccess.project_id).where(FlavorAccess.flavor_id == flavor.id).order_by(FlavorAccess.id)
    return list(db.scalars(statement))


def add(db: orm.Session, flavor: Flavor, project_id: str) -> None:
    """
    :raises AccessExists:
    """
    flavorid = flavor.flavorid  # (a transaction that failed cannot be asked for it)
    try:
        rows.add(db, FlavorAccess(flavor_id=flavor.id, project_id=project_id))
    except db_exception.DBDuplicateEntry as error:
        raise AccessExists(flavor_id=flavorid, project_id=project_id) from error


def remove(db: orm.Session, flavor: Flavor, project_id: str) -> None:
    """
    :raises AccessNotFound:
    """
    of_project = FlavorAccess.flavor_id == flavor.id, FlavorAccess.project_id == project_id
    found = db.scalar(sa.select(FlavorAccess).where(*of_project))
    if found is None:
        raise AccessNotFound(flavor_id=flavor.flavorid, project_id=project_id)
    db.delete(found)
    db.flush()


def condition(project_id: str | None) -> Any:
    """Flavors that a project may use."""
    shown = sa.select(FlavorAccess.flavor_id).where(FlavorAccess.project_id == (project_id or ""))
    return sa.or_(Flavor.is_public.is_(True), Flavor.id.in_(shown))


def visible(db: orm.Session, caller: Caller, flavorid: str) -> Flavor:
    """The flavor, if the caller may see it.

    :raises exceptions.FlavorNotFound: there is none, or it is others'.
    """
    flavor = flavors.get(db, flavorid)
    if flavor.is_public or caller.is_admin or (caller.project_id or "") in projects(db, flavor):
        return flavor
    raise exceptions.FlavorNotFound(flavor_id=flavorid)


def forget(db: orm.Session, flavor: Flavor) -> None:
    db.execute(sa.delete(FlavorAccess).where(FlavorAccess.flavor_id == flavor.id))
