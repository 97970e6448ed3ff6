"""Where Neutron holds a guest to be: before it moves, on the way, after it, and when it does not come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import api, scenario, seed
from labkit.commands import wait_until
from labkit.guest import uptime_went_on
from labkit.neutron import AGENT, API
from labkit.scenario import HOST

OPEN: dict[str, Any] = {"port_security_enabled": False}
SLOW_MBIT_S = 100
PAYLOAD_MIB = 128
"""At that rate some ten seconds."""


@pytest.fixture
def slow(lab: Any) -> Iterator[Callable[[], None]]:
    """Transfers take long enough for something to happen in the middle, until the function is called."""

    def speed_up() -> None:
        for host in ("compute1", "compute2"):
            lab.limit_rate(host, None)

    for host in ("compute1", "compute2"):
        lab.limit_rate(host, SLOW_MBIT_S)
    yield speed_up
    speed_up()


def migrate(lab: Any, server: Any, host: str = "compute2") -> None:
    lab.nova("live-migration", "--block-migrate", server.name, host)


def wait_for_copying(client: Any, server: Any) -> dict[str, Any]:
    """Until disks are being copied; what the API shows of the migration."""
    seen: list[dict[str, Any]] = []

    def copying() -> bool:
        seen[:] = client.running_migrations(server.id)
        return bool(seen and seen[0]["status"] == "running" and seen[0]["disk_processed_bytes"])

    wait_until(copying, 120, "disks are being copied")
    return seen[0]


def test_the_binding_goes_with_the_guest(lab: Any, client: Any, neutron: Any, boot: Callable[..., Any], slow: Any) -> None:
    port = neutron.make_port(50, **OPEN)
    server = boot(port)
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()
    assert neutron.bindings(port["id"]) == {"compute1": "ACTIVE"}
    assert neutron.port(port["id"])["device_id"] == server.id

    migrate(lab, server)
    wait_for_copying(client, server)
    on_the_way = neutron.bindings(port["id"])
    slow()
    migration = scenario.wait_for_end(client, server.id, 180)

    assert on_the_way == {"compute1": "ACTIVE", "compute2": "INACTIVE"}
    assert migration["status"] == "completed"
    assert client.server(server.id)[HOST] == "compute2"
    assert neutron.bindings(port["id"]) == {"compute2": "ACTIVE"}
    wait_until(lambda: neutron.port(port["id"])["status"] == "ACTIVE", 60, "Neutron holds the port for wired")
    assert uptime_went_on(before, server.guest.wait())


def test_a_cancelled_transfer_leaves_the_binding_where_it_was(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any], slow: Any
) -> None:
    port = neutron.make_port(51, **OPEN)
    server = boot(port)
    server.guest.write_payload(PAYLOAD_MIB)

    migrate(lab, server)
    migration = wait_for_copying(client, server)
    assert neutron.bindings(port["id"]) == {"compute1": "ACTIVE", "compute2": "INACTIVE"}
    lab.nova("live-migration-abort", server.name, str(migration["id"]))
    ended = scenario.wait_for_end(client, server.id, 120)

    assert ended["status"] == "cancelled"
    assert neutron.bindings(port["id"]) == {"compute1": "ACTIVE"}
    assert client.server(server.id)[HOST] == "compute1"
    server.guest.wait()


def test_the_transfer_waits_until_neutron_says_that_the_port_is_wired(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any]
) -> None:
    port = neutron.make_port(52, **OPEN)
    server = boot(port)
    lab.stop("compute2", AGENT)
    try:
        migrate(lab, server)
        both = {"compute1": "ACTIVE", "compute2": "INACTIVE"}
        wait_until(lambda: neutron.bindings(port["id"]) == both, 120, "the port is bound to the destination, too")
        folder = ["test", "-d", f"/var/lib/nova/instances/{server.id}"]
        wait_until(lambda: lab.run("compute2", folder, check=False).returncode == 0, 120, "the destination is being prepared")
        waiting = client.newest_migration(server.id)["status"]
    finally:
        lab.start("compute2", AGENT)
    ended = scenario.wait_for_end(client, server.id, 180)

    assert waiting == "preparing"
    assert ended["status"] == "completed"
    log = lab.layout.log_of(lab.machine("controller"), "conductor").read_text()
    assert f"server {server.id}] ports are wired after" in log


def test_a_neutron_that_is_away_at_the_switch_is_told_when_it_is_back(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any], slow: Any
) -> None:
    port = neutron.make_port(53, **OPEN)
    server = boot(port)
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()

    migrate(lab, server)
    wait_for_copying(client, server)
    lab.stop("controller", API)
    try:
        slow()
        wait_until(lambda: client.server(server.id)[HOST] == "compute2", 180, "the guest has moved without Neutron")
        assert uptime_went_on(before, server.guest.wait())
    finally:
        lab.start("controller", API)
    ended = scenario.wait_for_end(client, server.id, 180)

    assert ended["status"] == "completed"
    assert neutron.bindings(port["id"]) == {"compute2": "ACTIVE"}


def test_a_destination_that_neutron_does_not_know_is_named_and_nothing_stays(
    lab: Any, client: Any, neutron: Any, boot: Callable[..., Any]
) -> None:
    """Neutron refuses to bind where its agent was deleted and does not report."""
    port = neutron.make_port(54, **OPEN)
    server = boot(port)
    lab.stop("compute2", AGENT)
    try:
        agent = next(one for one in neutron.ask("GET", "/agents?host=compute2")["agents"])
        neutron.ask("DELETE", f"/agents/{agent['id']}")
        migrate(lab, server)
        ended = scenario.wait_for_end(client, server.id, 120)
    finally:
        lab.start("compute2", AGENT)
        wait_until(lambda: neutron.ask("GET", "/agents?host=compute2")["agents"], 120, "the agent reports again")

    assert ended["status"] == "failed"
    assert any(f"could not bind port {port['id']} to compute2" in reason for reason in scenario.reasons(client, server.id))
    assert neutron.bindings(port["id"]) == {"compute1": "ACTIVE"}


def test_a_server_gets_a_port_of_its_own_and_takes_it_along_when_it_is_deleted(lab: Any, client: Any, neutron: Any) -> None:
    lab.nova("boot", "--flavor", "m1.tiny", "--image", seed.IMAGE, "--nic", f"net-id={neutron.network_id}", "own-port")
    server_id = api.server_id(lab.layout, seed.token_of(lab.layout), "own-port")
    scenario.wait_for_status(client, server_id, "ACTIVE", 180)

    (port,) = neutron.ask("GET", f"/ports?device_id={server_id}")["ports"]
    shown = client.server(server_id)
    assert [one["addr"] for one in shown["addresses"]["neutron-net"]] == [port["fixed_ips"][0]["ip_address"]]
    assert port["binding:host_id"] == shown[HOST]

    scenario.delete_all(lab, client)
    assert neutron.ask("GET", f"/ports?device_id={server_id}")["ports"] == []


def test_a_port_of_the_users_is_free_again_after_the_server(lab: Any, client: Any, neutron: Any, boot: Callable[..., Any]) -> None:
    port = neutron.make_port(55, **OPEN)
    boot(port)
    scenario.delete_all(lab, client)
    freed = neutron.port(port["id"])
    assert (freed["device_id"], freed["binding:host_id"]) == ("", "")


def test_a_network_that_is_not_there_is_the_servers_fault(lab: Any, client: Any) -> None:
    nowhere = "00000000-0000-4000-8000-000000000000"
    body = {"name": "nowhere", "imageRef": _image(client), "flavorRef": _flavor(client), "networks": [{"uuid": nowhere}]}
    server_id = client.request("POST", "/servers", {"server": body})["server"]["id"]
    try:
        scenario.wait_for_status(client, server_id, "ERROR", 60)
        assert "could not be found" in client.server(server_id)["fault"]["message"]
    finally:
        scenario.delete_all(lab, client)


def _image(client: Any) -> str:
    return str(client.request("GET", "/images")["images"][0]["id"])


def _flavor(client: Any) -> str:
    return str(client.request("GET", "/flavors")["flavors"][0]["id"])
