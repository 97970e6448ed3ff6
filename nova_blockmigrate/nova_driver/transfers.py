"""The source's part: one transfer from Nova's arguments to a verdict, remembered on disk so that a restarted service goes on.

Knows nothing of Nova's objects: what of them must survive a restart comes as primitives and is given back as it came.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from oslo_log import log

from nova_blockmigrate import breakpoints, concurrency
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.compute.transfers import TransferControl
from nova_blockmigrate.exceptions import UnsafeRemoval
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    MigrationPlan,
    PreparedDestination,
    TransferOutcome,
    TransferProgress,
    Verdict,
    from_primitive,
    to_primitive,
)
from nova_blockmigrate.virt.driver import TRANSFER
from nova_blockmigrate.virt.libvirt import removal
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.migration import LiveMigration
from nova_blockmigrate.virt.libvirt.observe import observe
from nova_blockmigrate.virt.libvirt.transfer import TransferSettings

LOG = log.getLogger(__name__)

SOURCE, OUTCOME = "source", "outcome"
LOOK_AGAIN_S = 5.0
"""How long to let be what cannot be decided, before looking again."""
LIBVIRT_DONE_S = 30.0
GONE = (Copy.ABSENT, Copy.MIGRATED_AWAY, Copy.SHUT_OFF, Copy.CRASHED)


@dataclasses.dataclass(frozen=True)
class Task:
    """One transfer, as it is kept on disk."""

    plan: MigrationPlan
    guest: GuestDescription
    prepared: PreparedDestination
    uri: str
    """The destination's libvirt, as Nova's options name it."""
    flags: int
    """Nova's choice of VIR_MIGRATE_ flags."""
    luggage: dict[str, Any]
    """What of Nova's own is needed to end it, as primitives."""


@dataclasses.dataclass(frozen=True)
class Home:
    """A host on which a guest is said to be."""

    host: str
    uri: str


@dataclasses.dataclass
class _Active:
    """What this process knows of a transfer beside its record."""

    server_uuid: str
    control: TransferControl = dataclasses.field(default_factory=TransferControl)
    engine: LiveMigration | None = None
    is_decided: bool = False


class Transfers:
    """All transfers that leave this host, each by its migration: a guest may leave, come back, and leave again."""

    def __init__(self, host: Host, settings: TransferSettings, records: Records) -> None:
        self._host, self._settings, self._records = host, settings, records
        self._active: dict[str, _Active] = {}

    # --- running ----------------------------------------------------------------------------------------------------

    def run(self, task: Task) -> TransferOutcome:
        """Move the guest, up to and with the switch; blocks until it is decided where it is.

        :raises BlockMigrateError, OSError: it could not begin.
        """
        record = self._records.open(task.plan, SOURCE)
        record.keep("task", to_primitive(task))
        return self._run(task, record)

    def go_on(self, task: Task) -> TransferOutcome:
        """The same for one that this service began before it was restarted."""
        return self._run(task, self._records.open(task.plan, SOURCE))

    def _run(self, task: Task, record: HostRecord) -> TransferOutcome:
        active = self._active.setdefault(task.plan.migration_uuid, _Active(task.plan.server.uuid))
        active.control.journal = record
        outcome = self.decided(task) or self._decide(task, active.control, record)
        active.is_decided = True
        return outcome

    def _decide(self, task: Task, control: TransferControl, record: HostRecord) -> TransferOutcome:
        told = ""
        while True:
            outcome: TransferOutcome = concurrency.run_native(self._once, task, control)
            if outcome.verdict is not Verdict.UNDECIDED:
                break
            if outcome.reason != told:
                LOG.error("%s is undecided, nothing was started or destroyed: %s", task.plan.label, outcome.reason)
                told = outcome.reason
            concurrency.pause(LOOK_AGAIN_S)
        breakpoints.reached("transfer.decided")
        record.remember(OUTCOME, to_primitive(outcome))
        breakpoints.reached("transfer.kept")
        _log(task.plan, outcome)
        return outcome

    def _once(self, task: Task, control: TransferControl) -> TransferOutcome:
        destination = Host(task.uri, task.plan.destination_host)
        settings = dataclasses.replace(self._settings, uri=task.uri, live_flags=task.flags, block_flags=task.flags)
        migration = LiveMigration(self._host, destination, settings, task.plan, task.guest, task.prepared, control)
        self._active[task.plan.migration_uuid].engine = migration
        try:
            return migration.run()
        except Exception as error:  # whatever it was: once the guest may have moved it does not mean that it stayed
            if not control.journal.has(TRANSFER):
                raise
            LOG.exception("%s transfer could not be followed to its end", task.plan.label)
            return TransferOutcome(Verdict.UNDECIDED, str(error))
        finally:
            destination.close()

    # --- what others want to know, or want ----------------------------------------------------------------------------

    def knows(self, migration_uuid: str) -> bool:
        """Whether this host is the source of that migration, and its end is not all done: also after a restart."""
        record = self._records.get(migration_uuid)
        return record is not None and record.kept("role") == SOURCE

    def decided(self, task: Task) -> TransferOutcome | None:
        """What it came to; None: that is not known yet."""
        record = self._records.get(task.plan.migration_uuid)
        kept = record.kept(OUTCOME) if record is not None else None
        return from_primitive(TransferOutcome, kept) if kept is not None else None

    def abort(self, server_uuid: str, reason: str) -> bool:
        """Whether there is one that could be meant; one that is decided is past that."""
        for active in self._of(server_uuid):
            if not active.is_decided:
                active.control.abort(reason)
        return bool(self._of(server_uuid))

    def force_complete(self, server_uuid: str) -> bool:
        for active in self._of(server_uuid):
            if not active.is_decided:
                active.control.force_complete()
        return bool(self._of(server_uuid))

    def progress(self, server_uuid: str) -> TransferProgress | None:
        return next((active.control.progress() for active in self._of(server_uuid) if not active.is_decided), None)

    def _of(self, server_uuid: str) -> list[_Active]:
        return [active for active in list(self._active.values()) if active.server_uuid == server_uuid]

    # --- proof ------------------------------------------------------------------------------------------------------

    def has_left(self, task: Task, home: Home | None = None) -> bool:
        """Whether libvirt says that the guest is not here any more, and that of its home (the destination, if no other is named)
        that it is there: only then may what it left be deleted. Waits a little for libvirt, which is done later than the switch."""
        self._wait_for_libvirt(task)
        return concurrency.run_native(self._has_left, task, home or Home(task.plan.destination_host, task.uri))

    def is_gone(self, task: Task) -> bool:
        """Whether libvirt says that the guest is not here: enough when its server has no home any more."""
        self._wait_for_libvirt(task)
        return concurrency.run_native(observe, self._host, task.plan.server.uuid, False).copy in GONE

    def _wait_for_libvirt(self, task: Task) -> None:
        active = self._active.get(task.plan.migration_uuid)
        if active is not None and active.engine is not None:
            concurrency.run_native(active.engine.over.wait, LIBVIRT_DONE_S)

    def _has_left(self, task: Task, home: Home) -> bool:
        there = Host(home.uri, home.host)
        try:
            removal.refuse_unless_moved(self._host, there, task.plan)
        except UnsafeRemoval as error:
            LOG.warning("%s %s", task.plan.label, error)
            return False
        finally:
            there.close()
        breakpoints.reached("clean.proved")
        return True

    # --- remembering ------------------------------------------------------------------------------------------------

    def remembered(self, server_uuid: str = "") -> list[Task]:
        """Those that began and whose end is not all done: of one server, or of all."""
        records = [record for record in self._records.all().values() if record.kept("role") == SOURCE and record.kept("task")]
        tasks = [task for record in records if (task := _readable(record)) is not None]
        return [task for task in tasks if server_uuid in ("", task.plan.server.uuid)]

    def forget(self, task: Task) -> None:
        """Nova knows its end, and nothing of the guest is left here."""
        self._active.pop(task.plan.migration_uuid, None)
        self._records.close(task.plan.migration_uuid)


def _readable(record: HostRecord) -> Task | None:
    try:
        return from_primitive(Task, record.kept("task"))
    except Exception:  # whatever a damaged one makes of itself: it must not keep the service from starting
        LOG.exception("%s cannot be read: its live migration is not taken up", record.path)
        return None


def settings_of(options: Any) -> TransferSettings:
    """What Nova's options `[libvirt]` say about all transfers; where to and with which flags is said for each."""
    return TransferSettings(
        uri="",
        live_flags=0,
        block_flags=0,
        bandwidth_mib=options.live_migration_bandwidth,
        downtime_ms=options.live_migration_downtime,
        parallel_connections=options.live_migration_parallel_connections,
        timeout_s_per_gib=options.live_migration_completion_timeout,
        force_after_timeout=options.live_migration_timeout_action == "force_complete",
    )


def _log(plan: MigrationPlan, outcome: TransferOutcome) -> None:
    if outcome.verdict is Verdict.HANDED_OVER:
        LOG.info("%s handed over to %s, paused for %.0f ms", plan.label, plan.destination_host, outcome.paused_ms)
    else:
        LOG.warning("%s stays on %s: %s", plan.label, plan.source_host, outcome.reason)
