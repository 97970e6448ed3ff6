"""Brings a laboratory of the tests' own up once for all of them, and takes it down (see `tools/lab`)."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))

HOSTS = ("compute1", "compute2")
LOG_LINES = 40


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    """Two real hosts with all services (`labkit.lab.Lab`), in the folder that NBM_LAB names, else in a temporary one."""
    from labkit.lab import Lab
    from labkit.progress import Progress
    from labkit.services import Options

    if os.geteuid() != 0:
        pytest.fail("the laboratory needs root: it makes namespaces and mounts")
    state = pathlib.Path(os.environ.get("NBM_LAB") or tempfile.mkdtemp(prefix="nbm-test-", dir="/var/tmp"))
    lab = Lab(state)
    try:
        options = Options(concurrency=os.environ["NBM_LAB_CONCURRENCY"]) if "NBM_LAB_CONCURRENCY" in os.environ else None
        lab.up(options=options, progress=Progress())
        yield lab
    finally:
        lab.down()
        shutil.rmtree(state, ignore_errors=True)


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
    from labkit.commands import wait_until

    booted: list[Any] = []

    def boot_one(host: str = HOSTS[0], name: str = "lm001", **options: Any) -> Any:
        booted.append(scenario.boot(lab, client, name, host, **options))
        return booted[-1]

    yield boot_one
    scenario.delete_all(lab, client)
    for server in booted:
        for host in HOSTS:

            def clean(host: str = host, server: Any = server) -> bool:
                return not scenario.leftovers(lab, host, server)

            wait_until(clean, 30, f"nothing of {server.name} is left on {host}: {scenario.leftovers(lab, host, server)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """A test that failed shows the last lines of the services' logs, as the laboratory goes with them."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and lab is not None and lab.layout.logs.is_dir():
        for log in sorted(lab.layout.logs.glob("*-co*.log")):
            lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            report.sections.append((f"last lines of {log.name}", "\n".join(line[:400] for line in lines)))
    return report
