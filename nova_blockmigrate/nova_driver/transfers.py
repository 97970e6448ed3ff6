"""The source's part: one transfer from Nova's arguments to a verdict, remembered on disk so that a restarted service goes on.

Knows nothing of Nova's objects: what of them must survive a restart comes as primitives and is given back as it came.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.compute.transfers import TransferControl
from nova_blockmigrate.exceptions import UnsafeRemoval
from nova_blockmigrate.objects import (
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
from nova_blockmigrate.virt.libvirt.transfer import TransferSettings

LOG = log.getLogger(__name__)

SOURCE = "source"
LOOK_AGAIN_S = 5.0
"""How long to let be what cannot be decided, before looking again."""
LIBVIRT_DONE_S = 30.0


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


class Transfers:
    """All transfers that leave this host."""

    def __init__(self, host: Host, settings: TransferSettings, records: Records) -> None:
        self._host, self._settings, self._records = host, settings, records
        self._controls: dict[str, TransferControl] = {}
        self._running: dict[str, LiveMigration] = {}

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
        if (decided := record.kept("outcome")) is not None:
            outcome: TransferOutcome = from_primitive(TransferOutcome, decided)
            return outcome
        control = self._controls.setdefault(task.plan.server.uuid, TransferControl())
        control.journal = record
        told = ""
        while True:
            outcome = concurrency.run_native(self._once, task, control)
            if outcome.verdict is not Verdict.UNDECIDED:
                break
            if outcome.reason != told:
                LOG.error("%s is undecided, nothing was started or destroyed: %s", task.plan.label, outcome.reason)
                told = outcome.reason
            concurrency.pause(LOOK_AGAIN_S)
        record.remember("outcome", to_primitive(outcome))
        _log(task.plan, outcome)
        return outcome

    def _once(self, task: Task, control: TransferControl) -> TransferOutcome:
        destination = Host(task.uri, task.plan.destination_host)
        settings = dataclasses.replace(self._settings, uri=task.uri, live_flags=task.flags, block_flags=task.flags)
        migration = LiveMigration(self._host, destination, settings, task.plan, task.guest, task.prepared, control)
        self._running[task.plan.server.uuid] = migration
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

    def is_running(self, server_uuid: str) -> bool:
        return server_uuid in self._controls

    def abort(self, server_uuid: str, reason: str) -> bool:
        """Whether there was one to abort."""
        control = self._controls.get(server_uuid)
        if control is not None:
            control.abort(reason)
        return control is not None

    def force_complete(self, server_uuid: str) -> bool:
        control = self._controls.get(server_uuid)
        if control is not None:
            control.force_complete()
        return control is not None

    def progress(self, server_uuid: str) -> TransferProgress | None:
        control = self._controls.get(server_uuid)
        return control.progress() if control else None

    def has_left(self, task: Task) -> bool:
        """Whether libvirt says that the guest is not here any more, and the destination's that it is there: only then may what
        it left be deleted. Waits a little for libvirt, which is done later than the switch."""
        migration = self._running.get(task.plan.server.uuid)
        if migration is not None:
            concurrency.run_native(migration.over.wait, LIBVIRT_DONE_S)
        return concurrency.run_native(self._has_left, task)

    def _has_left(self, task: Task) -> bool:
        destination = Host(task.uri, task.plan.destination_host)
        try:
            removal.refuse_unless_moved(self._host, destination, task.plan)
        except UnsafeRemoval as error:
            LOG.warning("%s %s", task.plan.label, error)
            return False
        finally:
            destination.close()
        return True

    # --- remembering ------------------------------------------------------------------------------------------------

    def remembered(self) -> list[Task]:
        """Those that began and whose end Nova does not know."""
        kept = [record.kept("task") for record in self._records.all().values() if record.kept("role") == SOURCE]
        return [from_primitive(Task, task) for task in kept if task]

    def forget(self, task: Task) -> None:
        """Nova knows its end."""
        self._controls.pop(task.plan.server.uuid, None)
        self._running.pop(task.plan.server.uuid, None)
        self._records.close(task.plan.migration_uuid)


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
