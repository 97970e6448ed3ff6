"""Which commands make which uplink."""

from __future__ import annotations

from nova_blockmigrate.network import segments
from nova_blockmigrate.network.segments import Uplink
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import SegmentKind

SETTINGS = NetworkSettings("compute1", "book", vxlan_local_ip="10.0.0.1", vxlan_remotes=("10.0.0.1", "10.0.0.2", "10.0.0.3"))


def test_a_vlan_is_named_like_everybody_names_it() -> None:
    assert segments.vlan_name("eth1", 100) == "eth1.100"


def test_a_long_interface_name_is_shortened_to_what_the_kernel_takes() -> None:
    name = segments.vlan_name("enx001122334455", 4094)
    assert len(name) <= 15
    assert name != segments.vlan_name("enx001122334456", 4094)


def test_vxlan_floods_to_every_other_host() -> None:
    first, *flood = segments.adding(Uplink("vxlan-7", kind=SegmentKind.VXLAN, id=7), SETTINGS)
    assert " ".join(first) == "ip link add name vxlan-7 type vxlan id 7 local 10.0.0.1 dstport 4789"
    assert [command[-1] for command in flood] == ["10.0.0.2", "10.0.0.3"]


def test_vxlan_with_a_group_needs_no_list() -> None:
    settings = NetworkSettings("compute1", "book", vxlan_local_ip="10.0.0.1", vxlan_group="239.1.1.1")
    only = segments.adding(Uplink("vxlan-7", "eth0", SegmentKind.VXLAN, 7), settings)
    assert " ".join(only[0]).endswith("dev eth0 group 239.1.1.1 ttl 8")
    assert len(only) == 1
