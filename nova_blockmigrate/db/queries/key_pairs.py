"""Key pairs of users."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.project_models import KeyPair
from nova_blockmigrate.db.queries import rows


class KeyPairExists(exceptions.Conflict):
    template = "Key pair '{name}' already exists."


class KeyPairNotFound(exceptions.NotFound):
    template = "Keypair {name} not found for user {user_id}"


def create(db: orm.Session, **values: Any) -> KeyPair:
    """
    :raises KeyPairExists: the user has one of that name.
    """
    try:
        return rows.add(db, KeyPair(**values))
    except db_exception.DBDuplicateEntry as error:
        raise KeyPairExists(name=values["name"]) from error


def get(db: orm.Session, user_id: str, name: str) -> KeyPair:
    """
    :raises KeyPairNotFound:
    """
    found = db.scalar(sa.select(KeyPair).where(KeyPair.user_id == user_id, KeyPair.name == name))
    if found is None:
        raise KeyPairNotFound(name=name, user_id=user_id)
    return found


def search(db: orm.Session, user_id: str, limit: int | None = None, marker: str | None = None) -> list[KeyPair]:
    """By name; the marker is a name.

    :raises exceptions.MarkerNotFound:
    """
    of_user = [KeyPair.user_id == user_id]
    return rows.page(db, KeyPair, of_user, rows.Page(limit, marker, (("name", False),)), "name", of_user)


def count(db: orm.Session, user_id: str) -> int:
    return db.scalar(sa.select(sa.func.count()).select_from(KeyPair).where(KeyPair.user_id == user_id)) or 0


def delete(db: orm.Session, user_id: str, name: str) -> None:
    """Servers that were made with it keep its name.

    :raises KeyPairNotFound:
    """
    db.delete(get(db, user_id, name))
    db.flush()
