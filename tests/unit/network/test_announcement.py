"""The frames that tell a network where a guest is."""

from __future__ import annotations

import pytest

from nova_blockmigrate.network import announcement
from nova_blockmigrate.objects import Vif


def test_the_mac_and_the_address_are_told_to_everybody() -> None:
    rarp, arp = announcement.frames(Vif("port", "fa:16:3e:01:02:03", "br100", "tap", ip_address="10.1.2.3"))
    assert rarp[:14].hex() == "ff" * 6 + "fa163e010203" + "8035"
    assert arp[12:14].hex() == "0806"
    assert arp[28:32] == arp[38:42] == bytes([10, 1, 2, 3])
    assert len(rarp) == len(arp) == 60


def test_without_an_ipv4_address_the_mac_is_told() -> None:
    assert len(announcement.frames(Vif("port", "fa:16:3e:01:02:03", "br100", "tap"))) == 1


def test_what_hangs_on_a_device_without_a_bridge_is_told_there(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(announcement, "_send", lambda device, what: sent.append(device))
    assert announcement.send(Vif("", "fa:16:3e:01:02:03", "", "macvtap0"), "eth1") == sent == ["eth1"]
