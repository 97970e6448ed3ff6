"""What libvirt is asked for in a transfer, what its states mean, and small decisions beside it."""

import queue
from collections.abc import Callable

import libvirt
import pytest

from nova_blockmigrate.objects import Copy, PowerState, PreparedDestination, TransferProgress
from nova_blockmigrate.virt.libvirt import observe, stuck_job, transfer
from nova_blockmigrate.virt.libvirt.convergence import downtime_limit_ms
from nova_blockmigrate.virt.libvirt.transfer import TransferSettings
from tests.unit.virt.hosts import PAUSED_BY_USER, FakeDomain, FakeHost, Journal, State
from tests.unit.virt.hosts import RUNNING as RUNS

SETTINGS = TransferSettings("qemu+tcp://%s/system", live_flags=1, block_flags=libvirt.VIR_MIGRATE_NON_SHARED_INC)
PAUSED, RUNNING, SHUTOFF = libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_SHUTOFF


def test_every_transfer_leaves_the_destination_paused() -> None:
    for copied in ((), ("vda",)):
        assert SETTINGS.flags(copied) & libvirt.VIR_MIGRATE_PAUSED


def test_where_post_copy_is_permitted_libvirt_switches_running_guests_by_itself() -> None:
    both = TransferSettings("", live_flags=libvirt.VIR_MIGRATE_POSTCOPY, block_flags=libvirt.VIR_MIGRATE_POSTCOPY)
    for copied in ((), ("vda",)):
        assert both.flags(copied) == libvirt.VIR_MIGRATE_POSTCOPY
        assert both.flags(copied, is_paused=True) == libvirt.VIR_MIGRATE_PAUSED


def test_without_disks_to_copy_libvirt_is_not_asked_to_copy_any() -> None:
    assert not SETTINGS.flags(()) & libvirt.VIR_MIGRATE_NON_SHARED_INC
    assert libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS not in transfer.parameters(SETTINGS, PreparedDestination("b"))


def test_parameters_name_disks_address_and_limits() -> None:
    settings = TransferSettings("", 0, 0, bandwidth_mib=10, parallel_connections=2, native_tls=True)
    prepared = PreparedDestination("b", "2001:db8::1", ("vda", "vdb"), "<domain/>")
    assert transfer.parameters(settings, prepared) == {
        libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: ["vda", "vdb"],
        libvirt.VIR_MIGRATE_PARAM_URI: "tcp://[2001:db8::1]",
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: "<domain/>",
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: "<domain/>",
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: 10,
        libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS: 2,
        libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION: "b",
    }


@pytest.mark.parametrize(
    ("per_gib", "at_all", "moved_gib", "limit"),
    [(0, 0, 5, None), (800, 0, 0.25, 800), (800, 0, 5, 4000), (800, 60, 5, 60), (0, 60, 5, 60), (10, 60, 2, 20)],
)
def test_a_transfer_may_take_as_long_as_its_size_or_its_limit_allow(
    per_gib: int, at_all: int, moved_gib: float, limit: float | None
) -> None:
    settings = TransferSettings("", 0, 0, timeout_s_per_gib=per_gib, timeout_s=at_all)
    assert settings.limit_s(int(moved_gib * transfer.GIB)) == limit


@pytest.mark.parametrize(("host", "uri"), [("b", "qemu+tcp://b/system"), ("::1", "qemu+tcp://[::1]/system")])
def test_the_destination_takes_its_place_in_the_uri(host: str, uri: str) -> None:
    assert SETTINGS.destination_uri(host) == uri


def test_the_pause_is_planned_short_at_first_and_as_configured_at_last() -> None:
    limits = [downtime_limit_ms(500, iteration) for iteration in range(0, 9)]
    assert limits[:2] == [50, 50]
    assert limits == sorted(limits)
    assert limits[-1] == 500
    assert downtime_limit_ms(100, 1) == 30


@pytest.mark.parametrize(
    ("state", "reason", "job", "is_destination", "copy"),
    [
        (RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, False, False, Copy.RUNNING),
        (RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, True, False, Copy.RUNNING_JOB),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, False, False, Copy.PAUSED_MIGRATION),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, True, False, Copy.PAUSED_MIGRATION_JOB),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, False, True, Copy.INCOMING),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, False, True, Copy.PAUSED_COMPLETE),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, False, False, Copy.PAUSED_BY_USER),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY, True, False, Copy.POST_COPY),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, True, False, Copy.POST_COPY_BROKEN),
        (RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, False, True, Copy.POST_COPY),
        (RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED, False, True, Copy.POST_COPY_BROKEN),
        (SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED, False, False, Copy.MIGRATED_AWAY),
        (SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, False, False, Copy.SHUT_OFF),
        (SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, False, False, Copy.SHUT_OFF),
        (SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, False, False, Copy.CRASHED),
    ],
)
def test_what_libvirts_states_mean(state: int, reason: int, job: bool, is_destination: bool, copy: Copy) -> None:
    assert observe.classify(state, reason, job, is_destination) is copy


def test_a_crash_is_told_from_a_shutdown() -> None:
    assert observe.power_state(SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED) is PowerState.CRASHED
    assert observe.power_state(SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN) is PowerState.SHUTDOWN
    assert observe.power_state(PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER) is PowerState.PAUSED


def test_only_libvirts_own_connections_are_cut() -> None:
    listing = (
        '0 0 10.97.0.1:50506 10.97.0.2:16509 users:(("python",pid=6717,fd=3))\n'
        '0 0 10.97.0.1:50510 10.97.0.2:16509 users:(("libvirtd",pid=10,fd=33))\n'
    )
    assert stuck_job.local_ports(listing) == [50510]


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("qemu+tcp://b/system", 16509),
        ("qemu+tls://b/system", 16514),
        ("qemu+tcp://b:1234/system", 1234),
        ("qemu+ssh://b/system", None),
    ],
)
def test_the_port_of_a_connection_uri(uri: str, port: int | None) -> None:
    assert stuck_job.port_of(uri) == port


# --- steering -----------------------------------------------------------------------------------------------------------


class Control:
    """What the manager wishes, and hears."""

    def __init__(self) -> None:
        self.journal = Journal()

    def report(self, progress: TransferProgress) -> None: ...

    def on_abort(self, callback: Callable[[], None]) -> None: ...

    def on_force_complete(self, callback: Callable[[], None]) -> None: ...


def looked(domain: FakeDomain, *wishes: str, settings: TransferSettings = SETTINGS) -> Journal:
    """One look at a transfer by its steering, with what its user wishes; its journal."""
    control = Control()
    steering = transfer.Steering(domain, settings, control, queue.SimpleQueue(), watch_end=False)  # type: ignore[arg-type]
    steering.end()
    steering.wait()
    steering._over = False
    for wish in wishes:
        getattr(steering, wish)()
    steering._look()
    return control.journal


def copying(state: State, disk_remaining: int = 1, memory_processed: int = 0) -> FakeHost:
    host = FakeHost("a", state, job=True)
    assert host.domain_here is not None
    host.domain_here.disk_remaining, host.domain_here.memory_processed = disk_remaining, memory_processed
    return host


@pytest.mark.parametrize(
    ("host", "wishes", "done"),
    [
        (copying(RUNS), ["force_complete"], ["suspend"]),
        (copying(RUNS), [], []),
        (copying(RUNS, disk_remaining=0), ["force_complete"], []),
        (copying(RUNS, memory_processed=1), ["force_complete"], []),
        (copying(PAUSED_BY_USER), ["force_complete"], []),
        (copying(RUNS), ["abort", "force_complete"], ["abort"]),
    ],
    ids=["forced", "not forced", "disks are copied", "memory goes already", "paused by its user", "aborted"],
)
def test_a_forced_guest_is_paused_while_its_disks_are_copied(host: FakeHost, wishes: list[str], done: list[str]) -> None:
    assert host.domain_here is not None
    journal = looked(host.domain_here, *wishes)
    assert host.done == done
    assert journal.has(transfer.HURRIED) is ("suspend" in done)


def test_a_pause_that_comes_after_the_end_of_the_transfer_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    host = copying(RUNS)
    domain = host.domain_here
    assert domain is not None
    suspend = domain.suspend

    def late() -> None:
        domain.job = False
        suspend()

    monkeypatch.setattr(domain, "suspend", late)
    looked(domain, "force_complete")
    assert host.done == ["suspend", "resume"]
