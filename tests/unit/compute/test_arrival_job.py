"""What a destination does when the guest has come."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.migration import DESTINATION, MigrationJobs
from nova_blockmigrate.compute.ports import Ports
from nova_blockmigrate.compute.watcher import GUEST
from nova_blockmigrate.context import service_context
from nova_blockmigrate.network.backend import Embedded
from nova_blockmigrate.objects import GuestDescription, MigrationPlan, PowerState, Server, to_primitive

SERVER = Server("uuid", "instance-1", "lm001", 256, 1, 1, None)
PLAN = MigrationPlan(1, "migration", SERVER, "source", "destination", True)
DESCRIBED = GuestDescription("uuid", "instance-1", PowerState.RUNNING, 256, 1, (), True, "<domain/>")


class Driver:
    def __init__(self) -> None:
        self.starts_at_boot: list[bool] = []

    def post_live_migration_at_destination(self, plan: MigrationPlan, autostart: bool) -> None:
        self.starts_at_boot.append(autostart)


@pytest.mark.parametrize("autostart", [False, True])
def test_a_guest_starts_with_its_new_host_if_it_did_so_with_its_old_one(tmp_path: pathlib.Path, autostart: bool) -> None:
    conf, driver, records = cfg.ConfigOpts(), Driver(), Records(tmp_path)
    records.open(PLAN, DESTINATION).keep(GUEST, to_primitive(dataclasses.replace(DESCRIBED, autostart=autostart)))
    acting: Any = driver
    peers: Any = None
    jobs = MigrationJobs(conf, "destination", acting, records, peers, Ports(conf, Embedded(conf)))

    jobs.finish_destination(service_context(), PLAN)
    jobs.finish_destination(service_context(), PLAN)  # its answer was lost; what was written down is settled by now

    assert driver.starts_at_boot == [autostart, False]  # which does not switch it off: see `arrival.settle_in`
    assert records.all() == {}


def test_what_an_older_version_wrote_down_of_a_guest_says_nothing_of_boots(tmp_path: pathlib.Path) -> None:
    conf, driver, records = cfg.ConfigOpts(), Driver(), Records(tmp_path)
    guest = to_primitive(DESCRIBED)
    del guest["autostart"]
    records.open(PLAN, DESTINATION).keep(GUEST, guest)
    acting: Any = driver
    peers: Any = None
    MigrationJobs(conf, "destination", acting, records, peers, Ports(conf, Embedded(conf))).finish_destination(
        service_context(), PLAN
    )
    assert driver.starts_at_boot == [False]


def test_a_guest_whose_disks_may_lack_writes_is_not_finished_by_asking_again(tmp_path: pathlib.Path) -> None:
    """The second fsync(2) after an error succeeds, and the source's disks would go."""
    conf, records = cfg.ConfigOpts(), Records(tmp_path)
    records.open(PLAN, DESTINATION).keep(GUEST, to_primitive(DESCRIBED))

    class FailingOnce(Driver):
        def post_live_migration_at_destination(self, plan: MigrationPlan, autostart: bool) -> None:
            super().post_live_migration_at_destination(plan, autostart)
            if len(self.starts_at_boot) == 1:
                raise exceptions.WritesLost(host="destination", path="/disk", reason="Input/output error")

    acting: Any = FailingOnce()
    peers: Any = None
    jobs = MigrationJobs(conf, "destination", acting, records, peers, Ports(conf, Embedded(conf)))
    for _ in range(2):
        with pytest.raises(exceptions.WritesLost, match="could not bring /disk to its disk: Input/output error"):
            jobs.finish_destination(service_context(), PLAN)
    assert list(records.all()) == [PLAN.migration_uuid]

    restarted = MigrationJobs(conf, "destination", acting, records, peers, Ports(conf, Embedded(conf)))
    restarted.finish_destination(service_context(), PLAN)
    assert records.all() == {}
