"""What Neutron says of a binding, as an interface that a host can connect (pure)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from nova_blockmigrate.exceptions import NetworkServiceError
from nova_blockmigrate.objects import SecurityRule, Vif

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
        tap=f"tap{port['id']}"[:_NAME_LENGTH],
        ip_address=port["fixed_ips"][0]["ip_address"] if port["fixed_ips"] else "",
        mtu=mtu,
        port_security=guard is not None,
        rules=guard.rules if guard else (),
        group_members=guard.group_members if guard else {},
        allowed_addresses=_more_addresses(port),
    )


def host_filters(port: Mapping[str, Any], details: Mapping[str, Any]) -> bool:
    """Whether a port's security groups are the host's to put in force."""
    return bool(port.get("port_security_enabled", True)) and not details.get("port_filter")


def rule_of(body: Mapping[str, Any]) -> SecurityRule:
    """A rule of Neutron's, as hosts know them."""
    return SecurityRule(
        direction=body["direction"],
        ethertype=body["ethertype"],
        protocol=body["protocol"] or "",
        port_min=body["port_range_min"],
        port_max=body["port_range_max"],
        remote_cidr=body["remote_ip_prefix"] or "",
        remote_group=body["remote_group_id"] or "",
    )


def _more_addresses(port: Mapping[str, Any]) -> tuple[str, ...]:
    others = [one["ip_address"] for one in port["fixed_ips"][1:]]
    return tuple(others + [pair["ip_address"] for pair in port.get("allowed_address_pairs", [])])


def _bridge(port: Mapping[str, Any], vif_type: str, details: Mapping[str, Any], ovs_bridge: str) -> str:
    """The bridge on the host: named in the binding, else as Neutron's agents name it by themselves."""
    if vif_type == BRIDGE:
        return str(details.get("bridge_name") or f"brq{port['network_id']}"[:_NAME_LENGTH])
    if vif_type == OVS and details.get("ovs_hybrid_plug"):
        return f"qbr{port['id']}"[:_NAME_LENGTH]
    raise NetworkServiceError(
        action=f"have port {port['id']} connected",
        reason=f"it is bound as {vif_type!r}, and hosts connect {BRIDGE!r} only: choose a mechanism driver that binds so",
    )


def awaited(vif_type: str, details: Mapping[str, Any], plugged_when_bound: Collection[str]) -> bool:
    """Whether network-vif-plugged comes before the guest's own interface is there: with a bridge of the port's own, which the
    agent sees, or because the mechanism driver says it upon the binding."""
    return vif_type in plugged_when_bound or bool(details.get("ovs_hybrid_plug"))
