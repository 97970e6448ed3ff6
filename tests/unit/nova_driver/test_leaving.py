"""What a guest that has moved away left on its source: deleted on proof, however often the guest moves, and never its live disk."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fake_nova import Database

from nova_blockmigrate.objects import (
    GuestDescription,
    MigrationPlan,
    PowerState,
    PreparedDestination,
    Server,
    TransferOutcome,
    Verdict,
)

PLAN = MigrationPlan(1, "m", Server("s", "instance-1", "vm", 64, 1, 1, None), "a", "b", True)
GUEST = GuestDescription("s", "instance-1", PowerState.RUNNING, 64, 1, (), True, "<domain/>")


@dataclasses.dataclass
class Transfers:
    """Those of host a."""

    where: str
    """The host whose libvirt has the guest."""
    outcome: TransferOutcome | None = dataclasses.field(default_factory=lambda: TransferOutcome(Verdict.HANDED_OVER))
    known: bool = True
    asked: list[str] = dataclasses.field(default_factory=list)

    def has_left(self, task: Any, home: Any) -> bool:
        self.asked.append(home.uri)
        return self.where == home.host

    def is_gone(self, task: Any) -> bool:
        return self.where != "a"

    def decided(self, task: Any) -> TransferOutcome | None:
        return self.outcome

    def knows(self, migration_uuid: str) -> bool:
        return self.known

    def remembered(self, server_uuid: str) -> list[Any]:
        return [task()] if self.known else []

    def forget(self, task: Any) -> None:
        self.known = False


def task() -> Any:
    from nova_blockmigrate.nova_driver.transfers import Task

    return Task(PLAN, GUEST, PreparedDestination("b", "", ("vda",)), "qemu+tcp://192.0.2.2/system", 3, {})


@dataclasses.dataclass
class Source:
    """Host a, and what was removed there."""

    transfers: Transfers
    removed: list[str] = dataclasses.field(default_factory=list)
    errors: list[Exception] = dataclasses.field(default_factory=list)

    @property
    def leaving(self) -> Any:
        from nova_blockmigrate.nova_driver.leaving import Leaving

        return Leaving("a", self.transfers, self._remove, lambda host: f"qemu+tcp://{host}/system")  # type: ignore[arg-type]

    def _remove(self, task: Any, instance: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.removed.append(task.plan.migration_uuid)


@pytest.fixture
def source(nova: None, kept: Database, pauses: list[float]) -> Source:
    """The guest has moved to b, and that is recorded."""
    kept.instance.host, kept.instance.task_state, kept.migrations[0].status = "b", None, "completed"
    return Source(Transfers("b"))


def test_on_proof(source: Source) -> None:
    assert source.leaving.clean(task())
    assert source.removed == ["m"]
    assert not source.transfers.known
    assert source.transfers.asked == ["qemu+tcp://192.0.2.2/system"]


def test_not_before_it_is_recorded(source: Source, kept: Database) -> None:
    kept.migrations[0].status = "running"
    assert not source.leaving.clean(task())
    assert source.removed == []


def test_not_without_proof(source: Source) -> None:
    source.transfers.where = "a"
    assert not source.leaving.clean(task())
    assert source.removed == []


def test_guest_that_has_moved_on_is_asked_for_where_it_is_now(source: Source, kept: Database) -> None:
    kept.instance.host, source.transfers.where = "c", "c"
    assert source.leaving.clean(task())
    assert (source.removed, source.transfers.asked) == (["m"], ["qemu+tcp://c/system"])


def test_guest_that_has_come_back_keeps_its_disk(source: Source, kept: Database) -> None:
    kept.instance.host, source.transfers.where = "a", "a"
    assert source.leaving.clean(task())
    assert source.removed == []
    assert not source.transfers.known


def test_shelved_guest_has_no_home(source: Source, kept: Database) -> None:
    kept.instance.host, source.transfers.where = None, "nowhere"
    assert source.leaving.clean(task())
    assert source.removed == ["m"]


@pytest.mark.parametrize(("where", "removed"), [("nowhere", ["m"]), ("a", [])])
def test_deleted_guest(where: str, removed: list[str], source: Source, kept: Database) -> None:
    """Also of one that was to stay, and was deleted in mid-copy."""
    kept.instance.deleted, source.transfers.where = True, where
    source.transfers.outcome = TransferOutcome(Verdict.STAYED)
    source.leaving.clean(task())
    assert source.removed == removed


def test_server_that_was_purged_is_nobodys(source: Source, kept: Database) -> None:
    kept.instance = None
    assert source.leaving.clean(task())
    assert source.removed == []


def test_what_fails_is_tried_again(source: Source, pauses: list[float]) -> None:
    source.errors = [OSError("the disk is busy"), OSError("still")]
    source.leaving._until_clean(task())
    assert source.removed == ["m"]
    assert pauses == [10.0, 20.0]


def test_guest_that_comes_back_at_once_finds_nothing_in_its_way(source: Source, pauses: list[float]) -> None:
    source.errors = [OSError("libvirt is not done yet")]
    source.leaving.finish("s")
    assert source.removed == ["m"]
    assert len(pauses) == 1


def test_guest_that_stays_is_not_in_the_way_of_anything(source: Source, pauses: list[float]) -> None:
    source.transfers.outcome = TransferOutcome(Verdict.STAYED)
    source.leaving.finish("s")
    assert (source.removed, pauses) == ([], [])
