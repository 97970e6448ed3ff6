"""What a host is told to plug an embedded network's ports into."""

from __future__ import annotations

import pytest

from nova_blockmigrate.conductor import interfaces
from nova_blockmigrate.db import models
from nova_blockmigrate.objects import VifType

PORT_ID = "6e783272-31b5-4fdc-8828-2b8892daab39"


@pytest.mark.parametrize(
    ("vif_type", "guarded", "expected"),
    [
        ("bridge", True, (VifType.BRIDGE, "br7", "")),
        ("ovs", False, (VifType.OVS, "br7", "br7")),
        ("ovs", True, (VifType.OVS_HYBRID, "qbr6e783272-31", "br7")),
    ],
)
def test_who_is_guarded_is_on_a_linux_bridge(vif_type: str, guarded: bool, expected: tuple[VifType, str, str]) -> None:
    network = models.Network(
        id="network", name="n", bridge="br7", cidr="10.0.0.0/24", gateway="10.0.0.1", mtu=1500, segment_kind="flat", segment_id=0,
        physical_network="", port_security=guarded, vif_type=vif_type,
    )  # fmt: skip
    port = models.Port(id=PORT_ID, network=network, mac_address="fa:16:3e:00:00:01", ip_address="10.0.0.7")
    (vif,) = interfaces.vifs_of([port])
    assert (vif.vif_type, vif.bridge, vif.switch, vif.tap) == (*expected, "tap6e783272-31")
