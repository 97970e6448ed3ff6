"""What a host's firewall has nft do, what it makes of nft's answers, and when it refuses."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.network import firewall, links
from nova_blockmigrate.network.firewall import Firewall
from nova_blockmigrate.network.plumbing import NoLedger, Plumbing
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import SecurityRule, Segment, SegmentKind, Vif
from nova_blockmigrate.processes import Completed


class Nft:
    """Stands in for nft: knows whose chains and which zones there are, and takes notes of what was loaded."""

    def __init__(self) -> None:
        self.taps: set[str] = set()
        self.zones: dict[str, int] = {}
        self.loaded: list[str] = []
        self.refuses: Callable[[str], bool] = lambda text: False
        self.list_error = ""
        self.check_error: Callable[[str], str] = lambda text: ""

    def run(self, arguments: Sequence[str], timeout_s: float | None = None, input: bytes = b"") -> Completed:
        text = input.decode()
        if arguments[0] != "nft":
            return self._answer(arguments)
        if "--check" in arguments:
            return self._answer(arguments, error=self.check_error(text))
        if "list" in arguments:
            return self._listing(arguments)
        if self.refuses(text):
            return self._answer(arguments, error="Error: syntax error")
        self.loaded.append(text)
        self.taps |= set(re.findall(r'add element bridge blockmigrate from_guest { "(\w+)"', text))
        self.taps -= set(re.findall(r'delete element bridge blockmigrate from_guest { "(\w+)"', text))
        self.zones |= {name: int(zone) for name, zone in re.findall(r'add element \w+ blockmigrate zones { "(\w+)" : (\d+)', text)}
        for name in re.findall(r'delete element inet blockmigrate zones { "(\w+)"', text):
            del self.zones[name]
        return self._answer(arguments)

    def _listing(self, arguments: Sequence[str]) -> Completed:
        if self.list_error:
            return self._answer(arguments, error=self.list_error)
        if "zones" in arguments and "inet" in arguments:
            return self._answer(arguments, ", ".join(f'"{name}" : {zone}' for name, zone in self.zones.items()))
        if "zones" in arguments or not self.taps:
            return self._answer(arguments, error="Error: No such file or directory")
        return self._answer(arguments, "\n".join(f"chain from_{tap} {{" for tap in self.taps))

    @staticmethod
    def _answer(arguments: Sequence[str], output: str = "", error: str = "") -> Completed:
        return Completed(tuple(arguments), 1 if error else 0, output.encode(), error)


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nft:
    """A kernel that tracks bridged packets, without devices."""
    fake = Nft()
    monkeypatch.setattr(firewall.processes, "run", fake.run)
    monkeypatch.setattr(firewall.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(firewall, "SYSCTLS", str(tmp_path))
    monkeypatch.setattr(links, "CLASS_NET", str(tmp_path / "net"))
    (tmp_path / "net").mkdir()
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        (tmp_path / name).write_text("0\n")
    return fake


def settings(tmp_path: Path, **values: Any) -> NetworkSettings:
    return NetworkSettings("compute1", str(tmp_path / "book.json"), **{"tracking": "br_netfilter", **values})


@pytest.fixture
def plumbing(nft: Nft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plumbing:
    """Its bridges are there, and nobody is asked to plug anything into them."""
    made = Plumbing(settings(tmp_path, vxlan_local_ip="192.0.2.1", vxlan_remotes=("192.0.2.2",)))
    monkeypatch.setattr(made._osvif, "plug", lambda vif, uplink="": None)
    return made


def vif(tap: str = "tap1", port_security: bool = True, **values: Any) -> Vif:
    usual: dict[str, Any] = {"ip_address": "10.0.0.7", "rules": (SecurityRule("egress"),)}
    return Vif(tap, "fa:16:3e:00:00:07", "brx5", tap, port_security=port_security, **{**usual, **values})


def plugged(plumbing: Plumbing, *vifs: Vif) -> None:
    """As they are noted once they were plugged."""
    for one in vifs:
        with plumbing._bridges._book.bridge(one.bridge) as entry:
            entry.taps.append(one.tap)
    plumbing._guard(vifs)


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_kernel_without_any_tracking_is_told_with_the_remedy(nft: Nft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nft.check_error = lambda text: "Error: Could not process rule: Operation not supported"
    monkeypatch.setattr(firewall, "SYSCTLS", str(tmp_path / "nothing"))
    guarding = Firewall(settings(tmp_path, tracking="auto"))

    reason = guarding.why_not()

    assert "bridge: Error: Could not process rule" in reason
    assert f"br_netfilter: {tmp_path}/nothing does not exist" in reason
    assert "load nf_conntrack_bridge or br_netfilter, or switch the network's port security off" in reason
    with pytest.raises(NetworkError, match="cannot track the connections"):
        guarding.guard([vif()])
    assert nft.loaded == []


def test_a_kernel_that_cannot_track_in_the_bridge_family_tracks_bridged_packets(nft: Nft, tmp_path: Path) -> None:
    nft.check_error = lambda text: "" if "table inet" in text else "Error: ct: not supported"
    guarding = Firewall(settings(tmp_path, tracking="auto"))

    guarding.guard([vif()])

    assert "table inet blockmigrate" in nft.loaded[0]
    assert (tmp_path / "bridge-nf-call-iptables").read_text() == "1\n"


def test_a_host_that_is_to_track_in_the_bridge_family_does_nothing_else(nft: Nft, tmp_path: Path) -> None:
    nft.check_error = lambda text: "" if "table inet" in text else "Error: ct: not supported"
    assert "bridge: Error: ct: not supported" in Firewall(settings(tmp_path, tracking="bridge")).why_not()


def test_a_host_without_nft_says_what_to_install(nft: Nft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall.shutil, "which", lambda name: None)
    assert "install nftables" in Firewall(settings(tmp_path)).why_not()
    Firewall(settings(tmp_path)).release("tap1", ())


def test_what_bridged_packets_need_must_be_settable(nft: Nft, tmp_path: Path) -> None:
    (tmp_path / "bridge-nf-call-ip6tables").unlink()
    with pytest.raises(NetworkError, match="bridge-nf-call-ip6tables cannot be set to 1"):
        Firewall(settings(tmp_path)).guard([vif()])


# --- refreshing -----------------------------------------------------------------------------------------------------


def test_rules_that_the_kernel_refuses_hold_up_nobody_elses(nft: Nft, plumbing: Plumbing, caplog: pytest.LogCaptureFixture) -> None:
    guests = {"good": [vif("tap1")], "bad": [vif("tap2")], "other": [vif("tap3")]}
    plugged(plumbing, *(one for vifs in guests.values() for one in vifs))
    nft.loaded.clear()
    nft.refuses = lambda text: "from_tap2" in text

    with caplog.at_level(logging.ERROR), pytest.raises(NetworkError, match="refresh the rules of bad"):
        plumbing.refresh(guests)

    assert [set(re.findall(r"from_(tap\d) ether saddr", text)) for text in nft.loaded] == [{"tap1"}, {"tap3"}]
    assert "[server bad] its rules stay as they were" in caplog.text


def test_rules_go_when_port_security_is_switched_off(nft: Nft, plumbing: Plumbing) -> None:
    plugged(plumbing, vif("tap1"), vif("tap2"))
    plumbing.refresh({"guest": [vif("tap1", port_security=False), vif("tap2")]})
    assert nft.taps == {"tap2"}


def test_a_guest_that_is_not_here_gets_no_rules(nft: Nft, plumbing: Plumbing) -> None:
    plumbing.refresh({"guest": [vif("tap1")]})
    assert nft.taps == set()


# --- releasing ------------------------------------------------------------------------------------------------------


def test_rules_that_cannot_be_listed_are_not_taken_for_gone(nft: Nft, plumbing: Plumbing) -> None:
    plugged(plumbing, vif())
    nft.list_error = "Error: Could not receive tables from kernel: Resource temporarily unavailable"
    with pytest.raises(NetworkError, match="temporarily unavailable"):
        plumbing.release("tap1")
    nft.list_error = ""
    plumbing.release("tap1")
    assert nft.taps == set()


def test_a_release_of_what_is_not_there_changes_nothing(nft: Nft, plumbing: Plumbing) -> None:
    plumbing.release("tap1")
    assert nft.loaded == []


def test_a_zone_ends_with_the_last_tap_of_its_bridge(nft: Nft, plumbing: Plumbing) -> None:
    segment = Segment(SegmentKind.VXLAN, 5)
    plugged(plumbing, vif("tap1", segment=segment), vif("tap2", segment=segment))
    plumbing.release("tap1")
    assert list(nft.zones) == ["brx5"]
    plumbing.release("tap2")
    assert nft.zones == {}


def test_a_zone_ends_of_a_bridge_that_could_not_be_plugged(nft: Nft, plumbing: Plumbing) -> None:
    """Rules stand before the bridge does: the host has no interface on the physical network here."""
    segment = Segment(SegmentKind.VLAN, 5, "nowhere")
    with pytest.raises(NetworkError, match="no interface"):
        plumbing.plug([vif(segment=segment)], NoLedger())
    assert list(nft.zones) == ["brx5"]
    plumbing.release("tap1")
    assert (nft.taps, nft.zones) == (set(), {})
