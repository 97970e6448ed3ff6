"""A server's interfaces, whoever owns its ports: rows of ours, or what is known of those that Neutron owns."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.objects import FixedIp, NetworkPort, from_primitive


@dataclasses.dataclass(frozen=True)
class Interface:
    port_id: str
    network_id: str
    network_name: str
    mac: str
    fixed_ips: tuple[FixedIp, ...]
    state: str


def of(server: Instance) -> list[Interface]:
    """In the order in which they were asked for."""
    if server.network_info is not None:
        return [_foreign(from_primitive(NetworkPort, one)) for one in server.network_info]
    return [
        Interface(
            port.id,
            port.network_id,
            port.network.name,
            port.mac_address,
            (FixedIp(port.ip_address, port.network_id),),
            "ACTIVE",
        )
        for port in server.ports
    ]


def security_groups(server: Instance) -> list[str]:
    """Names of the groups that the server's ports are in."""
    if server.network_info is not None:
        return [name for one in server.network_info for name in from_primitive(NetworkPort, one).security_groups]
    return [group.name for port in server.ports for group in port.security_groups]


def _foreign(port: NetworkPort) -> Interface:
    return Interface(port.vif.port_id, port.network_id, port.network_name, port.vif.mac, port.fixed_ips, port.status)


def addresses(server: Instance) -> dict[str, list[dict[str, Any]]]:
    """The server's addresses by the name of the network; an adopted guest's as they were known when it was adopted."""
    found: dict[str, list[dict[str, Any]]] = {}
    for interface in of(server):
        found.setdefault(interface.network_name, []).extend(
            _address(each.ip_address, interface.mac) for each in interface.fixed_ips
        )
    for each in (server.adopted or {}).get("addresses", []):
        found.setdefault(each["network"], []).append(_address(each["address"], each["mac"]))
    return found


def _address(address: str, mac: str) -> dict[str, Any]:
    return {
        "version": ipaddress.ip_address(address).version,
        "addr": address,
        "OS-EXT-IPS:type": "fixed",
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }


def attachment(interface: Interface) -> dict[str, Any]:
    """As `os-interface` lists it."""
    return {
        "port_id": interface.port_id,
        "net_id": interface.network_id,
        "mac_addr": interface.mac,
        "port_state": interface.state,
        "fixed_ips": [{"ip_address": each.ip_address, "subnet_id": each.subnet_id} for each in interface.fixed_ips],
    }
