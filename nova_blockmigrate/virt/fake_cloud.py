"""The world behind the fake driver: hosts, their guests' copies, disks and taps, in memory, and hooks for tests.

It sees all hosts at once, unlike any real part of the system, and so checks what must never happen: two running copies
of a guest, a disk deleted under its guest. Whoever breaks that gets an AssertionError, and so does the cloud's `alarms`.
What it does not know: RPC, managers, migrations' records. All state is guarded by `FakeCloud.changed`, a native
condition: drivers are called in native threads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from nova_blockmigrate import exceptions
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.objects import Copy, PowerState, Server, TransferOutcome

EXECUTING = frozenset({Copy.RUNNING, Copy.RUNNING_JOB})
GONE = frozenset({Copy.ABSENT, Copy.MIGRATED_AWAY})
HALF_MADE = frozenset({Copy.INCOMING, Copy.PAUSED_COMPLETE})
"""States of a destination's copy that never ran."""

_POWER_STATES = {
    Copy.RUNNING: PowerState.RUNNING,
    Copy.RUNNING_JOB: PowerState.RUNNING,
    Copy.PAUSED_MIGRATION: PowerState.PAUSED,
    Copy.PAUSED_MIGRATION_JOB: PowerState.PAUSED,
    Copy.INCOMING: PowerState.PAUSED,
    Copy.PAUSED_COMPLETE: PowerState.PAUSED,
    Copy.PAUSED_BY_USER: PowerState.PAUSED,
    Copy.SHUT_OFF: PowerState.SHUTDOWN,
    Copy.MIGRATED_AWAY: PowerState.SHUTDOWN,
    Copy.CRASHED: PowerState.CRASHED,
}


@dataclasses.dataclass
class FakeCopy:
    """One host's copy of a guest."""

    server: Server
    state: Copy
    memory: str = ""
    """What stands for the memory's content: it must arrive where the guest arrives."""
    saved: bool = False
    """Shut off with its memory on disk (suspended)."""
    volumes: dict[str, str] = dataclasses.field(default_factory=dict)
    """Names of the disks that are volumes, by the volume's id."""

    @property
    def power_state(self) -> PowerState:
        if self.saved:
            return PowerState.SUSPENDED
        return _POWER_STATES.get(self.state, PowerState.NOSTATE)


@dataclasses.dataclass
class FakeDisk:
    """A file of a host. `owner` is the guest's UUID; base images have none."""

    owner: str
    content: str
    size_bytes: int


@dataclasses.dataclass
class FakeTransfer:
    """A copying that goes on whether or not somebody watches it, as QEMU's does."""

    source: str
    destination: str
    total_s: float
    elapsed_s: float = 0.0
    watched_at: float = 0.0
    watcher: object = None
    outcome: TransferOutcome | None = None


class FakeHost:
    """One hypervisor host; made by `FakeCloud.host`. Public methods are the tests' hooks."""

    def __init__(self, cloud: FakeCloud, name: str) -> None:
        self.cloud = cloud
        self.name = name
        self.up = True
        self.memory_mib: int | None = None
        """Less or more memory than `[fake] memory_mib` says."""
        self.copies: dict[str, FakeCopy] = {}
        self.disks: dict[str, FakeDisk] = {}
        self.taps: dict[str, str] = {}
        self.held: dict[str, float] = {}
        self.reached: set[str] = set()
        self._faults: dict[str, list[Any]] = {}

    # --- hooks ------------------------------------------------------------------------------------------------------

    def fail(self, point: str, reason: str = "injected", times: int | None = None) -> None:
        """Have a driver method (or "handover") fail: always, or `times` times."""
        with self.cloud.changed:
            self._faults[point] = [reason, times]
            self.cloud.changed.notify_all()

    def heal(self, point: str) -> None:
        with self.cloud.changed:
            self._faults.pop(point, None)

    def hold(self, point: str, at: float = 0.5) -> None:
        """Stop whoever comes to a point: a driver method's begin, "handover" (source paused, nothing fenced yet), or
        "live_migration", where copying goes on up to the share `at` and no further, still open to an abort."""
        with self.cloud.changed:
            self.held[point] = at
            self.reached.discard(point)

    def release(self, point: str) -> None:
        with self.cloud.changed:
            self.held.pop(point, None)
            self.cloud.changed.notify_all()

    def wait_reached(self, point: str, timeout_s: float = 10.0) -> None:
        """Wait until a held point was come to.

        :raises TimeoutError: nobody came.
        """
        with self.cloud.changed:
            if not self.cloud.changed.wait_for(lambda: point in self.reached, timeout_s):
                raise TimeoutError(f"nobody came to {point} on {self.name} in {timeout_s} s")

    def resize(self, memory_mib: int | None) -> None:
        """Give the host another size; None: what the configuration says."""
        with self.cloud.changed:
            self.memory_mib = memory_mib

    def reset(self) -> None:
        """Take back what the hooks did to the host; guests stay as they are."""
        with self.cloud.changed:
            self.up, self.memory_mib = True, None
            self._faults.clear()
            self.held.clear()
            self.cloud.changed.notify_all()

    def stop(self) -> None:
        """Make the hypervisor unreachable. Its guests run on."""
        self._set_up(False)

    def start(self) -> None:
        self._set_up(True)

    def guest_powers_off(self, uuid: str) -> None:
        """The guest shuts down from inside."""
        with self.cloud.changed:
            self.cloud.set_state(self, uuid, Copy.SHUT_OFF)

    def guest_crashes(self, uuid: str) -> None:
        with self.cloud.changed:
            self.cloud.set_state(self, uuid, Copy.CRASHED)

    def guest_writes(self, uuid: str, content: str) -> None:
        """The guest changes its disk and its memory."""
        with self.cloud.changed:
            copy = self.copies[uuid]
            if copy.state not in EXECUTING:
                self.cloud.alarm(f"guest {uuid} writes on {self.name} without running ({copy.state})")
            copy.memory = content
            for disk in self.cloud.disks_of(self, uuid):
                disk.content = content

    # --- for the driver ---------------------------------------------------------------------------------------------

    def state_of(self, uuid: str) -> Copy:
        copy = self.copies.get(uuid)
        return copy.state if copy else Copy.ABSENT

    def fault(self, point: str) -> str:
        """Why `point` fails this time; empty when it does not. Counts."""
        fault = self._faults.get(point)
        if fault is None:
            return ""
        if fault[1] is not None:
            fault[1] -= 1
            if fault[1] <= 0:
                del self._faults[point]
        reason: str = fault[0]
        return reason

    def require_up(self) -> None:
        if not self.up:
            raise exceptions.HypervisorUnavailable(host=self.name, uri=f"fake://{self.name}", reason="the host was stopped")

    def come_to(self, point: str) -> None:
        """Note that `point` was reached and wait there while it is held. Call with `changed` held."""
        if point not in self.reached:
            self.reached.add(point)
            self.cloud.changed.notify_all()  # (to hundreds, where there are many hosts)
        self.cloud.changed.wait_for(lambda: point not in self.held)

    def _set_up(self, up: bool) -> None:
        with self.cloud.changed:
            self.up = up
            self.cloud.changed.notify_all()


class FakeCloud:
    """All fake hosts of a process."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.changed = native.threading.Condition()
        self.clock: Callable[[], float] = clock or native.time.monotonic
        self.hosts: dict[str, FakeHost] = {}
        self.transfers: dict[str, FakeTransfer] = {}
        self.deleted: set[str] = set()
        self.alarms: list[str] = []
        """Every broken invariant: a test's teardown looks here, as a manager may catch the AssertionError."""

    def host(self, name: str) -> FakeHost:
        with self.changed:
            if name not in self.hosts:
                self.hosts[name] = FakeHost(self, name)
            return self.hosts[name]

    def where(self, uuid: str) -> dict[str, Copy]:
        """Hosts that have a copy of the guest, and its state there."""
        with self.changed:
            return {name: host.copies[uuid].state for name, host in self.hosts.items() if uuid in host.copies}

    def alarm(self, what: str) -> None:
        """Note and raise a broken invariant."""
        self.alarms.append(what)
        raise AssertionError(what)

    # --- changes; call with `changed` held --------------------------------------------------------------------------

    def add_copy(self, host: FakeHost, copy: FakeCopy) -> None:
        host.copies[copy.server.uuid] = copy
        self._check_copies(copy.server.uuid)
        self.changed.notify_all()

    def set_state(self, host: FakeHost, uuid: str, state: Copy) -> None:
        host.copies[uuid].state = state
        self._check_copies(uuid)
        self.changed.notify_all()

    def remove_copy(self, host: FakeHost, uuid: str) -> None:
        host.copies.pop(uuid, None)
        self.changed.notify_all()

    def delete_disk(self, host: FakeHost, path: str) -> None:
        """Delete a guest's disk; one that is not there is fine."""
        disk = host.disks.get(path)
        if disk is None:
            return
        if host.state_of(disk.owner) not in GONE:
            self.alarm(f"{path} deleted on {host.name} while its guest is there ({host.state_of(disk.owner)})")
        if disk.owner not in self.deleted and not self._is_elsewhere(host, disk.owner):
            self.alarm(f"{path} deleted on {host.name} while its guest is nowhere else: its content is lost")
        del host.disks[path]

    def disks_of(self, host: FakeHost, uuid: str) -> list[FakeDisk]:
        return [disk for disk in host.disks.values() if disk.owner == uuid]

    def _is_elsewhere(self, host: FakeHost, uuid: str) -> bool:
        return any(
            other.state_of(uuid) not in GONE | HALF_MADE and self.disks_of(other, uuid)
            for other in self.hosts.values()
            if other is not host
        )

    def _check_copies(self, uuid: str) -> None:
        running = [host.name for host in self._having(uuid) if host.copies[uuid].state in EXECUTING]
        if len(running) > 1:
            self.alarm(f"guest {uuid} runs on {' and '.join(running)} at the same time")

    def _having(self, uuid: str) -> Iterator[FakeHost]:
        return (host for host in self.hosts.values() if uuid in host.copies)


_shared: FakeCloud | None = None


def shared() -> FakeCloud:
    """The cloud of this process, which drivers use unless they are given another."""
    global _shared
    if _shared is None:
        _shared = FakeCloud()
    return _shared
