"""Guests on bridges of Open vSwitch's, plugged by os-vif's own plugin: plain, and guarded behind a bridge of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import fabric, openvswitch, scenario, seed
from labkit.commands import wait_until
from labkit.layout import CONTROLLER
from labkit.ping import Ping
from labkit.scenario import HOST
from labkit.traffic import Prober
from tests.lab.test_firewall import SHUT_PORT
from tests.lab.test_networks import addresses, assert_all_reached, behind, book, delete_network, devices, fail_to_move

pytestmark = [pytest.mark.long, pytest.mark.timeout(300, func_only=True)]
"""It needs a package that nothing else does; installing that is not what is limited in time."""
PLAIN, GUARDED = "ovs-plain", "ovs-guarded"


@pytest.fixture
def networks(lab: Any) -> Iterator[tuple[str, str]]:
    """Two networks on the bridge, one of which is guarded, with an address of the fabric's on each."""
    octet = lab.layout.tenant_prefix.split(".")[1]
    options = {PLAIN: ["--no-port-security"], GUARDED: []}
    with openvswitch.running(lab):
        for number, (name, further) in enumerate(options.items(), start=7):
            bridge = ["--vif-type", "ovs", "--bridge", openvswitch.BRIDGE, "--cidr", f"10.{octet}.{number}.0/24"]
            seed.manage(lab.layout, "network", "create", "--name", name, *bridge, *further)
            lab.run(CONTROLLER, ["ip", "addr", "add", f"10.{octet}.{number}.254/24", "dev", fabric.TENANT_BRIDGE])
        yield (PLAIN, GUARDED)
        scenario.delete_all(lab, scenario.Client(lab))  # while there is a switch to take them out of
        for number, name in enumerate(options, start=7):
            lab.run(CONTROLLER, ["ip", "addr", "del", f"10.{octet}.{number}.254/24", "dev", fabric.TENANT_BRIDGE])
            wait_until(lambda name=name: delete_network(lab, name) == "", 30, f"network {name} is deleted")


def macs(client: Any, server: Any) -> dict[str, str]:
    return {name: ports[0]["OS-EXT-IPS-MAC:mac_addr"] for name, ports in client.server(server.id)["addresses"].items()}


def ends(lab: Any, host: str) -> tuple[list[str], list[str]]:
    """Kinds of Open vSwitch's ports on a host, and of devices between them and guests."""
    between = [name[:3] for name in devices(lab, host) if name.startswith(("qbr", "qvb", "qvo"))]
    return sorted(name[:3] for name in openvswitch.ports(lab, host)), sorted(between)


NOTHING: tuple[list[str], list[str]] = ([], [])
ALL = (["qvo", "tap"], ["qbr", "qvb", "qvo"])


def assert_nothing_left(lab: Any, host: str, server: Any) -> None:
    def clean() -> bool:
        return not scenario.leftovers(lab, host, server) and ends(lab, host) == NOTHING

    wait_until(clean, 60, f"nothing is left on {host}: {scenario.leftovers(lab, host, server)}, {ends(lab, host)}")
    assert not any(openvswitch.BRIDGE in name or name.startswith("qbr") for name in book(lab, host))


def test_a_guest_on_open_vswitch_moves_and_stays_guarded(
    lab: Any, client: Any, networks: tuple[str, str], boot: Callable[..., Any]
) -> None:
    server = boot(networks=(seed.NETWORK, *networks))
    where = addresses(client, server)
    assert_all_reached(lab, where)
    assert ends(lab, "compute1") == ALL
    enter = functools.partial(lab.inside_network, CONTROLLER)

    with Prober(enter, where[GUARDED], SHUT_PORT) as guarded, Prober(enter, where[PLAIN], SHUT_PORT) as plain:
        fail_to_move(lab, client, server)
        assert_nothing_left(lab, "compute2", server)
        assert ends(lab, "compute1") == ALL
        assert_all_reached(lab, where)

        with Ping(lab, where[PLAIN]) as ping:
            lab.nova("live-migration", "--block-migrate", server.name, "compute2")
            ended = scenario.wait_for_end(client, server.id, 120)
            assert ended["status"] == "completed", scenario.reasons(client, server.id)
        print(f"longest gap of a ping every 10 ms, on Open vSwitch: {ping.result.longest_gap_s * 1000:.0f} ms")
        assert client.server(server.id)[HOST] == "compute2"
        assert {behind(lab, fabric.TENANT_BRIDGE, mac) for mac in macs(client, server).values()} == {"t2"}
        assert_all_reached(lab, where)
        refused = plain.outcomes["refused"]
        wait_until(lambda: plain.outcomes["refused"] > refused + 3, 30, "who is not guarded answers at the new place")

    assert ends(lab, "compute2") == ALL
    assert_nothing_left(lab, "compute1", server)
    assert guarded.outcomes["refused"] == guarded.outcomes["open"] == 0
    assert guarded.outcomes["silence"]
