"""A source that was away while its guest was recorded elsewhere, and what became of the server since."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.migration import DESTINATION, SOURCE, MigrationJobs
from nova_blockmigrate.compute.ports import Ports
from nova_blockmigrate.compute.reporter import leftover_job
from nova_blockmigrate.context import service_context
from nova_blockmigrate.exceptions import UnsafeRemoval
from nova_blockmigrate.network.backend import Embedded
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    MigrationPlan,
    MigrationStatus,
    Observation,
    PowerState,
    Server,
    to_primitive,
)

SERVER = Server("uuid", "instance-1", "lm001", 256, 1, 1, None)
PLAN = MigrationPlan(1, "migration", SERVER, "source", "destination", True)
GUEST = to_primitive(GuestDescription("uuid", "instance-1", PowerState.RUNNING, 256, 1, (), True, "<domain/>"))


class WatchedDriver:
    """Notes what is asked of it."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self.asked: list[str] = []

    def observe(self, uuid: str, journal: Any) -> Observation:
        return Observation(self._copy, detail=f"{self._copy} on source")

    def destroy(self, server: Server, ledger: Any) -> tuple[str, ...]:
        self.asked.append(f"destroy {server.uuid}")
        return ()

    def post_live_migration_at_source(self, plan: MigrationPlan, guest: Any, ledger: Any) -> tuple[str, ...]:
        self.asked.append(f"clean, as it is on {plan.destination_host}")
        return ()


def clean(tmp_path: pathlib.Path, copy: Copy, home: str | None) -> list[str]:
    conf, driver = cfg.ConfigOpts(), WatchedDriver(copy)
    peers: Any = None
    acting: Any = driver
    MigrationJobs(conf, "source", acting, Records(tmp_path), peers, Ports(conf, Embedded(conf))).clean_source(
        service_context(), PLAN, GUEST, home
    )
    return driver.asked


@pytest.mark.parametrize(
    ("home", "expected"),
    [
        (None, "clean, as it is on destination"),
        ("third", "clean, as it is on third"),
        ("", "destroy uuid"),
    ],
    ids=["not known", "moved on", "deleted"],
)
def test_what_it_left_is_cleared_wherever_the_server_is_now(tmp_path: pathlib.Path, home: str | None, expected: str) -> None:
    assert clean(tmp_path, Copy.MIGRATED_AWAY, home) == [expected]


def test_a_guest_that_is_here_is_not_ended_because_the_server_is_said_to_be_deleted(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnsafeRemoval):
        clean(tmp_path, Copy.RUNNING, "")


@pytest.mark.parametrize(
    ("role", "status", "arguments", "expected"),
    [
        (SOURCE, MigrationStatus.COMPLETED, {"guest": {}}, ("clean_source", {"guest": {}, "home": "third"})),
        (SOURCE, MigrationStatus.COMPLETED, {}, ("release_source", {})),
        (SOURCE, MigrationStatus.FAILED, {"guest": {}}, ("release_source", {})),
        (DESTINATION, MigrationStatus.COMPLETED, {}, ("finish_destination", {})),
        (DESTINATION, MigrationStatus.CANCELLED, {}, ("release_destination", {})),
    ],
)
def test_the_job_that_clears(role: str, status: MigrationStatus, arguments: dict[str, Any], expected: Any) -> None:
    assert leftover_job(role, status, arguments, "third") == expected
