"""Brings up a laboratory with an unmodified Nova that uses our driver, once for all tests of this folder."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from cloud import Cloud

LOG_LINES = 60


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    """Two real hosts and a real OpenStack (`labkit.lab.Lab`); see `novakit.laboratory`."""
    from novakit.laboratory import laboratory

    if os.geteuid() != 0:
        pytest.fail("the laboratory needs root: it makes namespaces and mounts")
    with laboratory() as lab:
        yield lab


@pytest.fixture
def cloud(lab: Any) -> Iterator[Cloud]:
    """The cloud with everything running and no server; afterwards nothing of any server may be left anywhere."""
    cloud = Cloud(lab)
    yield cloud
    cloud.mend()
    cloud.delete_all()
    cloud.expect_nothing_left()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test does is limited in time; bringing everything up, which the first one does, takes as long as it takes."""
    for item in items:
        if item.path.parent == pathlib.Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(900, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """A test that failed shows the last lines of the compute services' logs, as the laboratory goes with them."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and lab is not None and lab.layout.logs.is_dir():
        for log in sorted(lab.layout.logs.glob("*nova-compute.log")):
            lines = [line for line in log.read_text(errors="replace").splitlines() if " DEBUG " not in line][-LOG_LINES:]
            report.sections.append((f"last lines of {log.name}", "\n".join(line[:400] for line in lines)))
    return report
