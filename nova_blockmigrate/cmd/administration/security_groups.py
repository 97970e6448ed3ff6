"""security-group create, list, delete; security-group-rule create, list, delete."""

from __future__ import annotations

import argparse
import functools
import ipaddress
import sys
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions, rpc
from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.conductor.rpcapi import ConductorAPI
from nova_blockmigrate.context import service_context
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import security_groups
from nova_blockmigrate.threads import Task

_GROUP_COLUMNS = ("id", "project_id", "name", "description")
_RULE_COLUMNS = ("id", "direction", "ethertype", "protocol", "port_min", "port_max", "remote_cidr", "remote_group_id")
TELL_S = 10.0
_WITH_PORTS = ("tcp", "udp", "sctp", "dccp")
_LAST_PORT, _LAST_TYPE = 65535, 255


def add_commands(subparsers: Any) -> None:
    _add_group_commands(subparsers)
    _add_rule_commands(subparsers)


def _add_group_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("security-group", help="security groups").add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a group that lets everything leave and nothing come, and print its id")
    create.add_argument("--project", required=True)
    create.add_argument("--name", required=True)
    create.add_argument("--description", default="")
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="list groups")
    listing.add_argument("--project")
    output.add_json_option(listing)
    listing.set_defaults(run=_list)
    delete = verbs.add_parser("delete", help="delete a group that no server is in")
    delete.add_argument("--project", required=True)
    delete.add_argument("group", help="name or id")
    delete.set_defaults(run=_delete)


def _add_rule_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("security-group-rule", help="rules of security groups").add_subparsers(
        metavar="VERB", required=True
    )
    create = verbs.add_parser("create", help="allow something, and print the rule's id")
    create.add_argument("--project", required=True)
    create.add_argument("group", help="name or id; the project's `default` is made when it is not there yet")
    create.add_argument("--direction", choices=("ingress", "egress"), default="ingress")
    create.add_argument("--ethertype", choices=("IPv4", "IPv6"), default="IPv4")
    create.add_argument("--protocol", default="", help="tcp, udp, icmp, icmpv6 or a number; any if left out")
    create.add_argument("--port", default="", help="port, or range such as 8000:8099; of icmp the type, or type:code")
    remote = create.add_mutually_exclusive_group()
    remote.add_argument("--remote-cidr", default="", help="only from (or to) these addresses")
    remote.add_argument("--remote-group", default="", help="only from (or to) members of this group; name or id")
    create.set_defaults(run=_create_rule)
    listing = verbs.add_parser("list", help="list a group's rules")
    listing.add_argument("--project", required=True)
    listing.add_argument("group", help="name or id")
    output.add_json_option(listing)
    listing.set_defaults(run=_list_rules)
    delete = verbs.add_parser("delete", help="allow it no more")
    delete.add_argument("rule", help="id")
    delete.set_defaults(run=_delete_rule)


# --- groups -------------------------------------------------------------------------------------------------------------


def _create(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        print(security_groups.create(db, arguments.project, arguments.name, arguments.description).id)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.reader() as db:
        found = security_groups.search(db, arguments.project)
    output.show([{name: getattr(group, name) for name in _GROUP_COLUMNS} for group in found], _GROUP_COLUMNS, arguments.json)


def _delete(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        group = security_groups.get(db, arguments.project, arguments.group)
        security_groups.delete(db, group)


# --- rules --------------------------------------------------------------------------------------------------------------


def _create_rule(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    values = rule_values(arguments)
    session.configure(conf)
    with session.writer() as db:
        group = security_groups.get(db, arguments.project, arguments.group)
        if arguments.remote_group:
            values["remote_group_id"] = security_groups.get(db, arguments.project, arguments.remote_group).id
        rule = security_groups.add_rule(db, group.id, **values)
        print(rule.id)
    _tell(conf, group.id)


def rule_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """The columns of a rule, checked.

    :raises exceptions.ValidationError: they make no sense together.
    """
    first, last = _ports(arguments.protocol, arguments.port)
    if arguments.remote_cidr:
        version = {"IPv4": 4, "IPv6": 6}[arguments.ethertype]
        if _network(arguments.remote_cidr).version != version:
            raise exceptions.ValidationError(detail=f"{arguments.remote_cidr} is no range of {arguments.ethertype} addresses")
    return {
        "direction": arguments.direction,
        "ethertype": arguments.ethertype,
        "protocol": arguments.protocol,
        "port_min": first,
        "port_max": last,
        "remote_cidr": arguments.remote_cidr,
    }


def _ports(protocol: str, text: str) -> tuple[int | None, int | None]:
    if protocol and protocol not in (*_WITH_PORTS, "icmp", "icmpv6") and not (protocol.isdigit() and int(protocol) <= _LAST_TYPE):
        raise exceptions.ValidationError(detail=f"protocol {protocol!r}: use tcp, udp, icmp, icmpv6 or a number up to 255")
    if not text:
        return None, None
    if protocol not in (*_WITH_PORTS, "icmp", "icmpv6"):
        raise exceptions.ValidationError(detail=f"--port goes with tcp, udp, icmp or icmpv6, not with {protocol or 'any protocol'}")
    first, colon, last = text.partition(":")
    highest = _LAST_PORT if protocol in _WITH_PORTS else _LAST_TYPE
    if not all(part.isdigit() and int(part) <= highest for part in ([first, last] if colon else [first])):
        raise exceptions.ValidationError(detail=f"--port {text}: use numbers from 0 to {highest}, as N or N:M")
    if protocol not in _WITH_PORTS:
        return int(first), int(last) if colon else None
    if int(last or first) < int(first):
        raise exceptions.ValidationError(detail=f"--port {text}: the last port is below the first")
    return int(first), int(last or first)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise exceptions.ValidationError(detail=f"{text} is not a range of addresses: {error}") from error


def _list_rules(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        group = security_groups.get(db, arguments.project, arguments.group)
        found = security_groups.rules_of(db, [group.id])
    output.show([{name: getattr(rule, name) for name in _RULE_COLUMNS} for rule in found], _RULE_COLUMNS, arguments.json)


def _delete_rule(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        rule = security_groups.get_rule(db, arguments.rule)
        group_id = rule.group_id
        security_groups.delete_rule(db, rule)
    _tell(conf, group_id)


def _tell(conf: cfg.ConfigOpts, group_id: str) -> None:
    """Have the hosts follow now; without a broker they do when they ask by themselves."""
    task = Task("tell", functools.partial(_cast, conf, group_id))
    try:
        reason = "" if task.wait(TELL_S) else f"no answer within {TELL_S:.0f} s"
        if not reason:
            task.result()
    except Exception as error:  # noqa: BLE001 - the border to the broker's libraries: the rule stands, whatever they raise
        reason = str(error)
    if reason:
        print(f"No conductor was told ({reason}): hosts follow within [network] firewall_refresh_interval.", file=sys.stderr)


def _cast(conf: cfg.ConfigOpts, group_id: str) -> None:
    ConductorAPI(conf).refresh_security_groups(service_context(), [group_id], [])
    rpc.cleanup()
