"""Addresses of guests that others made: of the first who knows any, and none that lead nowhere."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from nova_blockmigrate.survey import GuestAddress
from nova_blockmigrate.virt.libvirt import addresses

XML = """<domain><devices>
<interface type='bridge'><mac address='52:54:00:AA:00:01'/><source bridge='br0'/></interface>
<interface type='network'><mac address='52:54:00:aa:00:02'/><source network='default' bridge='virbr0'/></interface>
<interface type='user'><mac address='52:54:00:aa:00:03'/></interface>
</devices></domain>"""
AGENT = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
LEASE = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE


class Domain:
    """Sources that are not named answer with an error, as libvirt's do."""

    def __init__(self, known: dict[int, Any]) -> None:
        self._known = known

    def interfaceAddresses(self, source: int, flags: int) -> Any:
        if source not in self._known:
            raise libvirt.libvirtError("no such source")
        return self._known[source]


def one(mac: str, *found: str) -> dict[str, Any]:
    return {"eth0": {"hwaddr": mac, "addrs": [{"addr": address, "prefix": 24, "type": 0} for address in found]}}


NEIGHBOURS = [
    {"dst": "10.0.0.5", "dev": "br0", "lladdr": "52:54:00:aa:00:01", "state": ["STALE"]},
    {"dst": "fe80::5", "dev": "br0", "lladdr": "52:54:00:aa:00:01", "state": ["REACHABLE"]},
    {"dst": "10.0.0.7", "dev": "br0", "lladdr": "52:54:00:aa:00:02", "state": ["FAILED"]},
    {"dst": "10.0.0.8", "dev": "br0", "state": ["INCOMPLETE"]},
]
SEEN = GuestAddress("52:54:00:aa:00:01", "br0", "10.0.0.5")


@pytest.mark.parametrize(
    "known, expected",
    [
        ({}, (SEEN,)),
        ({LEASE: None}, (SEEN,)),
        (
            {AGENT: one("52:54:00:AA:00:01", "fe80::1", "10.0.0.6", "2001:db8::6")},
            (
                GuestAddress("52:54:00:aa:00:01", "br0", "10.0.0.6"),
                GuestAddress("52:54:00:aa:00:01", "br0", "2001:db8::6"),
            ),
        ),
        (
            {LEASE: one("52:54:00:aa:00:02", "192.168.122.9")},
            (SEEN, GuestAddress("52:54:00:aa:00:02", "default", "192.168.122.9")),
        ),
        ({AGENT: {"lo": {"hwaddr": "00:00:00:00:00:00", "addrs": [{"addr": "127.0.0.1"}]}}}, (SEEN,)),
        ({AGENT: {"eth9": {"hwaddr": "52:54:00:ff:ff:ff", "addrs": [{"addr": "10.9.9.9"}]}}}, (SEEN,)),
    ],
)
def test_the_first_who_knows_an_interfaces_addresses_is_believed(
    monkeypatch: pytest.MonkeyPatch, known: dict[int, Any], expected: tuple[GuestAddress, ...]
) -> None:
    monkeypatch.setattr(addresses, "neighbours", lambda: addresses.usable_neighbours(NEIGHBOURS))
    assert addresses.read(Domain(known), XML) == expected


def test_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "neighbours", lambda: {})
    assert addresses.read(Domain({}), XML) == ()


def test_this_hosts_table_can_be_read() -> None:
    assert all(found for found in addresses.neighbours().values())
