"""A transfer for Nova: decided once, on disk before it is told, and taken up again by a service that was restarted."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from nova_blockmigrate import concurrency
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.exceptions import HypervisorError
from nova_blockmigrate.nova_driver import transfers
from nova_blockmigrate.nova_driver.transfers import Task, Transfers
from nova_blockmigrate.objects import (
    GuestDescription,
    MigrationPlan,
    PowerState,
    PreparedDestination,
    Server,
    TransferOutcome,
    Verdict,
)
from nova_blockmigrate.virt.driver import TRANSFER
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.transfer import TransferSettings

PLAN = MigrationPlan(1, "m", Server("s", "instance-1", "vm", 64, 1, 1, None), "a", "b", True)
GUEST = GuestDescription("s", "instance-1", PowerState.RUNNING, 64, 1, (), True, "<domain/>")
TASK = Task(PLAN, GUEST, PreparedDestination("b", "192.0.2.2", ("vda",)), "qemu+tcp://b/system", 3, {"request_id": "req-1"})
MOVED = TransferOutcome(Verdict.HANDED_OVER)
STAYED = TransferOutcome(Verdict.STAYED, "why", cancelled=True)
UNDECIDED = TransferOutcome(Verdict.UNDECIDED, "libvirt does not answer")


class Migrations:
    """Stands in for the engine: comes to the outcomes that it was told, one a run."""

    def __init__(self) -> None:
        self.outcomes: list[TransferOutcome | BaseException] = [MOVED]
        self.settings: list[TransferSettings] = []
        self.journal_first = True
        self.during: Callable[[], Any] = lambda: None

    def __call__(self, source: Any, destination: Any, settings: Any, plan: Any, guest: Any, prepared: Any, control: Any) -> Any:
        self.settings.append(settings)
        self.control = control
        return self

    def run(self) -> TransferOutcome:
        if self.journal_first:
            self.control.journal.mark(TRANSFER)
        self.during()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Migrations:
    engine = Migrations()
    monkeypatch.setattr(transfers, "LiveMigration", engine)
    monkeypatch.setattr(concurrency, "pause", lambda seconds: None)
    return engine


def service(folder: pathlib.Path) -> Transfers:
    settings = TransferSettings(uri="", live_flags=0, block_flags=0, downtime_ms=300)
    return Transfers(Host("qemu:///system", "a"), settings, Records(folder))


def test_uri_and_flags_are_those_of_nova(engine: Migrations, tmp_path: pathlib.Path) -> None:
    assert service(tmp_path).run(TASK) == MOVED
    (settings,) = engine.settings
    assert settings.destination_uri("b") == "qemu+tcp://b/system"
    assert (settings.live_flags, settings.block_flags, settings.downtime_ms) == (3, 3, 300)


def test_restarted_service_knows_what_was_decided(engine: Migrations, tmp_path: pathlib.Path) -> None:
    engine.outcomes = [STAYED]
    service(tmp_path).run(TASK)

    again = service(tmp_path)
    assert again.remembered() == [TASK]
    assert again.go_on(TASK) == STAYED
    assert len(engine.settings) == 1


def test_restarted_service_goes_on_with_what_was_not(engine: Migrations, tmp_path: pathlib.Path) -> None:
    engine.outcomes = [KeyboardInterrupt(), MOVED]
    with pytest.raises(KeyboardInterrupt):
        service(tmp_path).run(TASK)

    assert service(tmp_path).go_on(TASK) == MOVED


def test_what_is_undecided_is_looked_at_again(engine: Migrations, tmp_path: pathlib.Path) -> None:
    engine.outcomes = [UNDECIDED, HypervisorError(action="look", reason="it hangs"), STAYED]
    assert service(tmp_path).run(TASK) == STAYED
    assert len(engine.settings) == 3


def test_error_before_libvirt_was_asked_means_that_it_stayed(engine: Migrations, tmp_path: pathlib.Path) -> None:
    engine.outcomes, engine.journal_first = [HypervisorError(action="begin", reason="no connection")], False
    with pytest.raises(HypervisorError):
        service(tmp_path).run(TASK)


def test_nothing_is_remembered_once_nova_knows(engine: Migrations, tmp_path: pathlib.Path) -> None:
    one = service(tmp_path)
    one.run(TASK)
    one.forget(TASK)
    assert one.remembered() == []
    assert not one.knows("m")
    assert service(tmp_path).remembered() == []


def test_restarted_service_knows_whose_source_it_is_before_anything_is_taken_up(engine: Migrations, tmp_path: pathlib.Path) -> None:
    service(tmp_path).run(TASK)

    again = service(tmp_path)

    assert again.knows("m")
    assert again.decided(TASK) == MOVED
    assert not again.knows("another")


def test_abort_reaches_only_what_runs_here(engine: Migrations, tmp_path: pathlib.Path) -> None:
    one = service(tmp_path)
    assert not one.abort("s", "why")
    one.run(TASK)
    assert one.abort("s", "why")
    assert not one.force_complete("another")


NEXT = dataclasses.replace(TASK, plan=dataclasses.replace(PLAN, migration_uuid="m2", migration_id=2))


def test_next_migration_of_a_server_inherits_no_abort(engine: Migrations, tmp_path: pathlib.Path) -> None:
    engine.outcomes = [MOVED, MOVED]
    one = service(tmp_path)
    one.run(TASK)
    one.abort("s", "why")

    one.run(NEXT)

    assert not engine.control.abort_requested


def test_end_of_an_old_migration_leaves_the_next_one_its_control(engine: Migrations, tmp_path: pathlib.Path) -> None:
    engine.outcomes = [MOVED, MOVED]
    one = service(tmp_path)
    one.run(TASK)

    def old_ends_and_user_aborts() -> None:
        one.forget(TASK)
        assert one.abort("s", "why")

    engine.during = old_ends_and_user_aborts
    one.run(NEXT)

    assert engine.control.abort_requested
    assert one.remembered("s") == [NEXT]


def test_abort_of_what_is_decided_reaches_nothing(engine: Migrations, tmp_path: pathlib.Path) -> None:
    one = service(tmp_path)
    one.run(TASK)
    assert one.abort("s", "why")
    assert not engine.control.abort_requested


def test_record_with_a_broken_line_keeps_no_service_from_starting(engine: Migrations, tmp_path: pathlib.Path) -> None:
    service(tmp_path).run(TASK)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_text(path.read_text().replace('"keep": "task"', '"keep": task'))

    assert service(tmp_path).remembered() == []
    assert path.exists()


def test_record_that_cannot_be_read_keeps_no_service_from_starting(engine: Migrations, tmp_path: pathlib.Path) -> None:
    service(tmp_path).run(TASK)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_text(path.read_text().replace('"uri":', '"url":'))

    assert service(tmp_path).remembered() == []
