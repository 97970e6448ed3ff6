"""What is on its way to a host is on disk before anything of it is made, and goes when it has come, or never will."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from nova_blockmigrate.compute import watcher
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.exceptions import UnsafeRemoval
from nova_blockmigrate.nova_driver import arrivals
from nova_blockmigrate.nova_driver.arrivals import Arrivals
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    MigrationPlan,
    Observation,
    PowerState,
    Server,
    TransferOutcome,
    Verdict,
)
from nova_blockmigrate.virt.libvirt.host import Host

SERVER = Server("s", "instance-1", "vm", 64, 1, 1, None)
PLAN = MigrationPlan(1, "m1", SERVER, "a", "b", True)
NEXT = MigrationPlan(2, "m2", SERVER, "a", "b", True)
GUEST = GuestDescription("s", "instance-1", PowerState.RUNNING, 64, 1, (), True, "")


class Discarding:
    """Stands in for the removal of the domain, and its refusals."""

    def __init__(self) -> None:
        self.discarded: list[str] = []
        self.error: Exception | None = None

    def __call__(self, host: Host, source: Host, plan: MigrationPlan, stayed: bool = False) -> None:
        if self.error is not None and not stayed:
            raise self.error
        self.discarded.append(f"{plan.migration_uuid} from {source.uri}")


@pytest.fixture
def discarding(monkeypatch: pytest.MonkeyPatch) -> Discarding:
    discarding = Discarding()
    monkeypatch.setattr(arrivals.prepare, "discard_copy", discarding)
    monkeypatch.setattr(arrivals.prepare, "refuse_the_only_copy", discarding)
    return discarding


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "instances/s"


def service(folder: pathlib.Path) -> Arrivals:
    return Arrivals(Host("qemu:///system", "b"), Records(folder / "records"))


def expect(one: Arrivals, plan: MigrationPlan, directory: pathlib.Path) -> None:
    one.expect(plan, GUEST, "qemu+tcp://a/system", str(directory))
    directory.mkdir(parents=True)
    (directory / "disk").touch()


def test_restarted_service_removes_what_never_came(discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    expect(service(tmp_path), PLAN, directory)

    again = service(tmp_path)
    again.reconcile(lambda plan: "gone")

    assert not directory.exists()
    assert discarding.discarded == ["m1 from qemu+tcp://a/system"]
    again.reconcile(lambda plan: pytest.fail("it is still known"))


def test_what_has_come_is_kept(discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    one.reconcile(lambda plan: "arrived")
    assert (directory / "disk").exists()
    assert discarding.discarded == []


def test_what_is_not_over_is_left_alone(discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    one.reconcile(lambda plan: None)
    assert (directory / "disk").exists()


def test_what_may_be_the_only_copy_is_never_removed(
    discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    discarding.error = UnsafeRemoval(name="files", host="b", reason="it runs")
    one.reconcile(lambda plan: "gone")
    assert (directory / "disk").exists()
    with pytest.raises(UnsafeRemoval):
        one.refuse_the_only_copy("s")


def test_complete_copy_goes_when_its_source_said_that_the_guest_stayed(
    discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Its source may have nothing of it any more: the guest has moved to a third host since."""
    one = service(tmp_path)
    expect(one, PLAN, directory)
    discarding.error = UnsafeRemoval(name="files", host="b", reason="it may be the only copy")

    one.reconcile(lambda plan: "stayed")

    assert discarding.discarded == ["m1 from qemu+tcp://a/system"]
    assert not directory.exists()


def test_guest_comes_where_a_complete_copy_of_it_was_left(
    discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    discarding.error = UnsafeRemoval(name="files", host="b", reason="it may be the only copy")
    with pytest.raises(UnsafeRemoval):
        one.clear_earlier("s")
    one._end_of = lambda plan: "stayed"

    one.clear_earlier("s")

    assert not directory.exists()


def test_next_try_finds_no_debris_of_the_last(discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    one.clear_earlier("s")
    expect(one, NEXT, directory)  # makes the directory, as Nova does, which refuses one that is there
    assert [plan.migration_uuid for plan in Records(tmp_path / "records").plans("destination")] == ["m2"]


def test_directory_that_somebody_else_made_is_not_removed(
    discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    directory.mkdir(parents=True)
    one = service(tmp_path)
    one.expect(PLAN, GUEST, "qemu+tcp://a/system", str(directory))
    one.reconcile(lambda plan: "gone")
    assert directory.exists()


class Domain:
    def __init__(self) -> None:
        self.destroyed = False

    def isActive(self) -> int:  # libvirt's name
        return 1

    def destroy(self) -> None:
        self.destroyed = True


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Domain:
    domain = Domain()
    monkeypatch.setattr(Host, "find_domain", lambda self, uuid, connection=None: domain)
    monkeypatch.setattr(arrivals.settle, "destroy_copy", lambda host, uuid: None)
    return domain


def test_guest_whose_server_was_deleted_on_the_way_goes_though_it_runs(
    domain: Domain, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    one.landed("s")

    one.reconcile(lambda plan: "deleted", landed_only=True)

    assert domain.destroyed
    assert not directory.exists()
    assert Records(tmp_path / "records").plans("destination") == []


def test_guest_that_has_landed_is_known_until_it_is_recorded_here(directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    one.landed("s")

    one.reconcile(lambda plan: None, landed_only=True)
    assert service(tmp_path)._has_landed(PLAN)
    one.reconcile(lambda plan: "arrived", landed_only=True)

    assert Records(tmp_path / "records").plans("destination") == []
    assert (directory / "disk").exists()


def watcher_of(one: Arrivals, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Copies stand here complete, longer than a switch lasts; whatever is let run is in the list."""
    completed: list[str] = []

    def complete(plan: MigrationPlan, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]) -> TransferOutcome:
        if not goes_on():
            return TransferOutcome(Verdict.UNDECIDED)
        completed.append(plan.migration_uuid)
        return TransferOutcome(Verdict.HANDED_OVER)

    monkeypatch.setattr(one, "observe", lambda uuid, journal: Observation(Copy.PAUSED_COMPLETE))
    monkeypatch.setattr(one, "complete_arrival", complete)
    monkeypatch.setattr(watcher, "HANDOVER_LIMIT_S", 0.0)
    return completed


@pytest.mark.parametrize(("end", "runs"), [("under way", True), (None, False), ("gone", False)])
def test_copy_runs_only_while_its_server_has_no_other_home(
    end: str | None, runs: bool, directory: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(tmp_path)
    one._end_of = lambda plan: end
    completed = watcher_of(one, monkeypatch)
    expect(one, PLAN, directory)

    one._watcher.look()

    assert completed == (["m1"] if runs else [])


def test_guest_that_has_landed_and_is_paused_by_its_user_stays_paused(
    directory: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(tmp_path)
    one._end_of = lambda plan: "under way"
    completed = watcher_of(one, monkeypatch)
    expect(one, PLAN, directory)
    one.landed("s")

    one._watcher.look()

    assert completed == []


def test_guest_that_has_landed_and_left_again_has_nothing_here(
    discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    one.landed("s")

    one.reconcile(lambda plan: "gone", landed_only=True)

    assert Records(tmp_path / "records").plans("destination") == []
    assert discarding.discarded == []


def test_guest_that_is_still_being_prepared_is_left_alone(
    discarding: Discarding, directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    one = service(tmp_path)
    expect(one, PLAN, directory)
    with one.alone("s"):
        one.reconcile(lambda plan: "gone")
        assert directory.exists()
    one.reconcile(lambda plan: "gone")
    assert not directory.exists()
