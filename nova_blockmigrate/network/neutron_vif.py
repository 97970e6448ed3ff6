"""What Neutron says of a binding, as an interface that a host can connect (pure)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nova_blockmigrate.exceptions import NetworkServiceError
from nova_blockmigrate.objects import AddressPair, SecurityRule, Vif, VifType

BRIDGE, OVS = "bridge", "ovs"
_NAME_LENGTH = 14
"""Of an interface of Linux, less its final zero."""


@dataclasses.dataclass(frozen=True)
class Guard:
    """What the host's own firewall has to do for a port; nothing, when Neutron's agent filters (port_filter) or nobody shall."""

    rules: tuple[SecurityRule, ...] = ()
    group_members: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def vif_of(
    port: Mapping[str, Any], vif_type: str, details: Mapping[str, Any], mtu: int, ovs_bridge: str, guard: Guard | None
) -> Vif:
    """`guard`: None when the host is not to filter.

    :raises NetworkServiceError: it is bound in a way in which hosts cannot connect it.
    """
    return Vif(
        port_id=port["id"],
        mac=port["mac_address"],
        bridge=_bridge(port, vif_type, details, ovs_bridge),
        vif_type=_kind(vif_type, details),
        tap=f"tap{port['id']}"[:_NAME_LENGTH],
        ip_address=port["fixed_ips"][0]["ip_address"] if port["fixed_ips"] else "",
        mtu=mtu,
        port_security=guard is not None,
        rules=guard.rules if guard else (),
        group_members=guard.group_members if guard else {},
        allowed_addresses=_more_addresses(port),
        allowed_pairs=tuple(pair for pair in _pairs(port) if pair.mac != port["mac_address"].lower()),
        ovs_bridge=_switch(details, ovs_bridge) if _kind(vif_type, details) is VifType.OVS_HYBRID else "",
    )


def host_filters(port: Mapping[str, Any], details: Mapping[str, Any]) -> bool:
    """Whether a port's security groups are the host's to put in force."""
    return bool(port.get("port_security_enabled", True)) and not details.get("port_filter")


def rules_of(body: Mapping[str, Any], address_groups: Mapping[str, Sequence[str]]) -> list[SecurityRule]:
    """A rule of Neutron's, as hosts know them: one for each address of its address group. `address_groups`: addresses by id."""
    rule = SecurityRule(
        direction=body["direction"],
        ethertype=body["ethertype"],
        protocol=body["protocol"] or "",
        port_min=body["port_range_min"],
        port_max=body["port_range_max"],
        remote_cidr=body["remote_ip_prefix"] or "",
        remote_group=body["remote_group_id"] or "",
    )
    group = body.get("remote_address_group_id")
    return [dataclasses.replace(rule, remote_cidr=address) for address in address_groups.get(group, ())] if group else [rule]


def addresses_of(port: Mapping[str, Any]) -> list[str]:
    """All that a port may send from, as a member of its security groups: its own, and its allowed address pairs."""
    return [one["ip_address"] for one in port["fixed_ips"]] + [pair.address for pair in _pairs(port)]


def _more_addresses(port: Mapping[str, Any]) -> tuple[str, ...]:
    others = [one["ip_address"] for one in port["fixed_ips"][1:]]
    return tuple(others + [pair.address for pair in _pairs(port) if pair.mac == port["mac_address"].lower()])


def _pairs(port: Mapping[str, Any]) -> list[AddressPair]:
    """A pair without a MAC has the port's."""
    return [
        AddressPair((pair.get("mac_address") or port["mac_address"]).lower(), pair["ip_address"])
        for pair in port.get("allowed_address_pairs") or ()
    ]


def _bridge(port: Mapping[str, Any], vif_type: str, details: Mapping[str, Any], ovs_bridge: str) -> str:
    """The bridge on the host: named in the binding, else as Neutron's agents name it by themselves."""
    if vif_type == BRIDGE:
        return str(details.get("bridge_name") or f"brq{port['network_id']}"[:_NAME_LENGTH])
    if vif_type == OVS and details.get("ovs_hybrid_plug"):
        return f"qbr{port['id']}"[:_NAME_LENGTH]
    if vif_type == OVS:
        return _switch(details, ovs_bridge)
    raise NetworkServiceError(
        action=f"have port {port['id']} connected",
        reason=f"it is bound as {vif_type!r}, hosts connect {BRIDGE!r} and {OVS!r}: choose a mechanism driver that binds so",
    )


def _kind(vif_type: str, details: Mapping[str, Any]) -> VifType:
    if vif_type != OVS:
        return VifType.BRIDGE
    return VifType.OVS_HYBRID if details.get("ovs_hybrid_plug") else VifType.OVS


def _switch(details: Mapping[str, Any], ovs_bridge: str) -> str:
    return str(details.get("bridge_name") or ovs_bridge)


def awaited(vif_type: str, details: Mapping[str, Any], plugged_when_bound: Collection[str]) -> bool:
    """Whether network-vif-plugged comes before the guest's own interface is there: with a bridge of the port's own, which the
    agent sees, or because the mechanism driver says it upon the binding."""
    return vif_type in plugged_when_bound or bool(details.get("ovs_hybrid_plug"))
