"""The fake hosts behave as real ones do, and cry out when a guest would be harmed."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nova_blockmigrate import conf as config
from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.ledger import HostRecord
from nova_blockmigrate.compute.transfers import TransferControl
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    ImageRef,
    MigrationPlan,
    PowerState,
    PreparedDestination,
    Server,
    TransferOutcome,
    Verdict,
    Vif,
)
from nova_blockmigrate.virt.fake import FakeDriver
from nova_blockmigrate.virt.fake_cloud import FakeCloud, FakeCopy

UUID = "6f1d6bd3-8a45-4d0a-9d2b-a3b0d4d0e7a1"
SERVER = Server(
    uuid=UUID,
    domain_name="instance-00000001",
    display_name="lm001",
    memory_mib=256,
    vcpus=1,
    root_gib=1,
    image=ImageRef("0a1b", "qcow2", 16 * 1024**2, "ab" * 32),
    vifs=(Vif("port", "52:54:00:00:00:01", "br100", "tapport"),),
)


class World:
    """Two fake hosts, a guest on the first, and one migration of it to the second."""

    def __init__(self, tmp_path: pathlib.Path, transfer_time_s: float = 0.0) -> None:
        self.tmp_path = tmp_path
        self.conf = config.load([], default_config_files=[])
        self.conf.set_override("transfer_time_s", transfer_time_s, group="fake")
        self.cloud = FakeCloud()
        self.source, self.destination = self.driver("compute1"), self.driver("compute2")
        self.compute1, self.compute2 = self.cloud.host("compute1"), self.cloud.host("compute2")
        self.ledger = HostRecord(tmp_path / "destination.jsonl")
        self.control = TransferControl()
        self.control.journal = HostRecord(tmp_path / "source.jsonl")
        self.source.spawn(SERVER, HostRecord(tmp_path / "spawn.jsonl"))
        self.plan = MigrationPlan(1, "migration", SERVER, "compute1", "compute2", block_migration=True)
        self.guest: GuestDescription = self.source.check_can_live_migrate_source(SERVER)

    def driver(self, host: str) -> FakeDriver:
        driver = FakeDriver(self.conf, self.cloud)
        driver.init_host(host)
        return driver

    def fetch(self, source_path: str, sha256: str, path: str) -> int:
        with self.source.serve_base(source_path, "127.0.0.1") as uri:
            return self.destination.fetch_base(uri, sha256, path)

    def prepare(self) -> PreparedDestination:
        return self.destination.pre_live_migration(self.plan, self.guest, self.ledger, self.fetch)

    def transfer(self) -> TransferOutcome:
        return self.source.live_migration(self.plan, self.guest, PreparedDestination("compute2"), self.control)

    def migrate(self) -> TransferOutcome:
        self.prepare()
        return self.transfer()

    @contextlib.contextmanager
    def copying(self) -> Iterator[Callable[[], TransferOutcome]]:
        """The transfer under way in a thread, held half way; yields what waits for its outcome."""
        self.prepare()
        self.compute1.hold("live_migration", at=0.5)
        outcomes: list[TransferOutcome] = []
        thread = native.threading.Thread(target=lambda: outcomes.append(self.transfer()), daemon=True)
        thread.start()
        self.compute1.wait_reached("live_migration")

        def result() -> TransferOutcome:
            thread.join(10)
            return outcomes[0]

        yield result


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


@pytest.fixture
def slow(tmp_path: pathlib.Path) -> World:
    return World(tmp_path, transfer_time_s=0.2)


def test_guest_arrives_with_its_memory_and_disk(world: World) -> None:
    world.compute1.guest_writes(UUID, "written by the guest")
    outcome = world.migrate()
    assert outcome.verdict is Verdict.HANDED_OVER
    assert world.cloud.where(UUID) == {"compute1": Copy.MIGRATED_AWAY, "compute2": Copy.RUNNING}
    assert world.compute2.copies[UUID].memory == "written by the guest"
    assert [disk.content for disk in world.cloud.disks_of(world.compute2, UUID)] == ["written by the guest"]
    assert world.control.journal.has("fencing") and world.control.journal.has("fenced")


def test_after_a_migration_nothing_is_left_on_the_source(world: World) -> None:
    world.migrate()
    world.destination.post_live_migration_at_destination(world.plan)
    world.source.post_live_migration_at_source(world.plan, world.guest, world.ledger)
    assert world.cloud.where(UUID) == {"compute2": Copy.RUNNING}
    assert world.cloud.disks_of(world.compute1, UUID) == []
    assert world.compute1.taps == {}
    assert world.source.list_instance_uuids() == []


def test_missing_base_image_is_fetched_once(world: World) -> None:
    assert world.prepare().bytes_fetched == 16 * 1024**2
    assert world.prepare().bytes_fetched == 0


def test_preparing_lists_what_it_makes_and_rollback_removes_it(world: World) -> None:
    world.prepare()
    assert [artefact.kind for artefact in world.ledger.artefacts()] == ["directory", "file", "tap"]
    world.destination.rollback_live_migration_at_destination(world.plan, world.ledger)
    assert world.ledger.artefacts() == []
    assert world.cloud.disks_of(world.compute2, UUID) == []
    assert world.compute2.taps == {}
    assert world.cloud.where(UUID) == {"compute1": Copy.RUNNING}


def test_progress_is_reported_while_copying(slow: World) -> None:
    with slow.copying() as outcome:
        progress = slow.control.progress()
        assert slow.cloud.where(UUID) == {"compute1": Copy.RUNNING_JOB, "compute2": Copy.INCOMING}
        slow.compute1.release("live_migration")
        assert outcome().verdict is Verdict.HANDED_OVER
    assert progress is not None
    assert progress.memory_total_bytes == 256 * 1024**2
    assert progress.percent <= 50


def test_abort_leaves_the_guest_on_the_source(slow: World) -> None:
    with slow.copying() as outcome:
        slow.control.abort("the user asked for it")
        result = outcome()
    assert (result.verdict, result.cancelled, result.reason) == (Verdict.STAYED, True, "the user asked for it")
    assert slow.cloud.where(UUID) == {"compute1": Copy.RUNNING}


def test_guest_that_powers_off_mid_copy_stays_with_its_disk(slow: World) -> None:
    with slow.copying() as outcome:
        slow.compute1.guest_powers_off(UUID)
        result = outcome()
    assert (result.verdict, result.power_state) == (Verdict.STAYED, PowerState.SHUTDOWN)
    slow.destination.rollback_live_migration_at_destination(slow.plan, slow.ledger)
    assert slow.cloud.where(UUID) == {"compute1": Copy.SHUT_OFF}
    assert len(slow.cloud.disks_of(slow.compute1, UUID)) == 1


@pytest.mark.parametrize(
    "breaks, reason",
    [
        (lambda host: host.fail("live_migration", "disk full"), "disk full"),
        (lambda host: host.stop(), "unable to reach the hypervisor of compute2"),
    ],
)
def test_destination_that_fails_mid_copy_leaves_the_guest_on_the_source(slow: World, breaks: Any, reason: str) -> None:
    with slow.copying() as outcome:
        breaks(slow.compute2)
        result = outcome()
    assert (result.verdict, result.reason) == (Verdict.STAYED, reason)
    assert slow.cloud.where(UUID)["compute1"] is Copy.RUNNING


def test_unreachable_source_leaves_everything_undecided(slow: World) -> None:
    with slow.copying() as outcome:
        slow.compute1.stop()
        assert outcome().verdict is Verdict.UNDECIDED
    assert slow.cloud.where(UUID) == {"compute1": Copy.RUNNING_JOB, "compute2": Copy.INCOMING}
    assert slow.source.observe(UUID, None).copy is Copy.UNREACHABLE
    slow.compute1.start()
    slow.compute1.release("live_migration")
    assert slow.transfer().verdict is Verdict.HANDED_OVER


def test_second_call_takes_the_running_transfer_over(slow: World) -> None:
    with slow.copying() as outcome:
        slow.compute1.release("live_migration")
        second = slow.transfer()
        assert {outcome().verdict, second.verdict} == {Verdict.UNDECIDED, Verdict.HANDED_OVER}
    assert slow.cloud.where(UUID) == {"compute1": Copy.MIGRATED_AWAY, "compute2": Copy.RUNNING}


def test_call_after_the_end_finds_the_outcome(world: World) -> None:
    first = world.migrate()
    assert world.transfer() == first


def test_failed_handover_lets_the_source_run_on(world: World) -> None:
    world.compute2.fail("handover", "cannot resume")
    assert world.migrate().reason == "cannot resume"
    assert world.cloud.where(UUID) == {"compute1": Copy.RUNNING}


def test_paused_guest_arrives_paused(world: World) -> None:
    world.source.pause(SERVER)
    outcome = world.migrate()
    assert (outcome.verdict, outcome.power_state) == (Verdict.HANDED_OVER, PowerState.PAUSED)
    assert world.cloud.where(UUID)["compute2"] is Copy.PAUSED_BY_USER


def test_local_disks_are_not_moved_without_block_migration(world: World) -> None:
    world.plan = MigrationPlan(1, "migration", SERVER, "compute1", "compute2", block_migration=False)
    assert "local disks" in world.migrate().reason
    assert world.cloud.where(UUID) == {"compute1": Copy.RUNNING}


def test_unprepared_destination_receives_nothing(world: World) -> None:
    assert "not prepared" in world.transfer().reason


def test_source_is_not_cleaned_while_the_guest_is_there(world: World) -> None:
    with pytest.raises(exceptions.UnsafeRemoval):
        world.source.post_live_migration_at_source(world.plan, world.guest, world.ledger)


def test_running_copy_is_never_rolled_back(world: World) -> None:
    world.migrate()
    with pytest.raises(exceptions.UnsafeRemoval):
        world.destination.rollback_live_migration_at_destination(world.plan, world.ledger)


def test_two_running_copies_raise_the_alarm(world: World) -> None:
    with world.cloud.changed, pytest.raises(AssertionError, match="runs on compute1 and compute2"):
        world.cloud.add_copy(world.compute2, FakeCopy(SERVER, Copy.RUNNING))
    assert world.cloud.alarms


def test_deleting_the_disk_of_a_guest_that_is_here_raises_the_alarm(world: World) -> None:
    path = world.guest.disks[0].layers[0].path
    with pytest.raises(AssertionError, match="while its guest is there"):
        world.cloud.delete_disk(world.compute1, path)
    with world.cloud.changed:
        world.cloud.remove_copy(world.compute1, UUID)
    with pytest.raises(AssertionError, match="nowhere else"):
        world.cloud.delete_disk(world.compute1, path)


def test_method_fails_as_often_as_was_asked(world: World) -> None:
    world.compute2.fail("pre_live_migration", "no space left", times=1)
    with pytest.raises(exceptions.HypervisorError, match="no space left"):
        world.prepare()
    world.prepare()


def test_option_names_methods_that_fail(world: World) -> None:
    world.conf.set_override("fail_at", ["compute3:spawn"], group="fake")
    driver = world.driver("compute3")
    with pytest.raises(exceptions.HypervisorError, match="compute3:spawn"):
        driver.spawn(SERVER, world.ledger)
    assert driver.list_instance_uuids() == []


def test_power_states_follow_the_user(world: World) -> None:
    seen = []
    for change in (
        world.source.pause,
        world.source.unpause,
        world.source.suspend,
        world.source.resume,
        lambda server: world.source.power_off(server, 0),
        world.source.power_on,
    ):
        change(SERVER)
        seen.append(world.source.get_info(SERVER).name)
    assert seen == ["PAUSED", "RUNNING", "SUSPENDED", "RUNNING", "SHUTDOWN", "RUNNING"]


def test_resources_count_the_guests_that_are_here(world: World) -> None:
    used = world.source.get_available_resource()
    assert (used.memory_used_mib, used.vcpus_used, used.running_vms) == (256, 1, 1)
    assert world.destination.get_available_resource().memory_used_mib == 0


def test_deleted_server_leaves_nothing(world: World) -> None:
    world.source.destroy(SERVER, world.ledger)
    world.source.destroy(SERVER, world.ledger)
    assert world.cloud.where(UUID) == {}
    assert world.cloud.disks_of(world.compute1, UUID) == []
    assert world.source.get_info(SERVER) is PowerState.NOSTATE
