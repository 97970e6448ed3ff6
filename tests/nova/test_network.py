"""A server with a port of Neutron's: its binding and its device go with it, or stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cloud import DESTINATION, HOSTS, PATIENCE_S, SOURCE, Cloud

from labkit import neutron, seed
from labkit.commands import wait_until

Port = dict[str, Any]


@pytest.fixture(autouse=True)
def no_port_stays(cloud: Cloud) -> Iterator[None]:
    yield
    cloud.mend()
    cloud.delete_all()
    cloud.delete_ports()


def status(cloud: Cloud, port: Port) -> Any:
    return neutron.ask(cloud.lab.layout, seed.token_of(cloud.lab.layout), "GET", f"/ports/{port['id']}")["port"]["status"]


def bindings(cloud: Cloud, port: Port) -> dict[str, str]:
    return neutron.bindings(cloud.lab.layout, seed.token_of(cloud.lab.layout), port["id"])


def hosts_with_device(cloud: Cloud, port: Port) -> list[str]:
    device = f"/sys/class/net/tap{port['id'][:11]}"
    return [host for host in HOSTS if cloud.lab.run(host, ["test", "-e", device], check=False).returncode == 0]


def expect_reachable(cloud: Cloud, port: Port) -> None:
    ping = ["ping", "-c", "1", "-W", "1", port["fixed_ips"][0]["ip_address"]]
    wait_until(
        lambda: cloud.lab.run("controller", ping, check=False).returncode == 0, PATIENCE_S, "the guest answers", interval_s=0.5
    )


def test_port_goes_with_its_server(cloud: Cloud) -> None:
    port = cloud.make_port(60)
    server = cloud.boot(networks=[{"port": port["id"]}])
    expect_reachable(cloud, port)
    assert bindings(cloud, port) == {SOURCE: "ACTIVE"}

    cloud.copy_slowly(server)
    on_the_way = bindings(cloud, port)
    cloud.hurry()
    cloud.wait_for(server.id, "ACTIVE")
    cloud.expect_moved(server, cloud.migration(server))

    assert on_the_way == {SOURCE: "ACTIVE", DESTINATION: "INACTIVE"}
    assert bindings(cloud, port) == {DESTINATION: "ACTIVE"}
    assert hosts_with_device(cloud, port) == [DESTINATION]
    wait_until(lambda: status(cloud, port) == "ACTIVE", PATIENCE_S, "Neutron holds the port for wired")
    expect_reachable(cloud, port)


def test_port_stays_with_a_server_that_stays(cloud: Cloud) -> None:
    port = cloud.make_port(61)
    server = cloud.boot(networks=[{"port": port["id"]}])
    migration = cloud.copy_slowly(server)

    cloud.abort(server, migration)

    cloud.expect_stayed(server, migration, "cancelled")
    wait_until(lambda: bindings(cloud, port) == {SOURCE: "ACTIVE"}, PATIENCE_S, "the port is the source's alone", interval_s=1)
    assert hosts_with_device(cloud, port) == [SOURCE]
    expect_reachable(cloud, port)


def test_neutron_that_is_away_at_the_switch_hears_of_it_later(cloud: Cloud) -> None:
    port = cloud.make_port(62)
    server = cloud.boot(networks=[{"port": port["id"]}])
    migration = cloud.copy_slowly(server)

    cloud.lab.stop("controller", neutron.API)
    cloud.hurry()
    wait_until(lambda: cloud.domain(server, DESTINATION) == "running", PATIENCE_S, "the guest has moved", interval_s=1)
    cloud.lab.start("controller", neutron.API)

    cloud.expect_moved(server, migration)
    assert bindings(cloud, port) == {DESTINATION: "ACTIVE"}
    expect_reachable(cloud, port)
