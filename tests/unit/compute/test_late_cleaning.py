"""A source that was away while its guest was recorded elsewhere, and what became of the server since."""

from __future__ import annotations

import dataclasses
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

    def rollback_live_migration_at_destination(self, plan: MigrationPlan, ledger: Any, stayed: bool) -> tuple[str, ...]:
        self.asked.append(f"release, {'a complete copy is stale' if stayed else 'a complete copy may be all there is'}")
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
        (DESTINATION, MigrationStatus.CANCELLED, {}, ("release_destination", {"home": "third"})),
        # it failed with this destination and completed with another
        (DESTINATION, MigrationStatus.COMPLETED, {}, ("release_destination", {"home": "third"})),
    ],
)
def test_the_job_that_clears(role: str, status: MigrationStatus, arguments: dict[str, Any], expected: Any) -> None:
    assert leftover_job(role, status, arguments, "third", "here") == expected


@pytest.mark.parametrize("home", ["here", None])
def test_a_guest_that_came_is_finished_here(home: str | None) -> None:
    assert leftover_job(DESTINATION, MigrationStatus.COMPLETED, {}, home, "here") == ("finish_destination", {})


def release(tmp_path: pathlib.Path, home: str | None, later: bool = False) -> tuple[list[str], Records]:
    conf, driver = cfg.ConfigOpts(), WatchedDriver(Copy.PAUSED_COMPLETE)
    peers: Any = None
    acting: Any = driver
    records = Records(tmp_path)
    with records.open(PLAN, DESTINATION).entry("file", "/disk"):
        pass
    if later:
        records.open(dataclasses.replace(PLAN, migration_id=2, migration_uuid="later"), DESTINATION)
    jobs = MigrationJobs(conf, "destination", acting, records, peers, Ports(conf, Embedded(conf)))
    jobs.release_destination(service_context(), PLAN, home)
    return driver.asked, records


@pytest.mark.parametrize("home", ["source", "third", ""], ids=["it stayed", "moved on", "deleted"])
def test_a_stale_copy_goes_once_its_migration_is_over(tmp_path: pathlib.Path, home: str) -> None:
    asked, records = release(tmp_path, home)
    assert asked == ["release, a complete copy is stale"]
    assert records.all() == {}


def test_before_that_it_may_be_the_only_one(tmp_path: pathlib.Path) -> None:
    assert release(tmp_path, None)[0] == ["release, a complete copy may be all there is"]


def test_what_is_left_of_a_failed_move_is_the_servers_once_it_came_by_another(tmp_path: pathlib.Path) -> None:
    asked, records = release(tmp_path, "destination")
    assert asked == [] and records.all() == {}
    assert [artefact.name for artefact in records.of_server("uuid").artefacts()] == ["/disk"]


def test_what_is_left_of_a_failed_move_is_not_cleared_while_a_later_one_brings_the_guest(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnsafeRemoval, match="migration 2 brings it here"):
        release(tmp_path, "source", later=True)
