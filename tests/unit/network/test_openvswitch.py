"""Whether Open vSwitch has a bridge, and why it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nova_blockmigrate.network import openvswitch
from nova_blockmigrate.objects import Vif, VifType
from nova_blockmigrate.processes import Completed

VIF = Vif("port", "fa:16:3e:00:00:01", "br-int", "tapport", vif_type=VifType.OVS)


class Switch:
    """Answers as ovs-vsctl does."""

    def __init__(self, datapaths: str) -> None:
        self.datapaths = datapaths

    def run(self, arguments: Sequence[str], timeout_s: float | None = None, input: bytes = b"") -> Completed:
        if "br-exists" in arguments:
            return Completed(tuple(arguments), 0 if arguments[-1] == "br-int" else 2, b"", "")
        return Completed(tuple(arguments), 0, self.datapaths.encode(), "")


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    made = Switch("netdev system")
    monkeypatch.setattr(openvswitch.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(openvswitch.processes, "run", made.run)
    return made


def test_a_bridge_of_its_own_is_known(switch: Switch) -> None:
    assert openvswitch.has_bridge("br-int")
    assert not openvswitch.has_bridge("br-other")


def test_a_host_without_it_has_no_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvswitch.shutil, "which", lambda name: None)
    assert not openvswitch.has_bridge("br-int")
    assert "install openvswitch-switch" in openvswitch.why_not(VIF)


def test_a_kernel_without_it_is_told_with_the_remedy(switch: Switch) -> None:
    assert openvswitch.why_not(VIF) == ""
    switch.datapaths = "netdev"
    assert "load its module openvswitch" in openvswitch.why_not(VIF)
