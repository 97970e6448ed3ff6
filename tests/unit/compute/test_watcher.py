"""A complete copy that stands for seconds is completed; one in the midst of its handover is left alone."""

from __future__ import annotations

import pathlib
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

    def complete_arrival(self, plan: MigrationPlan, was_paused: bool, source_is_dead: bool) -> TransferOutcome:
        self.asked.append((was_paused, source_is_dead))
        return self.outcome


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
    watching = watcher.ArrivalWatcher(driver, records)  # type: ignore[arg-type]
    watching.look()
    assert driver.asked == []
    now[0] += watcher.HANDOVER_LIMIT_S
    watching.look()
    assert driver.asked == [(True, False)]


@pytest.mark.parametrize("copy", [Copy.INCOMING, Copy.RUNNING, Copy.ABSENT, Copy.UNREACHABLE])
def test_any_other_copy_is_left_alone_and_begins_anew(records: Records, now: list[float], copy: Copy) -> None:
    driver = Driver()
    watching = watcher.ArrivalWatcher(driver, records)  # type: ignore[arg-type]
    watching.look()
    driver.copy = copy
    now[0] += watcher.HANDOVER_LIMIT_S
    watching.look()
    driver.copy = Copy.PAUSED_COMPLETE
    watching.look()
    assert driver.asked == []


def test_what_is_not_known_is_said_once(records: Records, now: list[float], caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver()
    watching = watcher.ArrivalWatcher(driver, records)  # type: ignore[arg-type]
    watching.look()
    for _ in range(3):
        now[0] += watcher.HANDOVER_LIMIT_S
        watching.look()
    assert len(driver.asked) == 3
    assert [record.message for record in caplog.records if "stands still" in record.message] != []
    assert len([record for record in caplog.records if "stands still" in record.message]) == 1
