"""Guests on several networks that are carried between the hosts in different ways, and what is left of those on hosts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import fabric, scenario, seed
from labkit.commands import wait_until
from labkit.layout import CONTROLLER
from labkit.ping import Ping
from labkit.scenario import HOST
from labkit.services import PHYSICAL_NETWORK

HOSTS = ("compute1", "compute2")
BASES = "/var/lib/nova/instances/_base"
VLAN, FIRST_VNI, SECOND_VNI = 100, 5000, 5001
DEVICES = {"vlan": {"brv100", "eth1.100"}, "vxlan": {"brx5000", "vxlan-5000"}, "vxlan2": {"brx5001", "vxlan-5001"}}
ALL_DEVICES = set().union(*DEVICES.values())


def kernel_has_vlans(lab: Any) -> bool:
    """Not every kernel can make VLAN devices; `modprobe` helps where the machine may load modules."""
    return lab.run(CONTROLLER, ["sh", "-c", "modprobe -q 8021q; test -d /proc/net/vlan"], check=False).returncode == 0


@pytest.fixture
def segments(lab: Any) -> Iterator[tuple[str, ...]]:
    """Two networks in segments, with an address of the fabric's on each: a VLAN, where the kernel can, and VXLANs."""
    octet = lab.layout.tenant_prefix.split(".")[1]
    names = ("vlan", "vxlan") if kernel_has_vlans(lab) else ("vxlan", "vxlan2")
    carriers = {
        "vlan": ["--vlan", str(VLAN), "--physical-network", PHYSICAL_NETWORK],
        "vxlan": ["--vxlan", str(FIRST_VNI)],
        "vxlan2": ["--vxlan", str(SECOND_VNI)],
    }
    for number, name in enumerate(names, start=1):
        prefix = f"10.{octet}.{number}"
        seed.manage(lab.layout, "network", "create", "--name", name, "--cidr", f"{prefix}.0/24", *carriers[name])
        join(lab, name, f"{prefix}.254")
    yield names
    for name in names:
        lab.run(CONTROLLER, ["ip", "link", "del", name])
        wait_until(lambda name=name: delete_network(lab, name) == "", 30, f"network {name} is deleted")


def delete_network(lab: Any, name: str) -> str:
    from labkit.errors import LabError

    try:
        seed.manage(lab.layout, "network", "delete", name)
    except LabError as error:
        return str(error)
    return ""


def join(lab: Any, name: str, address: str) -> None:
    """Give the fabric an end of a network, as a router would have."""
    if name == "vlan":
        add = ["link", fabric.TENANT_BRIDGE, "name", name, "type", "vlan", "id", str(VLAN)]
        commands = [["ip", "link", "add", *add]]
    else:
        number = FIRST_VNI if name == "vxlan" else SECOND_VNI
        carrier = ["id", str(number), "local", lab.layout.controller.management_ip, "dstport", "4789"]
        commands = [["ip", "link", "add", name, "mtu", "1450", "type", "vxlan", *carrier]]
        for host in lab.layout.hosts:
            commands.append(["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", name, "dst", host.management_ip])
    for command in [*commands, ["ip", "addr", "add", f"{address}/24", "dev", name], ["ip", "link", "set", name, "up"]]:
        lab.run(CONTROLLER, command)


def devices(lab: Any, host: str) -> set[str]:
    return {link["ifname"] for link in json.loads(lab.run(host, ["ip", "-j", "link"]).stdout)}


def book(lab: Any, host: str) -> dict[str, Any]:
    text = lab.run(host, ["cat", f"/var/lib/nova-blockmigrate/network/{host}.json"], check=False).stdout
    noted: dict[str, Any] = json.loads(text)["bridges"] if text else {}
    return noted


def addresses(client: Any, server: Any) -> dict[str, str]:
    return {name: ports[0]["addr"] for name, ports in client.server(server.id)["addresses"].items()}


def reaches(lab: Any, address: str, *options: str) -> bool:
    return bool(lab.run(CONTROLLER, ["ping", "-c", "1", "-W", "2", *options, address], check=False).returncode == 0)


def assert_all_reached(lab: Any, where: dict[str, str]) -> None:
    for name, address in where.items():
        wait_until(lambda address=address: reaches(lab, address), 30, f"{address} on {name} answers")


def assert_nothing_left(lab: Any, host: str, server: Any) -> None:
    def clean() -> bool:
        return not (scenario.leftovers(lab, host, server) or devices(lab, host) & ALL_DEVICES)

    wait_until(clean, 60, f"nothing is left on {host}: {scenario.leftovers(lab, host, server)}, {devices(lab, host)}")
    assert not ALL_DEVICES & book(lab, host).keys()


def test_a_guest_on_three_networks_keeps_them_all(
    lab: Any, client: Any, segments: tuple[str, ...], boot: Callable[..., Any]
) -> None:
    server = boot(networks=(seed.NETWORK, *segments))
    where = addresses(client, server)
    assert_all_reached(lab, where)
    made = DEVICES[segments[0]] | DEVICES[segments[1]]
    assert devices(lab, "compute1") >= made
    assert "mtu 1450" in lab.run("compute1", ["ip", "link", "show", "vxlan-5000"]).stdout
    assert reaches(lab, where["vxlan"], "-M", "do", "-s", "1422"), "the largest packet that the network's MTU allows"

    fail_to_move(lab, client, server)
    assert_nothing_left(lab, "compute2", server)
    assert devices(lab, "compute1") >= made
    assert_all_reached(lab, where)

    with Ping(lab, where[segments[1]]) as ping:
        lab.nova("live-migration", "--block-migrate", server.name, "compute2")
        ended = scenario.wait_for_end(client, server.id, 120)
        assert ended["status"] == "completed", scenario.reasons(client, server.id)
    print(f"longest gap of a ping every 10 ms, on {segments[1]}: {ping.result.longest_gap_s * 1000:.0f} ms")
    assert client.server(server.id)[HOST] == "compute2"
    assert behind(lab, fabric.TENANT_BRIDGE, server.mac) == "t2", "the fabric knows the new place"
    assert_all_reached(lab, where)
    assert_nothing_left(lab, "compute1", server)


def fail_to_move(lab: Any, client: Any, server: Any) -> None:
    """A migration that fails after the networks were made on the destination: no base image can be stored there."""
    lab.run("compute2", ["sh", "-c", f"mkdir -p {BASES} && rm -f {BASES}/* && chattr +i {BASES}"])
    try:
        lab.nova("live-migration", "--block-migrate", server.name, "compute2")
        assert scenario.wait_for_end(client, server.id, 120)["status"] == "failed"
    finally:
        lab.run("compute2", ["chattr", "-i", BASES])


def behind(lab: Any, bridge: str, mac: str) -> str:
    """The port of a bridge of the fabric behind which a MAC is."""
    entries = json.loads(lab.run(CONTROLLER, ["bridge", "-j", "fdb", "show", "br", bridge]).stdout)
    return next((str(entry["ifname"]) for entry in entries if entry["mac"] == mac.lower() and "master" in entry), "")


@pytest.mark.long
def test_guests_share_what_was_made_and_the_last_takes_it_away(
    lab: Any, client: Any, segments: tuple[str, ...], boot: Callable[..., Any]
) -> None:
    first, second = (boot("compute1", name, networks=(seed.NETWORK, segments[0])) for name in ("lm001", "lm002"))

    lab.nova("delete", first.name)
    wait_until(lambda: not scenario.leftovers(lab, "compute1", first), 60, "the first is gone")
    assert devices(lab, "compute1") >= DEVICES[segments[0]]
    assert_all_reached(lab, addresses(client, second))

    lab.nova("delete", second.name)
    assert_nothing_left(lab, "compute1", second)


def test_a_kernel_without_vlans_is_named(lab: Any, client: Any) -> None:
    if kernel_has_vlans(lab):
        pytest.skip("this kernel has VLAN devices")
    network = ["--name", "vlan", "--cidr", "10.250.1.0/24", "--vlan", str(VLAN), "--physical-network", PHYSICAL_NETWORK]
    id = seed.manage(lab.layout, "network", "create", *network).split()[-1]
    try:
        where = ["--nic", f"net-id={id}", "--availability-zone", "nova:compute1"]
        lab.nova("boot", "--flavor", "m1.tiny", "--image", seed.IMAGE, *where, "lm001")
        server = client.request("GET", "/servers?name=lm001")["servers"][0]["id"]
        scenario.wait_for_status(client, server, "ERROR", 60)
        assert "8021q" in client.server(server)["fault"]["message"]
        assert not devices(lab, "compute1") & ALL_DEVICES
    finally:
        scenario.delete_all(lab, client)
        delete_network(lab, "vlan")
