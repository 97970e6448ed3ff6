"""A server's security groups: which they are, and putting it into one or taking it out. They are managed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
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
from nova_blockmigrate.objects import GroupRule, NamedGroup, SecurityRule

_PROXIES_UNTIL = 35
"""From 2.36 on clients ask the network service itself."""


class NoGuardedPort(exceptions.Invalid):
    template = "Server {server} has no port on a network with port security: no security group can guard it."


class NotInGroup(exceptions.NotFound):
    template = "Security group {group} not associated with the instance {server}."


@route("GET", "/servers/{server_id}/os-security-groups", policy=policies.SECURITY_GROUPS_LIST)
def index(request: Request, server: Instance) -> dict[str, Any]:
    network = request.deployment.network
    if network.owns_ports:
        inside = network.groups_of_server(server.uuid)
    else:
        inside = list(dict.fromkeys(group.id for port in server.ports for group in port.security_groups))
    named = _of_project(request, server.project_id)
    return {"security_groups": [_view(named[group_id], named) for group_id in inside if group_id in named]}


@route("GET", "/os-security-groups", policy=policies.SECURITY_GROUPS_GET, maximum=_PROXIES_UNTIL)
def list_all(request: Request) -> dict[str, Any]:
    """The project's groups, for clients without a network service to ask."""
    named = _of_caller(request)
    return {"security_groups": [_view(group, named) for group in named.values()]}


@route("GET", "/os-security-groups/{group_id}", policy=policies.SECURITY_GROUPS_SHOW, maximum=_PROXIES_UNTIL)
def show(request: Request, group_id: str) -> dict[str, Any]:
    named = _of_caller(request)
    found = named.get(group_id) or next((group for group in named.values() if group.name == group_id), None)
    if found is None:
        raise exceptions.SecurityGroupNotFound(security_group_id=group_id, project_id=request.context.project_id)
    return {"security_group": _view(found, named)}


@action("addSecurityGroup", policy=policies.SECURITY_GROUPS_ADD, body=schemas.security_group("addSecurityGroup"))
def add(request: Request, server: Instance) -> None:
    if request.deployment.network.owns_ports:
        _change_ports(request, server, "addSecurityGroup")
        return
    with session.writer() as db:
        group, ports = _find(db, request, server)
        if not ports:
            raise NoGuardedPort(server=server.uuid)
        security_groups.bind(db, ports, group.id)
        _record(db, request, server, "addSecurityGroup")
    _tell(request, group)


@action("removeSecurityGroup", policy=policies.SECURITY_GROUPS_REMOVE, body=schemas.security_group("removeSecurityGroup"))
def remove(request: Request, server: Instance) -> None:
    if request.deployment.network.owns_ports:
        _change_ports(request, server, "removeSecurityGroup")
        return
    with session.writer() as db:
        group, _ = _find(db, request, server)
        inside = [port.id for port in server.ports if group.id in [one.id for one in port.security_groups]]
        if not inside:
            raise NotInGroup(group=group.name, server=server.uuid)
        security_groups.unbind(db, inside, group.id)
        _record(db, request, server, "removeSecurityGroup")
    _tell(request, group, server)


def _change_ports(request: Request, server: Instance, name: str) -> None:
    """Where a network service owns the ports and the groups: what they are in is changed there."""
    network, group = request.deployment.network, request.body["name"]
    with session.reader() as db:
        refuse_if_locked(request, instances.get(db, server.uuid))
    (group_id,) = network.find_groups(server.project_id, [group])
    if name == "addSecurityGroup":
        if not network.join_group(server.uuid, group_id):
            raise NoGuardedPort(server=server.uuid)
    elif not network.leave_group(server.uuid, group_id):
        raise NotInGroup(group=group, server=server.uuid)
    with session.writer() as db:
        _record(db, request, server, name)
    try:
        request.conductor.external_events(request.context, [server.uuid])
    except BROKER_ERRORS as error:
        LOG.warning("Server %s shows its former security groups until its network tells of the change: %s", server.uuid, error)


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


def _of_caller(request: Request) -> dict[str, NamedGroup]:
    """Those of the caller's project. Each project has one called default, as with Neutron: who looks before the first server that
    needs it finds it, too."""
    project_id = request.context.project_id or ""
    named = _of_project(request, project_id)
    if request.deployment.network.owns_ports or any(group.name == security_groups.DEFAULT for group in named.values()):
        return named
    with session.writer() as db:
        security_groups.default(db, project_id)
    return _of_project(request, project_id)


def _of_project(request: Request, project_id: str) -> dict[str, NamedGroup]:
    """The project's groups by id, whoever owns them."""
    network = request.deployment.network
    if network.owns_ports:
        return {group.id: group for group in network.groups_of_project(project_id)}
    with session.reader() as db:
        groups = security_groups.search(db, project_id)
        rules = security_groups.rules_of(db, [group.id for group in groups])
    return {
        group.id: NamedGroup(
            *(group.id, group.name, group.description, group.project_id),
            rules=tuple(GroupRule(rule.id, _rule_of(rule)) for rule in rules if rule.group_id == group.id),
        )
        for group in groups
    }


def _rule_of(row: SecurityGroupRule) -> SecurityRule:
    values = {name: getattr(row, name) for name in ("direction", "ethertype", "protocol", "port_min", "port_max", "remote_cidr")}
    return SecurityRule(**values, remote_group=row.remote_group_id or "")


def _view(group: NamedGroup, named: Mapping[str, NamedGroup]) -> dict[str, Any]:
    """Nova's shape: it knows rules for what comes, of one family each."""
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "tenant_id": group.project_id,
        "rules": [_rule(group, one, named) for one in group.rules if one.rule.direction == "ingress"],
    }


def _rule(group: NamedGroup, one: GroupRule, named: Mapping[str, NamedGroup]) -> dict[str, Any]:
    rule = one.rule
    remote = named.get(rule.remote_group)
    cidr = rule.remote_cidr or ("::/0" if rule.ethertype == "IPv6" else "0.0.0.0/0")
    return {
        "id": one.id,
        "parent_group_id": group.id,
        "ip_protocol": rule.protocol or None,
        "from_port": rule.port_min,
        "to_port": rule.port_max,
        "ip_range": {} if rule.remote_group else {"cidr": cidr},
        "group": {"name": remote.name, "tenant_id": remote.project_id} if remote else {},
    }
