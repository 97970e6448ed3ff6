"""Which devices a network needs on a host, and how they are made. Pure: names and commands, no I/O."""

from __future__ import annotations

import dataclasses
import hashlib

from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import SegmentKind, Vif

VXLAN_OVERHEAD = 50
"""Bytes that VXLAN over IPv4 puts around each frame: Ethernet, IP, UDP and VXLAN headers."""
_LONGEST_NAME = 15
Command = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Uplink:
    """The device by which a bridge reaches other hosts."""

    name: str
    parent: str = ""
    """The interface that carries it; empty when it is that interface itself, or finds its way by routing."""
    kind: SegmentKind = SegmentKind.FLAT
    id: int = 0

    @property
    def is_made(self) -> bool:
        """Whether it is a device of its own, that can be made and removed."""
        return self.kind is not SegmentKind.FLAT


def uplink_of(vif: Vif, settings: NetworkSettings) -> Uplink | None:
    """The uplink of a vif's bridge on this host; None when it names none: the bridge has its own, whatever it is.

    :raises LookupError: this host has no interface on the physical network; says so in words.
    """
    segment = vif.segment
    parent = ""
    if segment.physical_network:
        parent = settings.interfaces.get(segment.physical_network, "")
        if not parent:
            raise LookupError(
                f"no interface of {settings.host} is on the physical network {segment.physical_network}: "
                "add it to [network] physical_interface_mappings"
            )
    if segment.kind is SegmentKind.VLAN:
        if not parent:
            raise LookupError(f"VLAN {segment.id} has no physical network: give the network one")
        return Uplink(vlan_name(parent, segment.id), parent, SegmentKind.VLAN, segment.id)
    if segment.kind is SegmentKind.VXLAN:
        return Uplink(f"vxlan-{segment.id}", parent, SegmentKind.VXLAN, segment.id)
    return Uplink(parent) if parent else None


def vlan_name(parent: str, tag: int) -> str:
    """The usual "eth1.100"; with a short hash instead of an interface's name that is too long for that."""
    usual = f"{parent}.{tag}"
    if len(usual) <= _LONGEST_NAME:
        return usual
    return f"vl{hashlib.sha256(parent.encode()).hexdigest()[:6]}.{tag}"


def adding(uplink: Uplink, settings: NetworkSettings) -> list[Command]:
    """The commands that make an uplink's device."""
    if uplink.kind is SegmentKind.VLAN:
        return [("ip", "link", "add", "link", uplink.parent, "name", uplink.name, "type", "vlan", "id", str(uplink.id))]
    add = ["ip", "link", "add", "name", uplink.name, "type", "vxlan", "id", str(uplink.id)]
    add += ["local", settings.vxlan_local_ip, "dstport", str(settings.vxlan_port)]
    if uplink.parent:
        add += ["dev", uplink.parent]
    if settings.vxlan_group:
        add += ["group", settings.vxlan_group, "ttl", "8"]
        return [tuple(add)]
    others = [address for address in settings.vxlan_remotes if address != settings.vxlan_local_ip]
    flood = [("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", uplink.name, "dst", address) for address in others]
    return [tuple(add), *flood]


def mtu_problem(vif: Vif, uplink: Uplink, carrier: str, carrier_mtu: int) -> str:
    """Why frames of the network's size do not fit into what carries them (an interface), in words; empty when they do."""
    overhead = VXLAN_OVERHEAD if uplink.kind is SegmentKind.VXLAN else 0
    if vif.mtu + overhead <= carrier_mtu:
        return ""
    around = f" and VXLAN adds {overhead}" if overhead else ""
    return (
        f"{carrier} carries {carrier_mtu} bytes, the network has an MTU of {vif.mtu}{around}: "
        "lower the network's MTU or raise the interface's"
    )
