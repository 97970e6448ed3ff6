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
    with laboratory(keystone=True, neutron=True) as lab:
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
        self._made.append(port["id"])
        return port

    def port(self, port_id: str) -> dict[str, Any]:
        port: dict[str, Any] = self.ask("GET", f"/ports/{port_id}")["port"]
        return port

    def bindings(self, port_id: str) -> dict[str, str]:
        """Status by host."""
        from labkit import neutron, seed

        return neutron.bindings(self._lab.layout, seed.token_of(self._lab.layout), port_id)

    def clear(self) -> None:
        for port_id in self._made:
            self.ask("DELETE", f"/ports/{port_id}")


@pytest.fixture
def neutron(lab: Any) -> Iterator[Neutron]:
    neutron = Neutron(lab)
    yield neutron
    neutron.clear()


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
