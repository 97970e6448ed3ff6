"""The live-migrate task: takes one migration through its steps, or back.

Everything it knows is in the migration's row, so any conductor can go on where another one stopped. Each transition is
one transaction that also proves that the lease is still held: a conductor that lost it writes nothing more.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from oslo_log import log
from sqlalchemy import orm

from nova_blockmigrate import breakpoints, exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import checking, hosts, steps
from nova_blockmigrate.conductor.settings import server_of
from nova_blockmigrate.conductor.steps import Step, Where
from nova_blockmigrate.context import RequestContext, service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, instances, migrations
from nova_blockmigrate.objects import (
    MigrationPlan,
    MigrationStatus,
    PowerState,
    StepReport,
    TransferOutcome,
    TransferProgress,
    Verdict,
    VmState,
    from_primitive,
    to_primitive,
)

LOG = log.getLogger(__name__)

RETRY_S = 2.0
"""Between two tries of a step that must succeed, and between two looks at what is undecided."""
UNDO_PATIENCE_S = 5.0
"""How long a host may be silent before a roll back leaves it to clear itself when it reports again."""
JOB_WAIT_S = 10.0
ABORTED = "Aborted on request of its user."

Columns = dict[str, Any]


class LeaseLost(Exception):
    """Another conductor runs this migration now."""


class Failure(Exception):
    """A step failed. `outcome` is what the hosts know of the guest, when they were asked."""

    def __init__(self, reason: str, status: MigrationStatus = MigrationStatus.FAILED, **columns: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.columns = columns


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What all tasks of a conductor share."""

    conf: cfg.ConfigOpts
    owner: str
    computes: ComputeAPI
    stopping: threading.Event
    slot_released: threading.Condition


class LiveMigrateTask:
    """One migration, run by this conductor while it holds the lease."""

    def __init__(self, surroundings: Surroundings, migration_id: int) -> None:
        self._conf = surroundings.conf
        self._around = surroundings
        self._id = migration_id
        self._work: dict[str, Callable[[models.Migration], Columns]] = {
            "check": self._check,
            "queue": self._queue,
            "prepare_destination": self._prepare_destination,
            "transfer": self._transfer,
            "record": self._record,
            "finish_destination": self._finish_destination,
            "clean_source": self._clean_source,
        }
        self.checked = threading.Event()
        """Set when the checks are over, one way or the other."""
        self.check_error: exceptions.BlockMigrateError | None = None

    def run(self) -> None:
        """Until the migration is over, the lease is lost or this conductor stops."""
        try:
            migration = self._read()
            while not MigrationStatus(migration.status).is_final:
                migration = self._roll_back(migration) if migration.rolling_back else self._go_on(migration)
        except hosts.Stopping:
            LOG.info("[migration %d] left to another conductor: this one stops", self._id)
        except LeaseLost:
            LOG.warning("[migration %d] another conductor has taken it over", self._id)
        finally:
            self.checked.set()

    # --- forward ----------------------------------------------------------------------------------------------------

    def _go_on(self, migration: models.Migration) -> models.Migration:
        """Run the step that the row names."""
        step = steps.BY_NAME[migration.step]
        started = time.monotonic()
        breakpoints.reached(f"conductor.{step.name}.begin")
        try:
            if migration.abort_requested and step.may_go_back:
                raise _aborted()
            columns = self._work[step.name](migration)
            breakpoints.reached(f"conductor.{step.name}.done")
        except (Failure, hosts.JobFailed) as error:
            if step.may_go_back:
                return self._turn_back(migration, step, error)
            LOG.error("%s %s failed, trying again in %.0f s: %s", _label(migration), step.name, RETRY_S, error)
            self._pause(RETRY_S)
            return self._read()
        return self._advance(step, columns, time.monotonic() - started)

    def _advance(self, step: Step, columns: Columns, seconds: float) -> models.Migration:
        """One transaction: the step's results are written and the next step is next."""
        following = steps.after(step)
        with session.writer() as db:
            migration = self._owned(db)
            timeline = migration.timeline | {step.name: round(seconds, 3)}
            actions.end_open_events(db, migration.instance_uuid, migration.request_id, "Success")
            if step.name == "record":
                self._move_instance(db, migration)
            if following.status.is_final:
                columns |= self._over(db, migration, None)
            elif following.event:
                host = _host_of(following, migration, columns) or self._conf.host
                actions.start_event(db, migration.instance_uuid, migration.request_id, following.event, host)
            columns |= {"step": following.name, "status": following.status.value, "timeline": timeline}
            migration = migrations.update(db, self._id, **columns)
        LOG.info("%s %s done in %.3f s, now %s", _label(migration), step.name, seconds, migration.status)
        if migration.status == MigrationStatus.COMPLETED:
            self._ring()
        return migration

    def _check(self, migration: models.Migration) -> Columns:
        """Run all checks on the named host, or on one host after the other until one passes."""
        with session.writer() as db:
            self._owned(db)
            event = steps.BY_NAME["check"].event or ""
            actions.start_event(db, migration.instance_uuid, migration.request_id, event, self._conf.host)
        try:
            chosen = checking.choose_destination(self._around.conf, self._around.computes, self._context(migration), migration)
        except checking.NoDestination as error:
            self.check_error = error.error
            raise Failure(error.error.message, MigrationStatus.ERROR, report=error.report) from error
        self.checked.set()
        return {
            "dest_compute": chosen.node.host,
            "dest_node": chosen.node.hypervisor_hostname,
            "dest_host": chosen.node.host_ip,
            "guest": to_primitive(chosen.guest),
            "report": chosen.report.to_primitive(),
        }

    def _queue(self, migration: models.Migration) -> Columns:
        """Wait for a slot at both hosts; other conductors and this one release slots, only this one's ring."""
        limit = self._conf.max_concurrent_live_migrations
        while True:
            with session.writer() as db:
                self._owned(db)
                if migrations.claim_slot(db, self._id, limit):
                    return {}
            with self._around.slot_released:
                self._around.slot_released.wait(1.0)
            if self._around.stopping.is_set():
                raise hosts.Stopping
            if self._read().abort_requested:
                raise _aborted()

    def _prepare_destination(self, migration: models.Migration) -> Columns:
        prepared = self._ask(migration, Where.DESTINATION, "prepare_destination", {"guest": migration.guest})
        return {"prepared": prepared}

    def _transfer(self, migration: models.Migration) -> Columns:
        """Transfer and handover, as long as they take; what is undecided is looked at again."""
        arguments = {"guest": migration.guest, "prepared": migration.prepared}
        while True:
            answer = self._ask(
                migration,
                Where.SOURCE,
                "transfer",
                arguments,
                patience_s=None,
                wait_s=self._conf.libvirt.live_migration_poll_interval,
                on_progress=self._save_progress,
            )
            outcome = from_primitive(TransferOutcome, answer)
            columns = {"outcome": answer} | _counters(outcome.progress)
            if outcome.verdict is Verdict.HANDED_OVER:
                return columns
            if outcome.verdict is Verdict.STAYED:
                status = MigrationStatus.CANCELLED if outcome.cancelled else MigrationStatus.FAILED
                raise Failure(outcome.reason or "The guest stayed on its source.", status, **columns)
            LOG.error("%s undecided, looking again in %.0f s: %s", _label(migration), RETRY_S, outcome.reason)
            with session.writer() as db:
                self._owned(db)
                migrations.update(db, self._id, reason=outcome.reason)
            self._pause(RETRY_S)

    def _record(self, migration: models.Migration) -> Columns:
        """The work is `_move_instance`, in the transaction that also ends the step."""
        return {"reason": None}

    def _finish_destination(self, migration: models.Migration) -> Columns:
        answer = self._ask(migration, Where.DESTINATION, "finish_destination", {}, patience_s=None)
        return _final_counters(migration, from_primitive(TransferProgress, answer["progress"])) if answer["progress"] else {}

    def _clean_source(self, migration: models.Migration) -> Columns:
        self._ask(migration, Where.SOURCE, "clean_source", {"guest": migration.guest}, patience_s=None)
        return {}

    # --- back -------------------------------------------------------------------------------------------------------

    def _turn_back(self, migration: models.Migration, step: Step, error: Failure | hosts.JobFailed) -> models.Migration:
        """Note why, and that what was done is to be undone. From here on only `_roll_back` runs."""
        failure = error if isinstance(error, Failure) else Failure(str(error))
        LOG.warning("%s %s failed: %s", _label(migration), step.name, failure.reason)
        columns = failure.columns | {"rolling_back": True, "reason": failure.reason}
        columns["outcome"] = failure.columns.get("outcome") or to_primitive(
            TransferOutcome(
                Verdict.STAYED,
                reason=failure.reason,
                cancelled=failure.status is MigrationStatus.CANCELLED,
                power_state=PowerState.NOSTATE,
            )
        )
        with session.writer() as db:
            self._owned(db)
            actions.end_open_events(db, migration.instance_uuid, migration.request_id, "Error", failure.reason)
            if any(undone.where is Where.DESTINATION for undone in steps.undoing(step)):
                name = steps.ROLLBACK_EVENT
                actions.start_event(db, migration.instance_uuid, migration.request_id, name, migration.dest_compute)
            return migrations.update(db, self._id, **columns)

    def _roll_back(self, migration: models.Migration) -> models.Migration:
        """Undo the steps that ran, newest first, each of them whatever becomes of the others; then the end."""
        step = steps.BY_NAME[migration.step]
        breakpoints.reached("conductor.turned_back")
        for undone in steps.undoing(step):
            if undone.where is Where.CONDUCTOR or undone.undo is None:
                continue  # slots are released with the end itself
            try:
                self._ask(migration, undone.where, undone.undo, {}, patience_s=UNDO_PATIENCE_S)
            except hosts.JobFailed as error:
                LOG.error("%s %s: left to the host itself: %s", _label(migration), undone.undo, error)
        breakpoints.reached("conductor.undone")
        if self._may_try_another(migration, step):
            return self._try_another(migration)
        with session.writer() as db:
            migration = self._owned(db)
            actions.end_open_events(db, migration.instance_uuid, migration.request_id, "Success")
            self._free_instance(db, migration)
            columns = self._over(db, migration, migration.reason)
            status = _failed_status(migration, step)
            migration = migrations.update(db, self._id, status=status.value, **columns)
        LOG.warning("%s rolled back, %s: %s", _label(migration), migration.status, migration.reason)
        self._ring()
        return migration

    def _may_try_another(self, migration: models.Migration, step: Step) -> bool:
        """Whether another host may be tried: its user named none, did not call it off, and the guest goes on."""
        outcome = from_primitive(TransferOutcome, migration.outcome)
        return (
            step is not steps.FIRST
            and migration.requested_host is None
            and not (migration.abort_requested or outcome.cancelled)
            and outcome.power_state in (PowerState.NOSTATE, PowerState.RUNNING, PowerState.PAUSED)
            and len(migration.attempts or {}) < self._conf.migrate_max_retries
        )

    def _try_another(self, migration: models.Migration) -> models.Migration:
        """Begin again with the checks, without the host that failed."""
        tried = migration.dest_compute or ""
        with session.writer() as db:
            migration = self._owned(db)
            actions.end_open_events(db, migration.instance_uuid, migration.request_id, "Success")
            migration = migrations.update(
                db,
                self._id,
                step=steps.FIRST.name,
                status=steps.FIRST.status.value,
                attempts={**(migration.attempts or {}), tried: migration.reason},
                rolling_back=False,
                holds_slot=False,
                dest_compute=None,
                dest_node=None,
                dest_host=None,
                prepared=None,
                outcome=None,
            )
        LOG.warning("%s %s failed, trying another host: %s", _label(migration), tried, migration.reason)
        self._ring()
        return migration

    # --- the instance -----------------------------------------------------------------------------------------------

    def _move_instance(self, db: orm.Session, migration: models.Migration) -> None:
        """From here on users see the server on its new host."""
        outcome = from_primitive(TransferOutcome, migration.outcome)
        instances.update(
            db,
            migration.instance_uuid,
            host=migration.dest_compute,
            node=migration.dest_node,
            task_state=None,
            vm_state=_vm_state(outcome.power_state).value,
            power_state=int(outcome.power_state),
            progress=0,
        )

    def _free_instance(self, db: orm.Session, migration: models.Migration) -> None:
        """It stays where it is, in the state in which its user (or itself) left it."""
        values: Columns = {"task_state": None, "progress": 0}
        power_state = from_primitive(TransferOutcome, migration.outcome).power_state
        if power_state is not PowerState.NOSTATE:
            values |= {"power_state": int(power_state), "vm_state": _vm_state(power_state).value}
        instances.update(db, migration.instance_uuid, **values)

    def _over(self, db: orm.Session, migration: models.Migration, message: str | None) -> Columns:
        """What every end has in common; the columns that it sets."""
        actions.finish(db, migration.instance_uuid, migration.request_id, message)
        return {"holds_slot": False, "owner": None, "lease_expires_at": None}

    # --- asking hosts -----------------------------------------------------------------------------------------------

    def _ask(
        self,
        migration: models.Migration,
        where: Where,
        job: str,
        arguments: dict[str, Any],
        patience_s: float | None = -1,
        wait_s: float = JOB_WAIT_S,
        on_progress: Callable[[StepReport], None] = lambda report: None,
    ) -> Any:
        """Have a host do a job; `patience_s` is the option's unless given, None means for ever."""
        host = migration.source_compute if where is Where.SOURCE else migration.dest_compute or ""
        plan = self._plan(migration)
        context = self._context(migration)

        def call() -> StepReport:
            return self._around.computes.run_migration_job(context, host, job, plan, arguments, wait_s)

        patience = self._conf.conductor.host_timeout if patience_s == -1 else patience_s
        return hosts.ask_until_done(hosts.Asking(host, job, call, self._around.stopping, patience, on_progress))

    def _save_progress(self, report: StepReport) -> None:
        if report.progress is None:
            return
        with session.writer() as db:
            migration = self._owned(db)
            migrations.update(db, self._id, **_counters(report.progress))
            instances.update(db, migration.instance_uuid, progress=report.progress.percent)

    def _plan(self, migration: models.Migration) -> MigrationPlan:
        with session.reader() as db:
            instance = instances.get(db, migration.instance_uuid)
        return checking.plan_of(migration, server_of(instance), migration.dest_compute or "")

    def _context(self, migration: models.Migration) -> RequestContext:
        return service_context(migration.request_id)

    # --- the row ----------------------------------------------------------------------------------------------------

    def _read(self) -> models.Migration:
        with session.reader() as db:
            return migrations.get(db, self._id)

    def _owned(self, db: orm.Session) -> models.Migration:
        """The row, with the lease renewed in this transaction.

        :raises LeaseLost: another conductor has it.
        """
        if not migrations.renew_lease(db, self._id, self._around.owner, models.utcnow(), self._conf.conductor.lease_time):
            raise LeaseLost
        return migrations.get(db, self._id)

    def _pause(self, seconds: float) -> None:
        if self._around.stopping.wait(seconds):
            raise hosts.Stopping

    def _ring(self) -> None:
        with self._around.slot_released:
            self._around.slot_released.notify_all()


def _aborted() -> Failure:
    return Failure(ABORTED, MigrationStatus.CANCELLED)


def _failed_status(migration: models.Migration, step: Step) -> MigrationStatus:
    """Nova's statuses: error for failed checks, cancelled upon an abort, failed for all else."""
    if from_primitive(TransferOutcome, migration.outcome).cancelled:
        return MigrationStatus.CANCELLED
    return MigrationStatus.ERROR if step is steps.FIRST and not migration.attempts else MigrationStatus.FAILED


def _vm_state(power_state: PowerState) -> VmState:
    return {PowerState.RUNNING: VmState.ACTIVE, PowerState.PAUSED: VmState.PAUSED}.get(power_state, VmState.STOPPED)


def _counters(progress: TransferProgress) -> Columns:
    return {
        "memory_total": progress.memory_total_bytes,
        "memory_processed": progress.memory_processed_bytes,
        "memory_remaining": progress.memory_remaining_bytes,
        "disk_total": progress.disk_total_bytes,
        "disk_processed": progress.disk_processed_bytes,
        "disk_remaining": progress.disk_remaining_bytes,
    }


def _final_counters(migration: models.Migration, progress: TransferProgress) -> Columns:
    """The last figures that were read, or libvirt's own final ones where they say more (those lack the disks)."""
    last = _counters(progress)
    final = {name: max(getattr(migration, name) or 0, value) for name, value in last.items()}
    return final | {"memory_remaining": 0, "disk_remaining": 0}


def _host_of(step: Step, migration: models.Migration, columns: Columns) -> str | None:
    if step.where is Where.SOURCE:
        return migration.source_compute
    if step.where is Where.DESTINATION:
        return columns.get("dest_compute") or migration.dest_compute
    return None


def _label(migration: models.Migration) -> str:
    return f"[migration {migration.id} server {migration.instance_uuid}]"
