"""A server's security groups: which they are, and putting it into one or taking it out. They are managed elsewhere."""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.operations import BROKER_ERRORS, LOG, record, refuse_if_locked
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import action, route
from nova_blockmigrate.api.schemas import server_actions as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance, SecurityGroup, SecurityGroupRule
from nova_blockmigrate.db.queries import actions, instances, security_groups

_PROXIES_UNTIL = 35
"""From 2.36 on clients ask the network service itself."""


class NoGuardedPort(exceptions.Invalid):
    template = "Server {server} has no port on a network with port security: no security group can guard it."


class NotInGroup(exceptions.NotFound):
    template = "Security group {group} not associated with the instance {server}."


@route("GET", "/servers/{server_id}/os-security-groups", policy=policies.SECURITY_GROUPS_LIST)
def index(request: Request, server: Instance) -> dict[str, Any]:
    groups = {group.id: group for port in server.ports for group in port.security_groups}
    with session.reader() as db:
        rules = security_groups.rules_of(db, sorted(groups))
        named = {group.id: group for group in security_groups.search(db, server.project_id)}
    views = [_view(group, [rule for rule in rules if rule.group_id == group.id], named) for group in groups.values()]
    return {"security_groups": views}


@route("GET", "/os-security-groups", policy=policies.SECURITY_GROUPS_GET, maximum=_PROXIES_UNTIL)
def list_all(request: Request) -> dict[str, Any]:
    """The project's groups, for clients without a network service to ask."""
    with session.reader() as db:
        found = security_groups.search(db, request.context.project_id or "")
        rules = security_groups.rules_of(db, [group.id for group in found])
    named = {group.id: group for group in found}
    views = [_view(group, [rule for rule in rules if rule.group_id == group.id], named) for group in found]
    return {"security_groups": views}


@route("GET", "/os-security-groups/{group_id}", policy=policies.SECURITY_GROUPS_SHOW, maximum=_PROXIES_UNTIL)
def show(request: Request, group_id: str) -> dict[str, Any]:
    with session.reader() as db:
        group = security_groups.get(db, request.context.project_id or "", group_id)
        named = {each.id: each for each in security_groups.search(db, group.project_id)}
        return {"security_group": _view(group, security_groups.rules_of(db, [group.id]), named)}


@action("addSecurityGroup", policy=policies.SECURITY_GROUPS_ADD, body=schemas.security_group("addSecurityGroup"))
def add(request: Request, server: Instance) -> None:
    with session.writer() as db:
        group, ports = _find(db, request, server)
        if not ports:
            raise NoGuardedPort(server=server.uuid)
        security_groups.bind(db, ports, group.id)
        _record(db, request, server, "addSecurityGroup")
    _tell(request, group)


@action("removeSecurityGroup", policy=policies.SECURITY_GROUPS_REMOVE, body=schemas.security_group("removeSecurityGroup"))
def remove(request: Request, server: Instance) -> None:
    with session.writer() as db:
        group, _ = _find(db, request, server)
        inside = [port.id for port in server.ports if group.id in [one.id for one in port.security_groups]]
        if not inside:
            raise NotInGroup(group=group.name, server=server.uuid)
        security_groups.unbind(db, inside, group.id)
        _record(db, request, server, "removeSecurityGroup")
    _tell(request, group, server)


def _find(db: orm.Session, request: Request, server: Instance) -> tuple[SecurityGroup, list[str]]:
    """The group, and the server's ports that can be in one."""
    found = instances.get(db, server.uuid)
    refuse_if_locked(request, found)
    group = security_groups.get(db, found.project_id, request.body["name"])
    return group, [port.id for port in found.ports if port.network.port_security]


def _record(db: orm.Session, request: Request, server: Instance, name: str) -> None:
    record(db, request, server, name)
    actions.finish(db, server.uuid, request.context.request_id)


def _tell(request: Request, group: SecurityGroup, former: Instance | None = None) -> None:
    """Have the hosts follow. What no conductor hears now, the hosts ask for by themselves soon."""
    groups = {group.id} | {one.id for port in (former.ports if former else ()) for one in port.security_groups}
    try:
        request.conductor.refresh_security_groups(request.context, sorted(groups), [former.uuid] if former else [])
    except BROKER_ERRORS as error:
        LOG.warning("Hosts will hear of the change of security group %s when they ask for it: %s", group.name, error)


def _view(group: SecurityGroup, rules: list[SecurityGroupRule], named: dict[str, SecurityGroup]) -> dict[str, Any]:
    """Nova's shape: it knows rules for what comes, of one family each."""
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "tenant_id": group.project_id,
        "rules": [_rule(rule, named) for rule in rules if rule.direction == "ingress"],
    }


def _rule(rule: SecurityGroupRule, named: dict[str, SecurityGroup]) -> dict[str, Any]:
    remote = named.get(rule.remote_group_id or "")
    cidr = rule.remote_cidr or ("::/0" if rule.ethertype == "IPv6" else "0.0.0.0/0")
    return {
        "id": rule.id,
        "parent_group_id": rule.group_id,
        "ip_protocol": rule.protocol or None,
        "from_port": rule.port_min,
        "to_port": rule.port_max,
        "ip_range": {} if rule.remote_group_id else {"cidr": cidr},
        "group": {"name": remote.name, "tenant_id": remote.project_id} if remote else {},
    }
