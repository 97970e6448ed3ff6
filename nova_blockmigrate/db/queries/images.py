"""Images of the embedded image source: what is known of the files."""

from __future__ import annotations

import uuid as uuids
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Image
from nova_blockmigrate.db.queries import rows


def create(db: orm.Session, **values: Any) -> Image:
    """
    :raises exceptions.NameInUse: the name or the id is taken.
    """
    values["id"] = values.get("id") or str(uuids.uuid4())
    try:
        return rows.add(db, Image(**values))
    except db_exception.DBDuplicateEntry as error:
        raise exceptions.NameInUse(what="image", name=f"{values['name']} (or with ID {values['id']})") from error


def get(db: orm.Session, id: str) -> Image:
    """
    :raises exceptions.ImageNotFound:
    """
    image = db.get(Image, id)
    if image is None:
        raise exceptions.ImageNotFound(image_id=id)
    return image


def search(db: orm.Session, name: str | None = None, id: str | None = None) -> list[Image]:
    """Newest first."""
    statement = sa.select(Image).order_by(Image.created_at.desc(), Image.id)
    if name is not None:
        statement = statement.where(Image.name == name)
    if id is not None:
        statement = statement.where(Image.id == id)
    return list(db.scalars(statement))


def delete(db: orm.Session, id: str) -> None:
    """
    :raises exceptions.ImageNotFound:
    """
    db.delete(get(db, id))
    db.flush()
