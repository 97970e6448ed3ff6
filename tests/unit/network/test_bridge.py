"""Bridges and uplinks: what is told without touching them, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import links
from nova_blockmigrate.network.plumbing import NoLedger, Plumbing
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import Segment, SegmentKind, Vif


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /sys/class/net of the test's own: eth1 of 1500 bytes, and the bridge br100."""
    monkeypatch.setattr(links, "CLASS_NET", str(tmp_path / "net"))
    (tmp_path / "net/br100/bridge").mkdir(parents=True)
    (tmp_path / "net/eth1").mkdir()
    (tmp_path / "net/eth1/mtu").write_text("1500\n")
    monkeypatch.setattr(links, "VLANS", str(tmp_path / "vlan"))
    (tmp_path / "vlan").mkdir()
    return tmp_path


def vif(bridge: str = "br100", mtu: int = 1500, **segment: object) -> Vif:
    return Vif("port", "fa:16:3e:00:00:01", bridge, "tapport", mtu=mtu, segment=Segment(**segment))  # type: ignore[arg-type]


def why_not(devices: Path, wanted: Vif, **options: object) -> str:
    settings = NetworkSettings("compute1", str(devices / "book.json"), {"physnet1": "eth1"}, **options)  # type: ignore[arg-type]
    return "; ".join(Plumbing(settings).why_not([wanted, wanted]))


VLAN = {"kind": SegmentKind.VLAN, "id": 100, "physical_network": "physnet1"}
VXLAN = {"kind": SegmentKind.VXLAN, "id": 5000}


def test_a_bridge_that_exists_is_fine(devices: Path) -> None:
    assert why_not(devices, vif()) == ""


def test_a_missing_bridge_is_named_once_with_what_to_do(devices: Path) -> None:
    assert why_not(devices, vif("br200")) == "bridge br200 does not exist on this host: create it, or correct the network's bridge"


def test_what_is_no_bridge_is_refused(devices: Path) -> None:
    assert "eth1 is not a bridge" in why_not(devices, vif("eth1"))


def test_a_vlan_whose_interface_is_there_can_be_had_and_its_bridge_made(devices: Path) -> None:
    assert why_not(devices, vif("brvlan100", **VLAN)) == ""


def test_a_kernel_without_vlans_is_told_before_anything_is_made(devices: Path) -> None:
    (devices / "vlan").rmdir()
    assert "8021q" in why_not(devices, vif("brvlan100", **VLAN))


def test_bridges_are_made_only_where_the_configuration_allows_it(devices: Path) -> None:
    assert "eth1.100 does not exist" in why_not(devices, vif("brvlan100", **VLAN), create_bridges=False)


def test_an_unmapped_physical_network_is_refused(devices: Path) -> None:
    wanted = vif("brvlan100", **{**VLAN, "physical_network": "physnet2"})
    assert "physical_interface_mappings" in why_not(devices, wanted)


def test_frames_must_fit_into_what_carries_them(devices: Path) -> None:
    assert "carries 1500 bytes" in why_not(devices, vif("brvlan100", mtu=9000, **VLAN))


def test_vxlan_over_an_interface_needs_fifty_bytes_more(devices: Path) -> None:
    over = {**VXLAN, "physical_network": "physnet1"}
    assert "VXLAN adds 50" in why_not(devices, vif("brvx", 1451, **over), vxlan_remotes=("10.0.0.2",))
    assert why_not(devices, vif("brvx", 1450, **over), vxlan_remotes=("10.0.0.2",)) == ""


def test_vxlan_that_finds_its_way_by_routing_must_fit_into_what_has_the_local_address(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "device_with", {"10.0.0.1": "eth1"}.get)
    options = {"vxlan_local_ip": "10.0.0.1", "vxlan_remotes": ("10.0.0.2",)}
    assert "eth1 carries 1500 bytes, the network has an MTU of 1451 and VXLAN adds 50" in why_not(
        devices, vif("brvx", 1451, **VXLAN), **options
    )
    assert why_not(devices, vif("brvx", 1450, **VXLAN), **options) == ""
    monkeypatch.setattr(links, "device_with", lambda address: "")
    assert "no interface of this host has the address 10.0.0.1" in why_not(devices, vif("brvx", 1450, **VXLAN), **options)


def test_vxlan_without_other_hosts_is_refused(devices: Path) -> None:
    assert "vxlan_remotes" in why_not(devices, vif("brvx", **VXLAN))


def test_plugging_into_a_missing_bridge_fails(devices: Path) -> None:
    with pytest.raises(NetworkError, match="no-such-bridge"):
        Plumbing(NetworkSettings("compute1", str(devices / "book.json"))).plug([vif("no-such-bridge")], NoLedger())


def test_what_is_not_bound_here_yet_needs_nothing_here(devices: Path) -> None:
    elsewhere = dataclasses.replace(vif(), bridge="br-of-the-source")
    assert "br-of-the-source" in why_not(devices, elsewhere)
    assert why_not(devices, dataclasses.replace(elsewhere, is_bound=False)) == ""
