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
from nova_blockmigrate.objects import Segment, SegmentKind, VifType

_COLUMNS = (
    *("id", "name", "bridge", "cidr", "gateway", "mtu"),
    *("segment_kind", "segment_id", "physical_network", "port_security", "vif_type"),
)
_LAST_VLAN, _LAST_VNI = 4094, 2**24 - 1


def add_commands(subparsers: Any) -> None:
    verbs = subparsers.add_parser("network", help="embedded networks").add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a network and print its id")
    create.add_argument("--name", required=True)
    create.add_argument("--bridge", default="", help="the bridge that has this name on every host; VLANs and VXLANs have a default")
    create.add_argument(
        "--vif-type",
        choices=[VifType.BRIDGE.value, VifType.OVS.value],
        default=VifType.BRIDGE.value,
        help="whose the bridge is: the kernel's, or Open vSwitch's (ovs), which then must be there on every host",
    )
    carrier = create.add_mutually_exclusive_group()
    carrier.add_argument("--vlan", type=int, help="VLAN tag that carries it on the physical network")
    carrier.add_argument("--vxlan", type=int, help="VXLAN network identifier that carries it between hosts")
    create.add_argument(
        "--physical-network", default="", help="name that each host maps to an interface ([network] physical_interface_mappings)"
    )
    create.add_argument(
        "--no-port-security", action="store_true", help="guard no server on it: no security groups, no check of addresses"
    )
    create.add_argument("--cidr", required=True, help="range of addresses, such as 10.0.0.0/24")
    create.add_argument("--gateway", help="address that no server gets; default: the first of the range")
    create.add_argument("--mtu", type=int, help="default: 1500, for a VXLAN 1450")
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
    segment = segment_of(arguments)
    bridge = arguments.bridge or bridge_name(segment)
    mtu = arguments.mtu or (1450 if segment.kind is SegmentKind.VXLAN else 1500)
    session.configure(conf)
    with session.writer() as db:
        network = networks.create(
            db,
            arguments.name,
            bridge,
            str(cidr),
            str(gateway),
            mtu,
            segment=segment,
            port_security=not arguments.no_port_security,
            vif_type=VifType(arguments.vif_type),
        )
        print(network.id)


def segment_of(arguments: argparse.Namespace) -> Segment:
    """What carries the network.

    :raises exceptions.ValidationError: a number is out of range, a VLAN has no physical network, or Open vSwitch carries it.
    """
    if arguments.vif_type == VifType.OVS and (arguments.vlan, arguments.vxlan, arguments.physical_network) != (None, None, ""):
        raise exceptions.ValidationError(
            detail="a bridge of Open vSwitch's is led to the other hosts by its own ports: leave out --vlan, --vxlan and "
            "--physical-network"
        )
    if arguments.vlan is not None:
        if not 1 <= arguments.vlan <= _LAST_VLAN:
            raise exceptions.ValidationError(detail=f"--vlan {arguments.vlan}: use 1 to {_LAST_VLAN}")
        if not arguments.physical_network:
            raise exceptions.ValidationError(detail="a VLAN needs --physical-network")
        return Segment(SegmentKind.VLAN, arguments.vlan, arguments.physical_network)
    if arguments.vxlan is not None:
        if not 1 <= arguments.vxlan <= _LAST_VNI:
            raise exceptions.ValidationError(detail=f"--vxlan {arguments.vxlan}: use 1 to {_LAST_VNI}")
        return Segment(SegmentKind.VXLAN, arguments.vxlan, arguments.physical_network)
    return Segment(physical_network=arguments.physical_network)


def bridge_name(segment: Segment) -> str:
    """The bridge of a network that names none: "brv" or "brx" and the number of its segment.

    :raises exceptions.ValidationError: a flat network must name its bridge.
    """
    if segment.kind is SegmentKind.FLAT:
        raise exceptions.ValidationError(detail="--bridge is needed: only VLANs and VXLANs have one by default")
    return f"{'brv' if segment.kind is SegmentKind.VLAN else 'brx'}{segment.id}"


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
