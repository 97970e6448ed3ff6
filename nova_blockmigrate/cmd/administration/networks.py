"""network create, network list, network delete."""

from __future__ import annotations

import argparse
import ipaddress
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.cmd.administration import output
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import networks

_COLUMNS = ("id", "name", "bridge", "cidr", "gateway", "mtu")


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("network", help="embedded networks").add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a network and print its id")
    create.add_argument("--name", required=True)
    create.add_argument("--bridge", required=True, help="the bridge that has this name on every host")
    create.add_argument("--cidr", required=True, help="range of addresses, such as 10.0.0.0/24")
    create.add_argument("--gateway", help="address that no server gets; default: the first of the range")
    create.add_argument("--mtu", type=int, default=1500)
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="list networks")
    output.add_json_option(listing)
    listing.set_defaults(run=_list)
    delete = verbs.add_parser("delete", help="delete a network that no server is on")
    delete.add_argument("network", help="name or id")
    delete.set_defaults(run=_delete)


def _create(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    cidr = ipaddress.IPv4Network(arguments.cidr)
    gateway = ipaddress.IPv4Address(arguments.gateway) if arguments.gateway else next(cidr.hosts())
    if gateway not in cidr:
        raise exceptions.ValidationError(detail=f"the gateway {gateway} is not in {cidr}")
    session.configure(conf)
    with session.writer() as db:
        print(networks.create(db, arguments.name, arguments.bridge, str(cidr), str(gateway), arguments.mtu).id)


def _list(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.reader() as db:
        records = [{name: getattr(network, name) for name in _COLUMNS} for network in networks.search(db)]
    output.show(records, _COLUMNS, arguments.json)


def _delete(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    session.configure(conf)
    with session.writer() as db:
        named = networks.search(db, arguments.network)
        networks.delete(db, named[0].id if named else arguments.network)
