"""Flavors."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Flavor
from nova_blockmigrate.db.queries import rows


def create(db: orm.Session, **values: Any) -> Flavor:
    """
    :raises exceptions.NameInUse: the name or the id is taken.
    """
    values["flavorid"] = values.get("flavorid") or str(uuids.uuid4())
    try:
        return rows.add(db, Flavor(**values))
    except db_exception.DBDuplicateEntry as error:
        raise exceptions.NameInUse(what="flavor", name=f"{values['name']} (or with ID {values['flavorid']})") from error


def get(db: orm.Session, flavorid: str) -> Flavor:
    """
    :raises exceptions.FlavorNotFound:
    """
    flavor = db.scalar(sa.select(Flavor).where(Flavor.flavorid == flavorid))
    if flavor is None:
        raise exceptions.FlavorNotFound(flavor_id=flavorid)
    return flavor


def search(db: orm.Session, conditions: Sequence[Any] = (), page: rows.Page | None = None) -> list[Flavor]:
    """
    :raises exceptions.MarkerNotFound:
    """
    return rows.page(db, Flavor, conditions, page or rows.Page(sort=(("flavorid", False),)), "flavorid")


def update(db: orm.Session, flavorid: str, **values: Any) -> Flavor:
    """
    :raises exceptions.FlavorNotFound:
    """
    return rows.assign(db, get(db, flavorid), values)


def delete(db: orm.Session, flavorid: str) -> None:
    """Servers keep their copy of it.

    :raises exceptions.FlavorNotFound:
    """
    db.delete(get(db, flavorid))
    db.flush()
