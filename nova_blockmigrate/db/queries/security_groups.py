"""Security groups: their rules, and who is in them."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Instance, Port, PortSecurityGroup, SecurityGroup, SecurityGroupRule
from nova_blockmigrate.db.queries import rows

DEFAULT = "default"


def create(db: orm.Session, project_id: str, name: str, description: str = "") -> SecurityGroup:
    """A group that lets everything leave and nothing come.

    :raises exceptions.NameInUse:
    """
    try:
        with db.begin_nested():
            group = rows.add(db, SecurityGroup(id=str(uuids.uuid4()), project_id=project_id, name=name, description=description))
    except db_exception.DBDuplicateEntry as error:
        raise exceptions.NameInUse(what="security group", name=name) from error
    for ethertype in ("IPv4", "IPv6"):
        add_rule(db, group.id, direction="egress", ethertype=ethertype)
    return group


def default(db: orm.Session, project_id: str) -> SecurityGroup:
    """The project's group of servers that name none; made when it is first needed. Its members reach each other."""
    found = _named(db, project_id, DEFAULT)
    if found is not None:
        return found
    try:
        group = create(db, project_id, DEFAULT, "Default security group")
    except exceptions.NameInUse:  # another request was faster
        return get(db, project_id, DEFAULT)
    for ethertype in ("IPv4", "IPv6"):
        add_rule(db, group.id, direction="ingress", ethertype=ethertype, remote_group_id=group.id)
    return group


def get(db: orm.Session, project_id: str, name_or_id: str) -> SecurityGroup:
    """
    :raises exceptions.SecurityGroupNotFound:
    """
    found = db.scalar(sa.select(SecurityGroup).where(SecurityGroup.id == name_or_id, SecurityGroup.project_id == project_id))
    if found is None and name_or_id == DEFAULT:
        return _named(db, project_id, DEFAULT) or default(db, project_id)
    found = found or _named(db, project_id, name_or_id)
    if found is None:
        raise exceptions.SecurityGroupNotFound(security_group_id=name_or_id, project_id=project_id)
    return found


def _named(db: orm.Session, project_id: str, name: str) -> SecurityGroup | None:
    return db.scalar(sa.select(SecurityGroup).where(SecurityGroup.project_id == project_id, SecurityGroup.name == name))


def search(db: orm.Session, project_id: str | None = None) -> list[SecurityGroup]:
    statement = sa.select(SecurityGroup).order_by(SecurityGroup.project_id, SecurityGroup.name)
    return list(db.scalars(statement.where(SecurityGroup.project_id == project_id) if project_id is not None else statement))


def delete(db: orm.Session, group: SecurityGroup) -> None:
    """
    :raises exceptions.Conflict: servers are in it, or another group's rule names it.
    """
    if db.scalar(sa.select(sa.func.count()).where(PortSecurityGroup.group_id == group.id)):
        raise exceptions.Conflict(f"Security group {group.name} has servers: take them out of it first.")
    named = sa.select(sa.func.count()).where(SecurityGroupRule.remote_group_id == group.id, SecurityGroupRule.group_id != group.id)
    if db.scalar(named):
        raise exceptions.Conflict(f"Security group {group.name} is named by rules of other groups: delete those first.")
    db.execute(sa.delete(SecurityGroupRule).where(SecurityGroupRule.group_id == group.id))
    db.execute(sa.delete(SecurityGroup).where(SecurityGroup.id == group.id))


# --- rules --------------------------------------------------------------------------------------------------------------


def add_rule(db: orm.Session, group_id: str, **values: Any) -> SecurityGroupRule:
    return rows.add(db, SecurityGroupRule(id=str(uuids.uuid4()), group_id=group_id, **values))


def get_rule(db: orm.Session, rule_id: str) -> SecurityGroupRule:
    """
    :raises exceptions.NotFound:
    """
    rule = db.get(SecurityGroupRule, rule_id)
    if rule is None:
        raise exceptions.NotFound(f"Security group rule {rule_id} could not be found.")
    return rule


def delete_rule(db: orm.Session, rule: SecurityGroupRule) -> None:
    db.delete(rule)
    db.flush()


def rules_of(db: orm.Session, group_ids: Collection[str]) -> list[SecurityGroupRule]:
    """The rules of some groups, in the order in which they were made."""
    statement = sa.select(SecurityGroupRule).where(SecurityGroupRule.group_id.in_(group_ids))
    return list(db.scalars(statement.order_by(SecurityGroupRule.created_at, SecurityGroupRule.id)))


# --- members ------------------------------------------------------------------------------------------------------------


def bind(db: orm.Session, port_ids: Iterable[str], group_id: str) -> None:
    """Put ports into a group; those that are in it already are fine."""
    inside = set(db.scalars(sa.select(PortSecurityGroup.port_id).where(PortSecurityGroup.group_id == group_id)))
    for port_id in port_ids:
        if port_id not in inside:
            db.add(PortSecurityGroup(port_id=port_id, group_id=group_id))
    db.flush()


def unbind(db: orm.Session, port_ids: Collection[str], group_id: str | None = None) -> None:
    """Take ports out of a group, or of all."""
    statement = sa.delete(PortSecurityGroup).where(PortSecurityGroup.port_id.in_(port_ids))
    db.execute(statement.where(PortSecurityGroup.group_id == group_id) if group_id is not None else statement)


def members(db: orm.Session, group_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Addresses of the ports in each group."""
    statement = (
        sa.select(PortSecurityGroup.group_id, Port.ip_address)
        .join(Port, Port.id == PortSecurityGroup.port_id)
        .where(PortSecurityGroup.group_id.in_(group_ids))
        .order_by(Port.ip_address)
    )
    found: dict[str, list[str]] = {group_id: [] for group_id in group_ids}
    for group_id, address in db.execute(statement):
        found[group_id].append(address)
    return {group_id: tuple(addresses) for group_id, addresses in found.items()}


def servers_guarded_by(db: orm.Session, group_ids: Collection[str]) -> list[Instance]:
    """Servers whose rules change when these groups do: those in them, and those in groups with a rule that names them."""
    naming = sa.select(SecurityGroupRule.group_id).where(SecurityGroupRule.remote_group_id.in_(group_ids))
    ports = sa.select(PortSecurityGroup.port_id).where(
        sa.or_(PortSecurityGroup.group_id.in_(group_ids), PortSecurityGroup.group_id.in_(naming))
    )
    wanted = sa.select(Port.instance_id).where(Port.id.in_(ports))
    return list(db.scalars(sa.select(Instance).where(Instance.id.in_(wanted), Instance.deleted_at.is_(None)).order_by(Instance.id)))
