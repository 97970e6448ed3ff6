"""What a host answers when a transfer could not be followed to its end."""

from __future__ import annotations

import pathlib
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.migration import MigrationJobs
from nova_blockmigrate.compute.ports import Ports
from nova_blockmigrate.context import service_context
from nova_blockmigrate.network.backend import Embedded
from nova_blockmigrate.objects import (
    GuestDescription,
    MigrationPlan,
    PowerState,
    PreparedDestination,
    Server,
    TransferOutcome,
    Verdict,
    from_primitive,
    to_primitive,
)
from nova_blockmigrate.virt.driver import TRANSFER

SERVER = Server("uuid", "instance-1", "lm001", 256, 1, 1, None)
PLAN = MigrationPlan(1, "migration", SERVER, "source", "destination", True)
GUEST = to_primitive(GuestDescription("uuid", "instance-1", PowerState.RUNNING, 256, 1, (), True, "<domain/>"))
PREPARED = to_primitive(PreparedDestination("destination"))


class FailingDriver:
    """Fails before or after the moment from which the guest may have moved."""

    def __init__(self, begun: bool, power_state: PowerState) -> None:
        self._begun, self._power_state = begun, power_state

    def get_info(self, server: Server) -> PowerState:
        return self._power_state

    def live_migration(self, plan: Any, guest: Any, prepared: Any, control: Any) -> TransferOutcome:
        if self._begun:
            control.journal.mark(TRANSFER)
        raise OSError("no space left on device")


class Peers:
    """Passes on to another host what is said to it, or has no answer."""

    def __init__(self, host: MigrationJobs | None) -> None:
        self._host = host

    def note_power_state(self, _context: Any, host: str, migration_uuid: str, power_state: int) -> None:
        if self._host is None:
            raise oslo_messaging.MessagingTimeout("silent")
        assert host == "destination"
        self._host.note_power_state(migration_uuid, PowerState(power_state))


def jobs(
    tmp_path: pathlib.Path, begun: bool, power_state: PowerState = PowerState.RUNNING, destination: MigrationJobs | None = None
) -> MigrationJobs:
    driver: Any = FailingDriver(begun, power_state)
    peers: Any = Peers(destination)
    conf = cfg.ConfigOpts()
    return MigrationJobs(conf, "source", driver, Records(tmp_path), peers, Ports(conf, Embedded(conf)))


def test_an_error_after_the_guest_may_have_moved_does_not_mean_that_it_stayed(tmp_path: pathlib.Path) -> None:
    answer = jobs(tmp_path, begun=True).transfer(service_context(), PLAN, GUEST, PREPARED)

    outcome = from_primitive(TransferOutcome, answer)
    assert (outcome.verdict, outcome.reason) == (Verdict.UNDECIDED, "no space left on device")


def test_what_is_undecided_is_looked_at_again(tmp_path: pathlib.Path) -> None:
    here = jobs(tmp_path, begun=True)
    here.transfer(service_context(), PLAN, GUEST, PREPARED)

    assert [plan.migration_uuid for plan, _ in here.interrupted_transfers()] == ["migration"]


def test_an_error_before_anything_was_done_fails_the_transfer(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OSError, match="no space"):
        jobs(tmp_path, begun=False).transfer(service_context(), PLAN, GUEST, PREPARED)


def test_a_transfer_that_had_not_begun_is_left_to_the_conductor(tmp_path: pathlib.Path) -> None:
    here = jobs(tmp_path, begun=False)
    with pytest.raises(OSError, match="no space"):
        here.transfer(service_context(), PLAN, GUEST, PREPARED)

    assert here.interrupted_transfers() == []


@pytest.mark.parametrize("begun", [False, True], ids=["at once", "asked again, while it is moved"])
def test_the_destination_hears_that_its_guest_was_paused_while_it_was_queued(tmp_path: pathlib.Path, begun: bool) -> None:
    records = Records(tmp_path / "there")
    records.open(PLAN, "destination").keep("guest", GUEST)
    there = jobs(tmp_path / "there", begun=False)
    there._records = records
    here = jobs(tmp_path / "here", True, PowerState.PAUSED, there)
    if begun:
        here._records.open(PLAN, "source").mark(TRANSFER)  # (libvirt calls it paused by migration now)
    here.transfer(service_context(), PLAN, GUEST, PREPARED)

    record = records.get("migration")
    assert record is not None
    kept = from_primitive(GuestDescription, record.kept("guest"))
    assert kept.power_state is (PowerState.RUNNING if begun else PowerState.PAUSED)


def test_a_destination_that_cannot_be_told_holds_nothing_up(tmp_path: pathlib.Path) -> None:
    answer = jobs(tmp_path, True, PowerState.PAUSED).transfer(service_context(), PLAN, GUEST, PREPARED)
    assert from_primitive(TransferOutcome, answer).reason == "no space left on device"
