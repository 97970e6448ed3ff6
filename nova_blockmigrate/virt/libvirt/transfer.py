"""The transfer proper: `migrateToURI3` in a native thread of its own, and beside it one that reports progress and aborts.

How it ends is put into the migration's queue as ("returned", None or the error, time); what that means is decided in
`migration.py`. With VIR_MIGRATE_PEER2PEER the job lives in libvirt: when this process dies, the transfer goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import libvirt

from nova_blockmigrate.breakpoints import reached
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.objects import PreparedDestination, TransferProgress
from nova_blockmigrate.threads import Task
from nova_blockmigrate.virt.driver import TransferControl
from nova_blockmigrate.virt.libvirt.convergence import downtime_limit_ms
from nova_blockmigrate.virt.libvirt.handover import PAUSED_BY_USER
from nova_blockmigrate.virt.libvirt.observe import outgoing_job_is_active
from nova_blockmigrate.virt.libvirt.post_copy import is_half_moved
from nova_blockmigrate.virt.libvirt.yank import yank

GIB = 1024**3
HURRIED = "hurried"
"""Mark in the journal: we may have paused the guest to get its transfer to its end."""
_POST_COPY = int(libvirt.VIR_MIGRATE_POSTCOPY)
FIRST_LOOK_S = 0.1
ABORT_RETRY_S = 0.05
ABORT_LIMIT_S = 2.0
"""How long an accepted abort may take; then the connections are cut that it waits for."""
ANY_PAUSE_MS = 2_000_000
"""The longest downtime limit that QEMU takes: it switches at once, devices in order, without the guest being paused by us."""


@dataclasses.dataclass(frozen=True)
class TransferSettings:
    """What a host's configuration says about all transfers."""

    uri: str
    live_flags: int
    block_flags: int
    bandwidth_mib: int = 0
    downtime_ms: int = 500
    parallel_connections: int = 1
    native_tls: bool = False
    poll_interval_s: float = 0.5
    timeout_s_per_gib: int = 0
    timeout_s: int = 0
    force_after_timeout: bool = False

    def limit_s(self, moved_bytes: int) -> float | None:
        """How long a transfer of so many bytes may take; None: as long as it takes."""
        by_size = self.timeout_s_per_gib * max(1.0, moved_bytes / GIB)
        return min(filter(None, (by_size, float(self.timeout_s))), default=None)

    def flags(self, copied_disks: tuple[str, ...], is_paused: bool = False) -> int:
        """Flags of one transfer. NON_SHARED_INC with an empty list would copy every writable disk, network volumes, too."""
        chosen = self.block_flags if copied_disks else self.live_flags
        return chosen if self.switches_itself(is_paused) else chosen & ~_POST_COPY | int(libvirt.VIR_MIGRATE_PAUSED)

    def switches_itself(self, is_paused: bool) -> bool:
        """Whether libvirt lets the destination run: where post-copy is permitted, which a paused guest has no use for."""
        return bool(self.block_flags & _POST_COPY) and not is_paused

    def destination_uri(self, libvirt_host: str) -> str:
        return self.uri.replace("%s", bracketed(libvirt_host))


def bracketed(host: str) -> str:
    """A host as it stands in a URI."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def parameters(settings: TransferSettings, prepared: PreparedDestination) -> dict[str, Any]:
    """Typed parameters of `migrateToURI3`."""
    chosen: dict[str, Any] = {}
    if prepared.copied_disks:
        chosen[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(prepared.copied_disks)
    if prepared.transfer_address:
        chosen[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://{bracketed(prepared.transfer_address)}"
    if prepared.destination_xml:
        chosen[libvirt.VIR_MIGRATE_PARAM_DEST_XML] = prepared.destination_xml
        chosen[libvirt.VIR_MIGRATE_PARAM_PERSIST_XML] = prepared.destination_xml
    if settings.bandwidth_mib:
        chosen[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = settings.bandwidth_mib
    if settings.parallel_connections > 1:
        chosen[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = settings.parallel_connections
    if settings.native_tls:
        chosen[libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION] = prepared.libvirt_host
    return chosen


def start(domain: Any, uri: str, chosen: dict[str, Any], flags: int, queue: Any) -> Task:
    """Begin to migrate; the end comes through the queue."""

    def migrate() -> None:
        error: libvirt.libvirtError | None = None
        try:
            domain.migrateToURI3(uri, chosen, flags)
        except libvirt.libvirtError as raised:
            error = raised
        queue.put(("returned", error, native.time.time()))

    return Task("migrate", migrate)


def progress_of(job: dict[str, Any]) -> TransferProgress:
    """Progress from libvirt's job statistics."""
    return TransferProgress(
        memory_total_bytes=job.get("memory_total", 0),
        memory_processed_bytes=job.get("memory_processed", 0),
        memory_remaining_bytes=job.get("memory_remaining", 0),
        disk_total_bytes=job.get("disk_total", 0),
        disk_processed_bytes=job.get("disk_processed", 0),
        disk_remaining_bytes=job.get("disk_remaining", 0),
        memory_iteration=job.get("memory_iteration", 0),
        elapsed_s=job.get("time_elapsed", 0) / 1000,
    )


class Steering:
    """Beside a transfer: reports progress at each interval, sets the downtime limit, aborts or hurries when asked to.

    In a thread of its own, as each call may have to wait for libvirt. With `watch_end` (nobody waits in `migrateToURI3`)
    the end of the job is put into the queue as ("job over", None, time).
    """

    def __init__(
        self,
        domain: Any,
        settings: TransferSettings,
        control: TransferControl,
        queue: Any,
        watch_end: bool,
        limit_s: float | None = None,
        post_copy: bool = False,
    ) -> None:
        self._domain, self._settings, self._control, self._queue = domain, settings, control, queue
        self._watch_end, self._limit_s, self._post_copy = watch_end, limit_s, post_copy
        self._wake, self._over = native.threading.Event(), False
        self._abort_wanted = self._force_wanted = False
        self._aborted_at, self._abort_limit_s = 0.0, ABORT_LIMIT_S
        self._downtime_ms = 0
        self.aborted = False
        """libvirt has accepted an abort."""
        self.yanked = False
        """An abort did not come to its end by itself: what it waited for was cut."""
        self._hurried = False
        self.half_moved = False
        """It goes on by post-copy: nothing may end it any more, and nothing hurry it."""
        self.timed_out = ""
        """In words, when it has taken longer than it may."""
        self.last = TransferProgress()
        self._task = Task("steering", self._run)
        control.on_abort(self.abort)
        control.on_force_complete(self.force_complete)

    def abort(self, limit_s: float = ABORT_LIMIT_S) -> None:
        """Have the job aborted, by force when that takes longer than `limit_s` seconds; returns at once."""
        self._abort_limit_s = min(self._abort_limit_s, limit_s)
        self._abort_wanted = True
        self._wake.set()

    def force_complete(self) -> None:
        """Pause the guest until its disks are mirrored, and let QEMU switch then, whatever pause that needs; where post-copy is
        permitted, do that instead, as soon as the disks are mirrored. Returns at once."""
        self._force_wanted = True
        self._wake.set()

    def end(self) -> None:
        """Do nothing more; a call that is under way is not waited for."""
        self._over = True
        self._wake.set()

    def wait(self) -> None:
        self._task.wait()

    def _run(self) -> None:
        pause_s = self._pause_s()
        while not self._over:
            self._wake.wait(pause_s)
            self._wake.clear()
            if self._over:
                return
            with contextlib.suppress(libvirt.libvirtError):  # too early, or over: the transfer's own end tells
                self._look()
            pause_s = self._pause_s()

    def _pause_s(self) -> float:
        if self._abort_wanted and not self.aborted and not self.half_moved:
            return ABORT_RETRY_S
        if self.aborted and not self.yanked:
            left_s: float = self._aborted_at + self._abort_limit_s - native.time.monotonic()
            return max(0.0, left_s)
        # the first downtime limit must be there before the memory goes
        return self._settings.poll_interval_s if self._downtime_ms else min(FIRST_LOOK_S, self._settings.poll_interval_s)

    def _look(self) -> None:
        self.half_moved = self.half_moved or (self._post_copy and is_half_moved(self._domain))
        if self._abort_wanted and not self.aborted and not self.half_moved:
            self._domain.abortJob()
            self.aborted, self._aborted_at = True, native.time.monotonic()
        elif self.aborted and not self.yanked and native.time.monotonic() >= self._aborted_at + self._abort_limit_s:
            self.yanked = True
            self._queue.put(("yanked", None, native.time.time()))
            yank(self._domain)
        if self._watch_end and not self._job_goes_on():
            self._queue.put(("job over", None, native.time.time()))
        job = self._domain.jobStats()
        if job.get("type") == libvirt.VIR_DOMAIN_JOB_UNBOUNDED and not self._over:
            self.last = dataclasses.replace(progress_of(job), post_copy=self.half_moved)
            self._control.report(self.last)
            if self.last.disk_processed_bytes or self.last.memory_processed_bytes:
                reached("transfer.copying")
            if not self.half_moved:
                self._limit_time()
                self._hurry()

    def _limit_time(self) -> None:
        if self._limit_s is None or self.last.elapsed_s <= self._limit_s or self.timed_out:
            return
        self.timed_out = (
            f"the transfer was not over after {self._limit_s:.0f} s, the limit that [libvirt] live_migration_timeout or "
            "live_migration_completion_timeout sets for it"
        )
        if self._settings.force_after_timeout:
            self.force_complete()
        else:
            self.abort()

    def _job_goes_on(self) -> bool:
        try:
            return outgoing_job_is_active(self._domain)
        except libvirt.libvirtError:
            return False

    def _hurry(self) -> None:
        """Post-copy can begin when the disks are mirrored and memory goes; until then libvirt refuses it, or QEMU forgets it."""
        if self._force_wanted and self._post_copy:
            if self.last.memory_total_bytes:
                self._domain.migrateStartPostCopy()
        else:
            self._limit_downtime()
            self._pause_for_disks()

    def _limit_downtime(self) -> None:
        planned_ms = downtime_limit_ms(self._settings.downtime_ms, self.last.memory_iteration)
        limit_ms = ANY_PAUSE_MS if self._force_wanted else planned_ms
        if limit_ms != self._downtime_ms:
            self._domain.migrateSetMaxDowntime(limit_ms)
            self._downtime_ms = limit_ms

    def _pause_for_disks(self) -> None:
        """A guest that is forced to its end and may write faster than its disks are copied never gets there while it runs. In a
        migration libvirt lets it go on by itself: at the destination, or here when that fails. With memory under way, the limit
        of the downtime does it."""
        if not self._force_wanted or self._hurried or self._abort_wanted or not self._copies_disks:
            return
        if self._domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            return
        self._control.journal.mark(HURRIED)
        self._domain.suspend()
        self._hurried = True
        if tuple(self._domain.state()) == PAUSED_BY_USER:  # not in the migration: that has ended just before
            self._domain.resume()

    @property
    def _copies_disks(self) -> bool:
        return self.last.disk_remaining_bytes > 0 and not self.last.memory_processed_bytes
