"""A complete copy that stands for seconds is completed; one in the midst of its handover is left alone."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from nova_blockmigrate.compute import watcher
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    MigrationPlan,
    Observation,
    PowerState,
    Server,
    TransferOutcome,
    Verdict,
    to_primitive,
)
from nova_blockmigrate.virt.libvirt import arrival
from nova_blockmigrate.virt.libvirt.host import Host

PLAN = MigrationPlan(1, "m", Server("s", "instance-1", "vm", 64, 1, 1, None), "a", "b", True)
GUEST = GuestDescription("s", "instance-1", PowerState.PAUSED, 64, 1, (), True, "<domain/>")


class Driver:
    """Says what it is told to say, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.copy = Copy.PAUSED_COMPLETE
        self.outcome = TransferOutcome(Verdict.UNDECIDED, "the source does not answer")
        self.asked: list[tuple[bool, bool]] = []

    def observe(self, server_uuid: str, journal: Any) -> Observation:
        return Observation(self.copy)

    def complete_arrival(
        self, plan: MigrationPlan, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]
    ) -> TransferOutcome:
        self.asked.append((was_paused, source_is_dead))
        return self.outcome


class LibvirtDriver(Driver):
    """The real decision, on what the hosts are said to have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, source: Copy) -> None:
        super().__init__()
        self.hosts = {"a": source, "b": Copy.PAUSED_COMPLETE}
        monkeypatch.setattr(arrival, "observe", self._observe)
        monkeypatch.setattr(arrival.settle, "resume_destination", lambda host, uuid: self.hosts.update({host.name: Copy.RUNNING}))

    def _observe(self, host: Host, uuid: str, is_destination: bool, **_: Any) -> Observation:
        return Observation(self.hosts[host.name], detail=f"{self.hosts[host.name]} on {host.name}")

    def complete_arrival(
        self, plan: MigrationPlan, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]
    ) -> TransferOutcome:
        source, here = Host("", plan.source_host), Host("", plan.destination_host)
        return arrival.complete(here, source, plan.server.uuid, was_paused, source_is_dead, goes_on)


@pytest.fixture
def records(tmp_path: pathlib.Path) -> Records:
    records = Records(tmp_path)
    records.open(PLAN, "destination").keep(watcher.GUEST, to_primitive(GUEST))
    return records


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(watcher.time, "monotonic", lambda: clock[0])
    return clock


def test_a_copy_that_stands_long_enough_is_completed(records: Records, now: list[float]) -> None:
    driver = Driver()
    watching = watcher.ArrivalWatcher(driver, records, lambda plan: True)  # type: ignore[arg-type]
    watching.look()
    assert driver.asked == []
    now[0] += watcher.HANDOVER_LIMIT_S
    watching.look()
    assert driver.asked == [(True, False)]


@pytest.mark.parametrize("copy", [Copy.INCOMING, Copy.RUNNING, Copy.ABSENT, Copy.UNREACHABLE])
def test_any_other_copy_is_left_alone_and_begins_anew(records: Records, now: list[float], copy: Copy) -> None:
    driver = Driver()
    watching = watcher.ArrivalWatcher(driver, records, lambda plan: True)  # type: ignore[arg-type]
    watching.look()
    driver.copy = copy
    now[0] += watcher.HANDOVER_LIMIT_S
    watching.look()
    driver.copy = Copy.PAUSED_COMPLETE
    watching.look()
    assert driver.asked == []


def test_what_is_not_known_is_said_once(records: Records, now: list[float], caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver()
    watching = watcher.ArrivalWatcher(driver, records, lambda plan: True)  # type: ignore[arg-type]
    watching.look()
    for _ in range(3):
        now[0] += watcher.HANDOVER_LIMIT_S
        watching.look()
    assert len(driver.asked) == 3
    assert [record.message for record in caplog.records if "stands still" in record.message] != []
    assert len([record for record in caplog.records if "stands still" in record.message]) == 1


def left_for_long(driver: Driver, records: Records, now: list[float], goes_on: bool) -> None:
    record = records.open(PLAN, "destination")
    record.keep(watcher.GUEST, to_primitive(dataclasses.replace(GUEST, power_state=PowerState.RUNNING)))
    watching = watcher.ArrivalWatcher(driver, records, lambda plan: goes_on)  # type: ignore[arg-type]
    for _ in range(5):
        watching.look()
        now[0] += watcher.HANDOVER_LIMIT_S


@pytest.mark.parametrize("source", [Copy.ABSENT, Copy.MIGRATED_AWAY])
def test_a_stale_copy_never_runs_after_its_guest_moved_on_or_was_deleted(
    records: Records, now: list[float], monkeypatch: pytest.MonkeyPatch, source: Copy
) -> None:
    """The hosts were cut as the copy was complete, libvirt let the source go on, and the migration failed; then its guest left
    the source for a third host, or was deleted, and the hosts see each other again."""
    driver = LibvirtDriver(monkeypatch, Copy.UNREACHABLE)
    left_for_long(driver, records, now, goes_on=True)
    driver.hosts["a"] = source
    left_for_long(driver, records, now, goes_on=False)
    assert driver.hosts["b"] is Copy.PAUSED_COMPLETE


@pytest.mark.parametrize("source", [Copy.ABSENT, Copy.MIGRATED_AWAY])
def test_a_copy_whose_migration_is_under_way_runs_when_its_source_is_gone(
    records: Records, now: list[float], monkeypatch: pytest.MonkeyPatch, source: Copy
) -> None:
    driver = LibvirtDriver(monkeypatch, source)
    left_for_long(driver, records, now, goes_on=True)
    assert driver.hosts["b"] is Copy.RUNNING


def test_who_records_migrations_is_asked_after_looking_at_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round it could end, and its guest leave, in between."""
    order: list[str] = []

    def observe(host: Host, uuid: str, is_destination: bool, **_: Any) -> Observation:
        order.append("look")
        return Observation(Copy.PAUSED_COMPLETE if is_destination else Copy.ABSENT)

    def goes_on() -> bool:
        order.append("ask")
        return False

    monkeypatch.setattr(arrival, "observe", observe)
    outcome = arrival.complete(Host("", "b"), Host("", "a"), "s", False, False, goes_on)
    assert (order, outcome.verdict) == (["look", "look", "ask"], Verdict.UNDECIDED)


@pytest.mark.parametrize("source", [Copy.RUNNING, Copy.PAUSED_MIGRATION, Copy.SHUT_OFF, Copy.UNREACHABLE])
def test_nothing_is_asked_when_nothing_would_be_started(monkeypatch: pytest.MonkeyPatch, source: Copy) -> None:
    LibvirtDriver(monkeypatch, source)
    outcome = arrival.complete(Host("", "b"), Host("", "a"), "s", False, False, lambda: pytest.fail("asked"))
    assert outcome.verdict is Verdict.UNDECIDED
