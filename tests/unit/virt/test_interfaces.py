"""Interfaces in a domain's XML, where another host has other bridges."""

from __future__ import annotations

import dataclasses

from nova_blockmigrate.objects import Vif, VifType
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts
from nova_blockmigrate.virt.libvirt.interfaces import with_bridges

XML = (
    "<domain><devices><interface type='bridge'><mac address='FA:16:3E:00:00:01'/><source bridge='br-one'/></interface>"
    "<interface type='network'><mac address='fa:16:3e:00:00:02'/><source network='default'/></interface></devices></domain>"
)


def vif(bridge: str, mac: str = "fa:16:3e:00:00:01") -> Vif:
    return Vif("1", mac, bridge, "tap1")


def test_an_interface_hangs_on_the_bridge_that_the_host_has_for_it() -> None:
    assert 'bridge="br-two"' in with_bridges(XML, [vif("br-two")])


def test_nothing_is_touched_when_nothing_differs() -> None:
    assert with_bridges(XML, [vif("br-one")]) is XML


def test_interfaces_that_are_not_ours_stay_as_they_are() -> None:
    assert with_bridges(XML, [vif("br-two", "fa:16:3e:00:00:99")]) is XML


def test_an_interface_that_comes_to_open_vswitch_says_so_with_its_ports_id() -> None:
    moved = with_bridges(XML, [dataclasses.replace(vif("br-int"), vif_type=VifType.OVS)])
    assert DomainFacts(moved).ovs_bridges == ("br-int",)
    assert '<virtualport type="openvswitch"><parameters interfaceid="' in moved


def test_an_interface_that_leaves_open_vswitch_says_so_no_more() -> None:
    on_switch = dataclasses.replace(vif("br-int"), vif_type=VifType.OVS)
    there = with_bridges(XML, [on_switch])
    assert with_bridges(there, [on_switch]) is there
    assert DomainFacts(with_bridges(there, [vif("br-one")])).ovs_bridges == ()
