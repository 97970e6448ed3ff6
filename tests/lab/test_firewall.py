"""Security groups with real packets: what is allowed goes on, what is not never gets through, wherever the guest is."""

from __future__ import annotations

import functools
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import fabric, guest, scenario, seed
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.layout import CONTROLLER
from labkit.scenario import HOST
from labkit.traffic import KeptConnection, Prober, Sniffer, listening
from nova_blockmigrate.network import ruleset
from nova_blockmigrate.network.ruleset import Guarding, Tracking
from nova_blockmigrate.objects import AddressPair, SecurityRule, Vif
from tests.lab.copying import PAYLOAD_MIB, assert_unharmed, begin

SHUT_PORT = 7001
"""Nobody listens there, and no rule allows it: a guest without a firewall would refuse, one with it says nothing."""
LAST = b"this is the last one"


def move(lab: Any, client: Any, server: Any, host: str) -> None:
    lab.nova("live-migration", "--block-migrate", server.name, host)
    ended = scenario.wait_for_end(client, server.id, 120)
    assert ended["status"] == "completed", scenario.reasons(client, server.id)
    assert client.server(server.id)[HOST] == host
    server.guest.wait()  # (a guest whose pages emulation has lost is dead, whatever the rules say)


def rules(lab: Any, host: str) -> str:
    return str(lab.run(host, ["nft", "list", "table", "bridge", "blockmigrate"], check=False).stdout)


def port_of(lab: Any, mac: str) -> str:
    """The port of the fabric's tenant bridge behind which a MAC is."""
    entries = json.loads(lab.run(CONTROLLER, ["bridge", "-j", "fdb", "show", "br", fabric.TENANT_BRIDGE]).stdout)
    return next((str(entry["ifname"]) for entry in entries if entry["mac"] == mac.lower() and "master" in entry), "")


def test_rules_hold_before_while_and_after_a_guest_moves(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    enter = functools.partial(lab.inside_network, CONTROLLER)
    address = lab.layout.controller.tenant_ip
    inbound = KeptConnection(enter, server.guest.address)
    before = json.loads(inbound.ask())

    with listening(enter, address) as listener:
        server.guest.command(f"dial {address} {listener.getsockname()[1]}")
        outbound, _ = listener.accept()
        with Prober(enter, server.guest.address, SHUT_PORT) as prober:
            move(lab, client, server, "compute2")
            tried = prober.outcomes["silence"]
            # the guest itself has said nothing on this connection since: the answer must pass without its help
            outbound.sendall(b"x" * 1000)
            wait_until(
                lambda: json.loads(inbound.ask())["dialled_bytes"] >= 1000, 30, "the guest gets the answer that it asked for"
            )
            wait_until(lambda: prober.outcomes["silence"] > tried + 3, 30, "the shut port is tried at the new place")

    assert guest.uptime_went_on(before, json.loads(inbound.ask())), "one connection, before and after"
    assert prober.outcomes["refused"] == prober.outcomes["open"] == 0
    assert port_of(lab, server.mac) == "t2"
    assert server.mac in rules(lab, "compute2")
    assert server.mac not in rules(lab, "compute1")
    inbound.close()
    outbound.close()
    assert_forgeries_are_dropped(lab, server)


@pytest.mark.usefixtures("slow")
def test_rules_hold_at_the_source_after_a_roll_back(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()
    enter = functools.partial(lab.inside_network, CONTROLLER)
    inbound = KeptConnection(enter, server.guest.address)
    inbound.ask()

    with Prober(enter, server.guest.address, SHUT_PORT) as prober:
        migration = begin(lab, client, server, "compute2")
        assert server.mac in rules(lab, "compute2")
        lab.nova("live-migration-abort", server.name, str(migration["id"]))
        assert scenario.wait_for_end(client, server.id, 60)["status"] == "cancelled"
        tried = prober.outcomes["silence"]
        wait_until(lambda: prober.outcomes["silence"] > tried + 3, 30, "the shut port is tried after the roll back")

    assert prober.outcomes["refused"] == prober.outcomes["open"] == 0
    assert guest.uptime_went_on(before, json.loads(inbound.ask())), "what is allowed goes on"
    inbound.close()
    assert server.mac in rules(lab, "compute1")
    assert_unharmed(lab, client, server, before)


def test_nft_takes_every_rule_that_can_be_written(lab: Any) -> None:
    protocols = ["", "any", "tcp", "udplite", "pgm", "ipv6-encap", "icmp", "icmpv6", *(str(number) for number in range(256))]
    ports = [(None, None), (8, 0), (5, 9)]
    written = [
        SecurityRule(direction, ethertype, protocol, *some)
        for direction in ("ingress", "egress")
        for ethertype in ("IPv4", "IPv6")
        for protocol in protocols
        for some in ports
    ]
    pairs = (AddressPair("00:00:5e:00:01:01", "0.0.0.0/0"), AddressPair("00:00:5e:00:01:01", "fd00::9"))
    vif = Vif(
        "port", "fa:16:3e:00:00:07", "br100", "tapport",
        ip_address="10.0.0.7", port_security=True, rules=(*written, SecurityRule("ingress", remote_group="g")),
        allowed_addresses=("10.0.0.0/24", "0.0.0.0/0", "fd00::/64"), allowed_pairs=pairs,
        group_members={"g": ("10.0.0.7", "10.0.0.0/24", "fd00::1", "fd00::/64")},
    )  # fmt: skip
    guarding = Guarding(Tracking.BR_NETFILTER)
    text = ruleset.base(guarding) + ruleset.guard([vif], guarding)
    lab.run("compute1", ["nft", "--check", "-f", "-"], input=text)


def assert_forgeries_are_dropped(lab: Any, server: Any) -> None:
    """Frames that claim to be from somebody else do not get into the fabric; the guest's own does."""
    mac, address = bytes.fromhex(server.mac.replace(":", "")), socket.inet_aton(server.guest.address)
    other_mac, other = bytes.fromhex("fa163effffff"), socket.inet_aton(server.guest.address.rpartition(".")[0] + ".99")
    forgeries = {
        "another MAC": udp(other_mac, address, b"forged MAC"),
        "another address": udp(mac, other, b"forged address"),
        "ARP for another address": arp(mac, mac, other),
        "ARP with another MAC": arp(mac, other_mac, address),
        "a DHCP server": udp(mac, address, b"forged DHCP", source_port=67, port=68),
        "another protocol": b"\xff" * 6 + mac + b"\x88\xb5" + b"forged type".ljust(46, b"\0"),
    }
    with Sniffer(lab) as sniffer:
        for frame in (*forgeries.values(), udp(mac, address, LAST)):
            server.guest.command(f"frame {frame.hex()}")
        seen = sniffer.until(LAST, 30)
    passed = [name for name, frame in forgeries.items() if any(one[6:] == frame[6:] for one in seen)]
    assert passed == []


def udp(mac: bytes, source: bytes, content: bytes, source_port: int = 9, port: int = 9) -> bytes:
    """A broadcast UDP datagram in a frame; without a UDP checksum, which IPv4 allows."""
    datagram = source_port.to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(content)).to_bytes(2, "big") + b"\0\0" + content
    header = bytearray(b"\x45\0" + (20 + len(datagram)).to_bytes(2, "big") + b"\0\0\0\0\x40\x11\0\0" + source + b"\xff" * 4)
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    header[10:12] = (0xFFFF - (total % 0xFFFF or 0xFFFF)).to_bytes(2, "big")
    return (b"\xff" * 6 + mac + b"\x08\0" + bytes(header) + datagram).ljust(60, b"\0")


def arp(mac: bytes, sender_mac: bytes, sender: bytes) -> bytes:
    return (b"\xff" * 6 + mac + b"\x08\x06\0\x01\x08\0\x06\x04\0\x02" + sender_mac + sender + bytes(6) + sender).ljust(60, b"\0")


@pytest.fixture
def groups(lab: Any) -> Iterator[None]:
    """The group "data" lets members of "web" come to one port (and everybody to the agent)."""
    for name in ("web", "data"):
        seed.manage(lab.layout, "security-group", "create", "--project", "admin", "--name", name)
    for rule in (["--port", str(SHUT_PORT), "--remote-group", "web"], ["--port", str(guest.PORT)]):
        seed.manage(lab.layout, "security-group-rule", "create", "--project", "admin", "data", "--protocol", "tcp", *rule)
    yield
    for server in ("lm001", "lm002"):
        lab.nova("delete", server, check=False)
    wait_until(lambda: deleted(lab, "data") and deleted(lab, "web"), 60, "the groups are deleted")


def deleted(lab: Any, name: str) -> bool:
    try:
        seed.manage(lab.layout, "security-group", "delete", "--project", "admin", name)
    except LabError as error:
        return "not found" in str(error)
    return True


@pytest.mark.long
@pytest.mark.usefixtures("groups")
def test_rules_for_a_group_follow_its_members(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    data, web = boot("compute1", "lm001"), boot("compute2", "lm002")

    def reaches() -> bool:
        """Whether the one gets an answer of the other: that nobody listens there."""
        try:
            web.guest.command(f"dial {data.guest.address} {SHUT_PORT}", 20)
        except LabError as error:
            return "refused" in str(error)
        raise AssertionError("nobody listens there")

    wait_until(reaches, 30, "members of the default group reach each other")
    lab.nova("add-secgroup", "lm001", "data")
    lab.nova("remove-secgroup", "lm001", "default")
    wait_until(lambda: not reaches(), 30, "who left the default group is no more reached by its members")
    lab.nova("add-secgroup", "lm002", "web")
    wait_until(reaches, 30, "a member of the group comes in")
    assert "data" in lab.nova("list-secgroup", "lm001").stdout

    move(lab, client, data, "compute2")
    wait_until(reaches, 30, "the member comes in at the new place, too")
    move(lab, client, web, "compute1")
    wait_until(reaches, 30, "the member comes in from its new place")

    lab.nova("remove-secgroup", "lm002", "web")
    wait_until(lambda: not reaches(), 30, "who is no member any more stays out")
