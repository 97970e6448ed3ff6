"""Two hosts whose libvirt is a dictionary: domains that are paused, resumed, destroyed, and say what was done to them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import libvirt

from nova_blockmigrate.exceptions import GuestNotFound, HypervisorError, HypervisorUnavailable
from nova_blockmigrate.objects import GuestDescription, MigrationPlan, PowerState, Server

UUID = "6e783272-31b5-4fdc-8828-2b8892daab39"
SERVER = Server(UUID, "instance-1", "lm001", 256, 1, 1, None)
PLAN = MigrationPlan(1, "migration", SERVER, "a", "b", True)
GUEST = GuestDescription(UUID, "instance-1", PowerState.RUNNING, 256, 1, (), True, "<domain/>")

RUNNING = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
PAUSED_BY_MIGRATION = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
PAUSED_BY_USER = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
MIGRATED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)
SHUT_DOWN = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
DESTROYED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
CRASHED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
State = tuple[int, int]


def error_of(code: int, words: str = "refused") -> libvirt.libvirtError:
    error = libvirt.libvirtError(words)
    error.err = (code, 0, words, 0, None, None, None, 0, 0)
    return error


class FakeDomain:
    """A domain. `job`: libvirt migrates it (away, at the source). `refuses`: names of methods that fail, with their errors."""

    def __init__(self, host: FakeHost, state: State, job: bool = False) -> None:
        self._host, self.now, self.job = host, state, job
        self.refuses: dict[str, libvirt.libvirtError] = {}
        self.starts_at_boot = 0
        self.disk_remaining, self.memory_processed = 0, 0

    def _do(self, what: str) -> None:
        self._host.look()
        self._host.done.append(what)
        if what in self.refuses:
            raise self.refuses[what]

    def name(self) -> str:
        return SERVER.domain_name

    def state(self) -> list[int]:
        self._host.look()
        return list(self.now)

    def jobStats(self) -> dict[str, Any]:
        self._host.look()
        if not self.job:
            return {"type": libvirt.VIR_DOMAIN_JOB_NONE}
        kinds = {"type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT}
        return kinds | {"disk_remaining": self.disk_remaining, "memory_processed": self.memory_processed}

    def suspend(self) -> None:
        self._do("suspend")
        self.now = PAUSED_BY_MIGRATION if self.job else PAUSED_BY_USER

    def resume(self) -> None:
        self._do("resume")
        self.now = RUNNING

    def destroy(self) -> None:
        self._do("destroy")
        self.now = DESTROYED

    def undefineFlags(self, _flags: int) -> None:
        self._do("undefine")
        self._host.domain_here = None

    def abortJob(self) -> None:
        self._do("abort")

    def migrateSetMaxDowntime(self, _limit_ms: int) -> None: ...

    def autostart(self) -> int:
        return self.starts_at_boot

    def setAutostart(self, value: int) -> None:
        self._do(f"autostart {value}")
        self.starts_at_boot = value


class FakeHost:
    """Stands for `virt.libvirt.host.Host`. `done`: what was done to its domain, in order."""

    uri = "qemu+tcp://host/system"

    def __init__(self, name: str, state: State | None = None, job: bool = False) -> None:
        self.name = name
        self.domain_here: FakeDomain | None = FakeDomain(self, state, job) if state else None
        self.reachable = True
        self.done: list[str] = []

    def look(self) -> None:
        if not self.reachable:
            raise error_of(libvirt.VIR_ERR_RPC, "connection closed")

    def find_domain(self, uuid: str, connection: Any = None) -> FakeDomain | None:
        if not self.reachable:
            raise HypervisorUnavailable(host=self.name, uri=self.uri, reason="connection closed")
        return self.domain_here

    def domain(self, uuid: str, name: str = "") -> FakeDomain:
        domain = self.find_domain(uuid)
        if domain is None:
            raise GuestNotFound(name=name or uuid, host=self.name)
        return domain

    @contextlib.contextmanager
    def errors(self, action: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_RPC:
                raise HypervisorUnavailable(host=self.name, uri=self.uri, reason=str(error)) from error
            raise HypervisorError(action=action, reason=str(error)) from error


class Journal:
    """What is marked, in order; `again` is what a restarted service would read."""

    def __init__(self, *marks: str) -> None:
        self.marks = list(marks)

    def mark(self, name: str) -> None:
        if name in self.marks:
            self.marks.remove(name)
        self.marks.append(name)

    def has(self, name: str) -> bool:
        return name in self.marks

    def latest(self, *names: str) -> str:
        return next((name for name in reversed(self.marks) if name in names), "")

    def again(self) -> Journal:
        return Journal(*json.loads(json.dumps(self.marks)))
