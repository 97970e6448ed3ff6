"""Interfaces and ports of servers, and the rules at them."""

from __future__ import annotations

import dataclasses
import enum


class VifType(enum.StrEnum):
    """What an interface is plugged into on its host."""

    BRIDGE = "bridge"
    OVS = "ovs"
    """A bridge of Open vSwitch's."""
    OVS_HYBRID = "ovs-hybrid"
    """A Linux bridge of the interface's own, where it can be guarded, that leads to a bridge of Open vSwitch's."""


class SegmentKind(enum.StrEnum):
    """What carries a network from host to host."""

    FLAT = "flat"
    VLAN = "vlan"
    VXLAN = "vxlan"


@dataclasses.dataclass(frozen=True)
class Segment:
    """The carrier of a network, named so that each host can find its own end of it."""

    kind: SegmentKind = SegmentKind.FLAT
    id: int = 0
    """VLAN tag (1 to 4094) or VXLAN network identifier (1 to 16,777,215); 0 for a flat network."""
    physical_network: str = ""
    """Name that each host maps to one of its interfaces. Empty, for a flat network: the bridge is there already."""


@dataclasses.dataclass(frozen=True)
class SecurityRule:
    """What a guest may receive or send, beside the answers to what was allowed."""

    direction: str
    """"ingress" (to the guest) or "egress"."""
    ethertype: str = "IPv4"
    """"IPv4" or "IPv6"."""
    protocol: str = ""
    """"tcp", "udp", "icmp", "icmpv6", the name or number of another; empty: any."""
    port_min: int | None = None
    """First port; of ICMP the type. None: all."""
    port_max: int | None = None
    """Last port; of ICMP the code."""
    remote_cidr: str = ""
    """Whom it is about, by address; empty, without a group: everybody."""
    remote_group: str = ""
    """Id of a security group whose members it is about."""


@dataclasses.dataclass(frozen=True)
class GroupRule:
    """A rule as its group has it."""

    id: str
    rule: SecurityRule


@dataclasses.dataclass(frozen=True)
class NamedGroup:
    """A project's security group, whoever owns it."""

    id: str
    name: str
    description: str
    project_id: str
    rules: tuple[GroupRule, ...] = ()


@dataclasses.dataclass(frozen=True)
class AddressPair:
    """Another MAC that a guest may use, with the address (or range) that it may send from by it: that of a virtual router."""

    mac: str
    address: str


@dataclasses.dataclass(frozen=True)
class Vif:
    """One network interface of a guest, with all that a host needs to connect and to guard it."""

    port_id: str
    mac: str
    bridge: str
    """On the host that it is for."""
    tap: str
    """Name of the tap device on the host: "tap" and the first eleven characters of the port's id, as Nova names it."""
    ip_address: str = ""
    mtu: int = 1500
    vif_type: VifType = VifType.BRIDGE
    segment: Segment = Segment()
    port_security: bool = False
    """Whether only what `rules` allow passes, and only with the guest's own addresses."""
    rules: tuple[SecurityRule, ...] = ()
    group_members: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Addresses of the members of each group that a rule names."""
    allowed_addresses: tuple[str, ...] = ()
    """More addresses (or ranges) that the guest may send from, with its own MAC."""
    allowed_pairs: tuple[AddressPair, ...] = ()
    is_bound: bool = True
    """False where a network service has not yet said what it is plugged into: only a binding says that of a host."""
    ovs_bridge: str = ""
    """Open vSwitch's bridge that a hybrid's own one leads to."""

    @property
    def switch(self) -> str:
        """The bridge of Open vSwitch's that it is on in the end; empty when it is on none."""
        return {VifType.OVS: self.bridge, VifType.OVS_HYBRID: self.ovs_bridge}.get(self.vif_type, "")


@dataclasses.dataclass(frozen=True)
class FixedIp:
    """An address of a port."""

    ip_address: str
    subnet_id: str


@dataclasses.dataclass(frozen=True)
class WantedPort:
    """What the request for a server says of one interface: a port that is there, or a network to make one on."""

    network_id: str = ""
    port_id: str = ""
    fixed_ip: str = ""
    """Address that a port made for it shall have; empty: any."""


@dataclasses.dataclass(frozen=True)
class NetworkPort:
    """A server's port as the service that owns it (Neutron) describes it, kept with the server for those who ask often."""

    network_id: str
    network_name: str
    fixed_ips: tuple[FixedIp, ...]
    status: str
    """Neutron's: "ACTIVE" once it is wired, "DOWN", "BUILD" or "ERROR"."""
    vif: Vif
    """The interface on the host that has the server."""
    given: bool = False
    """Its user made it: it outlives the server."""
    security_groups: tuple[str, ...] = ()
    """Names of the groups that it is in."""
