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

from tests.laboratory import limit_time, show_logs

LOG_LINES = 60
TIME_LIMIT_S = 900


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
    limit_time(items, pathlib.Path(__file__).parent, TIME_LIMIT_S)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    show_logs(item, report, ["*nova-compute.log"], LOG_LINES)
    return report
