"""Security groups of Neutron with real packets, put in force by the hosts, as the binding says that nobody else does."""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from labkit import guest, scenario
from labkit.commands import wait_until
from labkit.layout import CONTROLLER
from labkit.scenario import HOST
from labkit.traffic import KeptConnection, Prober, listening
from tests.cloud.test_neutron import migrate

SHUT_PORT = 7001
"""Nobody listens there: a guest that gets the question refuses, one that is guarded says nothing."""


@pytest.fixture
def agent_only(neutron: Any) -> str:
    made: str = neutron.make_group("agent-only", guest.PORT)
    return made


def rules(lab: Any, host: str) -> str:
    return str(lab.run(host, ["nft", "list", "table", "bridge", "blockmigrate"], check=False).stdout)


def has_guest(lab: Any, host: str, server: Any) -> bool:
    return server.domain in lab.run(host, ["virsh", "list", "--all", "--name"]).stdout.split()


def wait_for_tries(prober: Prober, outcome: str = "silence", more: int = 3) -> None:
    tried = prober.outcomes[outcome]
    wait_until(lambda: prober.outcomes[outcome] > tried + more, 30, f"the shut port is tried: {outcome}")


def test_groups_hold_before_while_and_after_a_guest_moves(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any], hold: Callable[[str], Any], agent_only: str
) -> None:
    port = neutron.make_port(57, security_groups=[agent_only])
    server = boot(port)
    enter, address = functools.partial(lab.inside_network, CONTROLLER), lab.layout.controller.tenant_ip
    inbound = KeptConnection(enter, server.guest.address)
    before = json.loads(inbound.ask())

    with listening(enter, address) as listener, Prober(enter, server.guest.address, SHUT_PORT) as prober:
        server.guest.command(f"dial {address} {listener.getsockname()[1]}")
        outbound, _ = listener.accept()
        prepared = hold("transfer.journalled")
        migrate(lab, server)
        prepared.wait(120)
        assert not has_guest(lab, "compute2", server), "libvirt was not told to migrate"
        assert server.mac in rules(lab, "compute2"), "they are there before the guest's interface is"
        prepared.clear()
        assert scenario.wait_for_end(client, server.id, 180)["status"] == "completed"
        outbound.sendall(b"x" * 1000)  # (the guest has said nothing there since)
        wait_until(lambda: json.loads(inbound.ask())["dialled_bytes"] >= 1000, 30, "the guest gets the answer that it asked for")
        wait_for_tries(prober)

        assert prober.outcomes["refused"] == prober.outcomes["open"] == 0
        assert guest.uptime_went_on(before, json.loads(inbound.ask())), "one connection, before and after"
        assert client.server(server.id)[HOST] == "compute2"
        assert server.mac in rules(lab, "compute2")
        assert server.mac not in rules(lab, "compute1")

        neutron.put_into(port["id"], agent_only, neutron.make_group("shut-port", SHUT_PORT))
        wait_for_tries(prober, "refused")
    inbound.close()
    outbound.close()


def test_a_source_that_dies_at_the_switch_leaves_binding_and_rules_to_the_destination(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any], hold: Callable[[str], Any], agent_only: str
) -> None:
    port = neutron.make_port(58, security_groups=[agent_only])
    server = boot(port)
    enter = functools.partial(lab.inside_network, CONTROLLER)
    inbound = KeptConnection(enter, server.guest.address)
    before = json.loads(inbound.ask())

    with Prober(enter, server.guest.address, SHUT_PORT) as prober:
        fenced = hold("handover.fenced")
        migrate(lab, server)
        fenced.wait(120)
        on_the_way = neutron.bindings(port["id"])
        lab.kill("compute1", "compute", signal.SIGKILL)
        try:
            wait_until(lambda: neutron.bindings(port["id"]).get("compute2") == "ACTIVE", 120, "the binding is activated")
            after = server.guest.wait(120)
            wait_for_tries(prober)
        finally:
            fenced.clear()
            lab.start("compute1", "compute")
        ended = scenario.wait_for_end(client, server.id, 180)

    assert on_the_way == {"compute1": "ACTIVE", "compute2": "INACTIVE"}
    assert guest.uptime_went_on(before, after)
    assert (ended["status"], client.server(server.id)[HOST]) == ("completed", "compute2")
    assert neutron.bindings(port["id"]) == {"compute2": "ACTIVE"}
    assert prober.outcomes["refused"] == prober.outcomes["open"] == 0
    assert guest.uptime_went_on(after, json.loads(inbound.ask())), "one connection, before and after"
    assert server.mac in rules(lab, "compute2")
    assert server.mac not in rules(lab, "compute1")
    inbound.close()


def test_groups_hold_at_the_source_after_a_roll_back(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any], hold: Callable[[str], Any], agent_only: str
) -> None:
    port = neutron.make_port(59, security_groups=[agent_only])
    server = boot(port)
    enter = functools.partial(lab.inside_network, CONTROLLER)
    inbound = KeptConnection(enter, server.guest.address)
    before = json.loads(inbound.ask())

    with Prober(enter, server.guest.address, SHUT_PORT) as prober:
        prepared = hold("transfer.journalled")
        migrate(lab, server)
        prepared.wait(120)
        assert server.mac in rules(lab, "compute2")
        lab.nova("live-migration-abort", server.name, str(client.newest_migration(server.id)["id"]))
        prepared.clear()
        ended = scenario.wait_for_end(client, server.id, 120)
        wait_for_tries(prober)

    assert (ended["status"], client.server(server.id)[HOST]) == ("cancelled", "compute1")
    assert neutron.bindings(port["id"]) == {"compute1": "ACTIVE"}
    assert scenario.leftovers(lab, "compute2", server) == []
    assert server.mac in rules(lab, "compute1")
    assert prober.outcomes["refused"] == prober.outcomes["open"] == 0
    assert guest.uptime_went_on(before, json.loads(inbound.ask()))
    inbound.close()
