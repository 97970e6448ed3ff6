"""Brings up a laboratory with a real Keystone and a real Neutron, once for all tests of this folder."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.laboratory import HOSTS, expect_nothing_left, laboratory, limit_time, show_logs

LOG_LINES = 60
TIME_LIMIT_S = 600


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    """Two real hosts with all services, ours and OpenStack's (`labkit.lab.Lab`)."""
    with laboratory(keystone=True, neutron=True, breakpoints=True) as lab:
        yield lab


@pytest.fixture
def client(lab: Any) -> Any:
    """A kept connection to the API as the administrator (`labkit.scenario.Client`)."""
    from labkit.scenario import Client

    return Client(lab)


class Neutron:
    """What tests ask of Neutron, as the administrator."""

    def __init__(self, lab: Any) -> None:
        self._lab = lab
        self._made: list[str] = []
        """Paths."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        from labkit import neutron, seed

        return neutron.ask(self._lab.layout, seed.token_of(self._lab.layout), method, path, body)

    @property
    def network_id(self) -> str:
        from labkit import neutron, seed

        return neutron.ensure_network(self._lab.layout, seed.token_of(self._lab.layout))

    def make_port(self, number: int, **values: Any) -> dict[str, Any]:
        """See `labkit.neutron`; it goes after the test."""
        from labkit import neutron, seed

        port: dict[str, Any] = neutron.make_port(self._lab.layout, seed.token_of(self._lab.layout), number, **values)
        self._made.append(f"/ports/{port['id']}")
        return port

    def make_group(self, name: str, *tcp_ports: int) -> str:
        """A security group that lets everybody come to these ports, and everything leave; its id. It goes after the test."""
        made: str = self.ask("POST", "/security-groups", {"security_group": {"name": name}})["security_group"]["id"]
        self._made.append(f"/security-groups/{made}")
        come = [{"direction": "ingress", "protocol": "tcp", "port_range_min": one, "port_range_max": one} for one in tcp_ports]
        # (Neutron adds this one by itself where its own migrations made the tables)
        for rule in [{"direction": "egress"}, *come]:
            values = {"security_group_id": made, "ethertype": "IPv4", **rule}
            self.ask("POST", "/security-group-rules", {"security_group_rule": values})
        return made

    def put_into(self, port_id: str, *groups: str) -> None:
        """Have a port be in these security groups only."""
        self.ask("PUT", f"/ports/{port_id}", {"port": {"security_groups": list(groups)}})

    def port(self, port_id: str) -> dict[str, Any]:
        port: dict[str, Any] = self.ask("GET", f"/ports/{port_id}")["port"]
        return port

    def bindings(self, port_id: str) -> dict[str, str]:
        """Status by host."""
        from labkit import neutron, seed

        return neutron.bindings(self._lab.layout, seed.token_of(self._lab.layout), port_id)

    def clear(self) -> None:
        for path in sorted(self._made, key=lambda path: path.startswith("/security-groups")):  # (none goes while a port is in it)
            self.ask("DELETE", path)


@pytest.fixture
def neutron(lab: Any) -> Iterator[Neutron]:
    neutron = Neutron(lab)
    yield neutron
    neutron.clear()


@pytest.fixture
def hold(lab: Any) -> Iterator[Callable[[str], Any]]:
    """Arms a named point of a migration from the first host to the second one (`faultkit.points.Point`)."""
    from faultkit.points import Point, clear_all

    def arm(name: str) -> Point:
        point = Point(lab, name, *HOSTS)
        point.arm()
        return point

    yield arm
    clear_all(lab)


@pytest.fixture
def boot(lab: Any, client: Any, neutron: Neutron) -> Iterator[Callable[..., Any]]:
    """Boots a server on a port and waits until its guest answers; afterwards nothing of it may be left on any host."""
    from labkit import api, scenario, seed

    booted: list[Any] = []

    def boot_one(port: dict[str, Any], host: str = HOSTS[0], name: str = "lm001") -> Any:
        where = ["--nic", f"port-id={port['id']}", "--availability-zone", f"nova:{host}"]
        lab.nova("boot", "--flavor", "m1.tiny", "--image", seed.IMAGE, *where, name)
        server_id = api.server_id(lab.layout, seed.token_of(lab.layout), name)
        scenario.wait_for_status(client, server_id, "ACTIVE", 180)
        booted.append(scenario.find(lab, client, server_id))
        return booted[-1]

    yield boot_one
    scenario.delete_all(lab, client)
    expect_nothing_left(lab, booted, 60)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    limit_time(items, pathlib.Path(__file__).parent, TIME_LIMIT_S)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    show_logs(item, report, ["*-co*.log", "*-api.log", "*-horizon.log"], LOG_LINES)
    return report
