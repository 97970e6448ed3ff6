"""What addresses a guest that somebody else made has, as far as its host can know: asked of the guest's agent, of libvirt's DHCP
leases, and of the host's own table of neighbours, in this order. Where none of them knows, none is told.

libvirt would read the table of neighbours, too, but 9.0 cannot on newer kernels ("wrong nlmsg len"): so `ip` reads it."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any

import libvirt
from lxml import etree

from nova_blockmigrate import processes
from nova_blockmigrate.survey import GuestAddress

_SOURCES = (
    libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
    libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
)
_TIMEOUT_S = 10.0
_UNREACHED = {"FAILED", "INCOMPLETE"}


def read(domain: Any, xml: str) -> tuple[GuestAddress, ...]:
    """Those of a running guest; an interface's come from the first who knows any."""
    networks = networks_by_mac(xml)
    known: dict[str, tuple[str, ...]] = {}
    for source in _SOURCES if networks else ():
        with contextlib.suppress(libvirt.libvirtError):  # there is no agent, no lease: ask the next one
            for mac, found in usable(domain.interfaceAddresses(source, 0)).items():
                known.setdefault(mac, found)
    for mac, found in neighbours().items() if networks else ():
        known.setdefault(mac, found)
    return tuple(GuestAddress(mac, networks[mac], address) for mac in networks for address in known.get(mac, ()))


def neighbours() -> dict[str, tuple[str, ...]]:
    """Addresses by MAC address that this host has lately had to do with."""
    done = processes.run(["ip", "-json", "neighbour", "show"], _TIMEOUT_S)
    return usable_neighbours(json.loads(done.stdout or "[]")) if done.returncode == 0 else {}


def usable_neighbours(table: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Those of a table of neighbours that answered (pure)."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in table:
        if entry.get("lladdr") and not _UNREACHED & set(entry.get("state", ())):
            mac = str(entry["lladdr"]).lower()
            found[mac] = (*found.get(mac, ()), *_reachable([entry["dst"]]))
    return {mac: addresses for mac, addresses in found.items() if addresses}


def networks_by_mac(xml: str) -> dict[str, str]:
    """What each interface hangs on, by its MAC address (pure)."""
    found = {}
    for node in etree.fromstring(xml.encode()).iterfind("devices/interface"):
        mac, source = node.find("mac"), node.find("source")
        if mac is not None and source is not None:
            names = [source.get(name) for name in ("network", "bridge", "dev") if source.get(name)]
            found[str(mac.get("address")).lower()] = str(names[0]) if names else "unknown"
    return found


def usable(told: Mapping[str, Mapping[str, Any]] | None) -> dict[str, tuple[str, ...]]:
    """Addresses by MAC address of what libvirt tells, without those that lead nowhere (pure)."""
    found = {}
    for interface in (told or {}).values():
        addresses = tuple(_reachable(each["addr"] for each in interface.get("addrs") or ()))
        if interface.get("hwaddr") and addresses:
            found[str(interface["hwaddr"]).lower()] = addresses
    return found


def _reachable(addresses: Iterable[str]) -> Iterable[str]:
    for address in addresses:
        parsed = ipaddress.ip_address(address)
        if not parsed.is_link_local and not parsed.is_loopback:
            yield address
