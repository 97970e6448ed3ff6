"""Open vSwitch: why it cannot be used, and what is asked of it and of os-vif when guests come and go."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import announcement, links, openvswitch
from nova_blockmigrate.network.bridge import Bridges
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import Vif, VifType
from nova_blockmigrate.processes import Completed

PLAIN = Vif("port", "fa:16:3e:00:00:01", "br-int", "tapport", vif_type=VifType.OVS)
HYBRID = dataclasses.replace(PLAIN, bridge="qbrport", vif_type=VifType.OVS_HYBRID, ovs_bridge="br-int", port_security=True)
COMMANDS = ("list-br", "br-exists", "port-to-br", "del-port", "packet-out", "Interface", "Bridge")


class Switch:
    """Answers as ovs-vsctl does, of one bridge."""

    def __init__(self) -> None:
        self.number, self.datapath = "65534", "netdev"
        self.ports: set[str] = set()
        self.is_away = False
        self.sent: list[tuple[str, ...]] = []

    def run(self, arguments: Sequence[str], timeout_s: float | None = None, input: bytes = b"") -> Completed:
        (command,) = (word for word in COMMANDS if word in arguments)
        if self.is_away:
            return Completed(tuple(arguments), 1, b"", "database connection failed")
        code, text, name = 0, "", arguments[-1]
        if command == "list-br":
            text = "br-ex\nbr-int\n"
        elif command == "br-exists":
            code = 0 if name == "br-int" else 2
        elif command == "port-to-br":
            code, text = (0, "br-int\n") if name in self.ports else (1, "")
        elif command == "del-port":
            self.ports.discard(name)
        elif command == "packet-out":
            self.sent.append(tuple(arguments[-2:]))
        else:
            text = self.number if command == "Interface" else self.datapath
        return Completed(tuple(arguments), code, text.encode(), "")


class Plugs:
    """Takes notes of what os-vif is asked for, and makes of it what os-vif would."""

    def __init__(self, switch: Switch, devices: Path) -> None:
        self._switch, self._devices = switch, devices
        self.asked: list[tuple[VifType, str]] = []
        self.fails = False

    def plug(self, vif: Vif, uplink: str = "", datapath: str = "") -> None:
        self.asked.append((vif.vif_type, datapath))
        made = ("qbrport", "qvbport", "qvoport") if vif.vif_type is VifType.OVS_HYBRID else ()
        for name in made:
            (self._devices / name).mkdir(exist_ok=True)
        if self.fails:
            raise NetworkError(host="compute1", action="plug", reason="killed")
        self._switch.ports |= set(made[2:]) or {vif.tap}  # (libvirt's, of a plain one)

    def unplug(self, vif: Vif, datapath: str = "") -> None:
        assert (vif.bridge, vif.ovs_bridge) == ("qbrport", "br-int")
        for name in ("qbrport", "qvbport", "qvoport"):
            (self._devices / name).rmdir()
        self._switch.ports.discard("qvoport")


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    made = Switch()
    monkeypatch.setattr(openvswitch.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(openvswitch.processes, "run", made.run)
    return made


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /sys/class/net of the test's own, from which devices can be removed."""
    folder = tmp_path / "net"
    folder.mkdir()
    monkeypatch.setattr(links, "CLASS_NET", str(folder))

    def change(host: str, action: str, commands: Sequence[Sequence[str]]) -> None:
        for command in commands:
            assert command[:4] == ("ip", "link", "del", "dev")
            gone = {"qvbport", "qvoport"} if command[4].startswith("qv") else {command[4]}
            for name in gone:
                (folder / name).rmdir()

    monkeypatch.setattr(links, "change", change)
    return folder


@pytest.fixture
def plugs(switch: Switch, devices: Path) -> Plugs:
    return Plugs(switch, devices)


def bridges(plugs: Any, devices: Path) -> Bridges:
    return Bridges(NetworkSettings("compute1", str(devices.parent / "book.json")), plugs)


def names(devices: Path) -> set[str]:
    return {path.name for path in devices.iterdir()}


# --- whether it can be used -----------------------------------------------------------------------------------------


def test_a_bridge_of_its_own_is_known(switch: Switch) -> None:
    assert openvswitch.has_bridge("br-int")
    assert not openvswitch.has_bridge("br-other")


def test_a_host_without_it_has_no_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvswitch.shutil, "which", lambda name: None)
    assert not openvswitch.has_bridge("br-int")
    assert "install openvswitch-switch" in openvswitch.why_not(PLAIN)


@pytest.mark.parametrize("vif", [PLAIN, HYBRID])
def test_a_bridge_that_is_there_can_be_used(switch: Switch, vif: Vif) -> None:
    assert openvswitch.why_not(vif) == ""


def test_a_bridge_that_is_not_there_is_named_and_not_made(switch: Switch) -> None:
    assert "has no bridge br-other" in openvswitch.why_not(dataclasses.replace(PLAIN, bridge="br-other"))
    assert "has no bridge br-other" in openvswitch.why_not(dataclasses.replace(HYBRID, ovs_bridge="br-other"))


@pytest.mark.parametrize("number", ["", "-1"])
def test_a_bridge_that_the_kernel_did_not_set_up_is_told_with_the_remedy(switch: Switch, number: str) -> None:
    switch.number = number
    assert "load the kernel's module openvswitch" in openvswitch.why_not(PLAIN)


def test_one_that_does_not_answer_is_told(switch: Switch) -> None:
    switch.is_away = True
    assert "database connection failed" in openvswitch.why_not(PLAIN)


def test_a_plain_port_is_not_for_guests_that_this_host_guards(switch: Switch) -> None:
    assert "our firewall does not see" in openvswitch.why_not(dataclasses.replace(PLAIN, port_security=True))


# --- plugging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vif", [PLAIN, HYBRID])
def test_os_vif_is_told_of_the_bridges_datapath_as_it_is(switch: Switch, devices: Path, plugs: Plugs, vif: Vif) -> None:
    bridges(plugs, devices).plug(vif)
    switch.datapath = ""
    bridges(plugs, devices).plug(vif)
    assert plugs.asked == [(vif.vif_type, "netdev"), (vif.vif_type, "")]


@pytest.mark.parametrize("vif", [PLAIN, HYBRID])
def test_what_was_made_goes_with_the_guest(switch: Switch, devices: Path, plugs: Plugs, vif: Vif) -> None:
    switch.ports.add("somebody-elses")
    bridges(plugs, devices).plug(vif)
    bridges(plugs, devices).unplug(vif.tap)  # (a service that was restarted meanwhile)
    assert (switch.ports, names(devices)) == ({"somebody-elses"}, set())
    bridges(plugs, devices).unplug(vif.tap)


def test_a_bridge_of_its_own_that_others_made_stays(switch: Switch, devices: Path, plugs: Plugs) -> None:
    for name in ("qbrport", "qvbport", "qvoport"):
        (devices / name).mkdir()
    switch.ports.add("qvoport")
    bridges(plugs, devices).plug(HYBRID)
    bridges(plugs, devices).unplug(HYBRID.tap)
    assert names(devices) == {"qbrport", "qvbport", "qvoport"}
    assert switch.ports == {"qvoport"}


def test_a_hybrid_that_was_left_half_made_is_made_anew_and_goes_whole(switch: Switch, devices: Path, plugs: Plugs) -> None:
    plugs.fails = True
    with pytest.raises(NetworkError):
        bridges(plugs, devices).plug(HYBRID)
    assert (names(devices), switch.ports) == ({"qbrport", "qvbport", "qvoport"}, set())

    plugs.fails = False
    bridges(plugs, devices).plug(HYBRID)
    assert switch.ports == {"qvoport"}, "os-vif would have taken the pair for whole"

    bridges(plugs, devices).unplug(HYBRID.tap)
    assert (names(devices), switch.ports) == (set(), set())


def test_a_port_outlives_a_boot_of_the_host_and_goes_all_the_same(
    switch: Switch, devices: Path, plugs: Plugs, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridges(plugs, devices).plug(PLAIN)
    boot = devices.parent / "boot_id"
    boot.write_text("another")
    monkeypatch.setattr("nova_blockmigrate.network.book._BOOT_ID", boot)
    bridges(plugs, devices).unplug(PLAIN.tap)
    assert switch.ports == set()


def test_a_switch_that_is_away_keeps_the_port_noted(switch: Switch, devices: Path, plugs: Plugs) -> None:
    made = bridges(plugs, devices)
    made.plug(PLAIN)
    switch.is_away = True
    with pytest.raises(NetworkError, match="database connection failed"):
        made.unplug(PLAIN.tap)
    switch.is_away = False
    made.unplug(PLAIN.tap)
    assert switch.ports == set()


def test_a_guest_is_announced_as_if_by_itself(switch: Switch) -> None:
    openvswitch.send(PLAIN, announcement.frames(PLAIN))
    ((bridge, order),) = switch.sent
    assert bridge == "br-int"
    assert order.startswith("in_port=tapport,packet=fffffffffffffa163e0000018035") and order.endswith(",actions=TABLE")
