"""Brings a laboratory of the tests' own up once for all of them, and takes it down (see `tools/lab`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.laboratory import HOSTS, expect_nothing_left, laboratory, show_logs

LOG_LINES = 40


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    """Two real hosts with all services (`labkit.lab.Lab`)."""
    with laboratory() as lab:
        yield lab


@pytest.fixture
def client(lab: Any) -> Any:
    """A kept connection to the API (`labkit.scenario.Client`)."""
    from labkit.scenario import Client

    return Client(lab)


@pytest.fixture
def slow(lab: Any) -> Iterator[None]:
    """Transfers between the hosts take long enough for something to happen in the middle."""
    from tests.lab.copying import slow_down, speed_up

    slow_down(lab)
    yield
    speed_up(lab)


@pytest.fixture(scope="module")
def server(lab: Any) -> Iterator[Any]:
    """One server on the first host for all tests of a module that leave it as it is."""
    from labkit import scenario

    yield scenario.boot(lab, scenario.Client(lab), "checked", HOSTS[0])
    scenario.delete_all(lab, scenario.Client(lab))  # (nobody kept the first connection alive)


@pytest.fixture
def boot(lab: Any, client: Any) -> Iterator[Callable[..., Any]]:
    """Boots servers (`labkit.scenario.boot`); afterwards they are deleted, and nothing of them may be left anywhere."""
    from labkit import scenario

    booted: list[Any] = []

    def boot_one(host: str = HOSTS[0], name: str = "lm001", **options: Any) -> Any:
        booted.append(scenario.boot(lab, client, name, host, **options))
        return booted[-1]

    yield boot_one
    scenario.delete_all(lab, client)
    expect_nothing_left(lab, booted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    show_logs(item, report, ["*-co*.log"], LOG_LINES)
    return report
