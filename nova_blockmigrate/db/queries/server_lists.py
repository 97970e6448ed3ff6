"""Lists of servers: the filters that the API knows, as conditions."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import known_addresses, rows

EXPRESSION_TIME_S = 10
"""What a list may take for which a user gives a regular expression: some are very slow."""
State = tuple[str, list[str], list[str]]


@dataclasses.dataclass(frozen=True)
class Filters:
    """What the servers of a list must have; None or empty: does not matter."""

    project_id: str | None = None
    deleted: bool | None = False
    """None: deleted ones too."""
    states: tuple[State, ...] | None = None
    """Alternatives: vm_state, task states one of which is needed, task states that must not be."""
    name: str | None = None
    """A regular expression, found anywhere in the name."""
    ip: str | None = None
    """Likewise, of an address."""
    ip6: str | None = None
    flavor: str | None = None
    """Id of the flavor that they were made with."""
    changed_since: datetime.datetime | None = None
    changed_before: datetime.datetime | None = None
    tags: tuple[str, ...] = ()
    """All of them."""
    tags_any: tuple[str, ...] = ()
    """At least one of them."""
    not_tags: tuple[str, ...] = ()
    """Not all of them."""
    not_tags_any: tuple[str, ...] = ()
    """None of them."""
    equal: tuple[tuple[str, Any], ...] = ()
    """Columns and the values that they must have."""


def search(db: orm.Session, filters: Filters, page: rows.Page) -> list[Instance]:
    """
    :raises exceptions.MarkerNotFound:
    :raises exceptions.ValidationError: the database does not take a regular expression of the filters (dialects differ), or it
        takes too long.
    """
    given = [repr(text) for text in (filters.name, filters.ip, filters.ip6) if text is not None]
    try:
        with session.limited(db, EXPRESSION_TIME_S) if given else contextlib.nullcontext():
            return rows.page(db, Instance, conditions(filters), page, "uuid", _owned(filters))
    except db_exception.DBConnectionError:
        raise
    except (db_exception.DBError, sa.exc.OperationalError) as error:  # (SQLite's and MariaDB's refusals are passed as they are)
        if not given:
            raise
        expressions = " and ".join(given)
        detail = f"the database does not understand the regular expression {expressions}, or takes too long over it"
        raise exceptions.ValidationError(detail=detail) from error


def names_by_host(db: orm.Session, hosts: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """For each of the hosts that has any, the name and uuid of its servers."""
    found: dict[str, list[tuple[str, str]]] = {}
    columns = orm.load_only(Instance.host, Instance.id, Instance.uuid, Instance.adopted)
    statement = (
        sa.select(Instance)
        .options(columns, orm.noload(Instance.ports))
        .where(Instance.deleted_at.is_(None), Instance.host.in_(hosts))
    )
    for instance in db.scalars(statement.order_by(Instance.id)):
        found.setdefault(instance.host or "", []).append((instance.domain_name, instance.uuid))
    return found


def named(db: orm.Session, name: str) -> list[Instance]:
    """Servers that have exactly this name, deleted ones left out."""
    return list(db.scalars(sa.select(Instance).where(Instance.display_name == name, Instance.deleted_at.is_(None))))


def totals(db: orm.Session, project_id: str) -> tuple[int, int, int]:
    """How many servers a project has, and their vCPUs and MiB of memory together."""
    count, vcpus, memory = sa.func.count(), sa.func.sum(Instance.vcpus), sa.func.sum(Instance.memory_mib)
    statement = sa.select(count, vcpus, memory).where(Instance.project_id == project_id, Instance.deleted_at.is_(None))
    found = db.execute(statement).one()
    return int(found[0]), int(found[1] or 0), int(found[2] or 0)


def conditions(filters: Filters) -> list[Any]:
    found: list[Any] = [getattr(Instance, column) == value for column, value in filters.equal]
    found += _owned(filters)
    if filters.deleted is not None:
        found.append(Instance.deleted_at.is_not(None) if filters.deleted else Instance.deleted_at.is_(None))
    if filters.states is not None:
        found.append(sa.or_(sa.false(), *(_state(*alternative) for alternative in filters.states)))
    if filters.name is not None:
        found.append(Instance.display_name.regexp_match(filters.name))
    for ip in (filters.ip, filters.ip6):
        if ip is not None:
            found.append(known_addresses.matching(ip))
    if filters.flavor is not None:
        found.append(Instance.flavor["flavorid"].as_string() == filters.flavor)
    found += _tag_conditions(filters)
    changed = sa.func.coalesce(Instance.updated_at, Instance.created_at)
    if filters.changed_since is not None:
        found.append(changed >= filters.changed_since)
    if filters.changed_before is not None:
        found.append(changed <= filters.changed_before)
    return found


def _owned(filters: Filters) -> list[Any]:
    """Whose servers they are: of others none is a marker either, or it would tell that they exist."""
    theirs: list[Any] = [Instance.user_id == value for column, value in filters.equal if column == "user_id"]
    return theirs + ([] if filters.project_id is None else [Instance.project_id == filters.project_id])


def _tag_conditions(filters: Filters) -> list[Any]:
    found: list[Any] = [_has_tag(tag) for tag in filters.tags]
    if filters.tags_any:
        found.append(sa.or_(*(_has_tag(tag) for tag in filters.tags_any)))
    if filters.not_tags:
        found.append(sa.not_(sa.and_(*(_has_tag(tag) for tag in filters.not_tags))))
    return found + [sa.not_(_has_tag(tag)) for tag in filters.not_tags_any]


def _has_tag(tag: str) -> sa.ColumnElement[bool]:
    """Tags are a JSON list: the quoted word is looked for in its text."""
    return sa.cast(Instance.tags, sa.Text).contains(json.dumps(tag), autoescape=True)


def _state(vm_state: str, needed: list[str], excluded: list[str]) -> sa.ColumnElement[bool]:
    parts: list[Any] = [Instance.vm_state == vm_state]
    if needed:
        parts.append(Instance.task_state.in_(needed))
    if excluded:
        parts.append(sa.or_(Instance.task_state.is_(None), Instance.task_state.not_in(excluded)))
    return sa.and_(*parts)
