"""The live-migrate task: takes one migration through its steps, or back.

Everything it knows is in the migration's row, so any conductor can go on where another one stopped (see `leased`). The way
back is in `roll_back`, the step in which the guest moves in `transferring`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import oslo_messaging
from oslo_db import exception as db_exception
from oslo_log import log
from sqlalchemy import exc, orm

from nova_blockmigrate import breakpoints, exceptions
from nova_blockmigrate.conductor import checking, hosts, steps
from nova_blockmigrate.conductor.finishing import Finishing
from nova_blockmigrate.conductor.leased import OVER, Columns, LeasedMigration, LeaseLost, Surroundings, label
from nova_blockmigrate.conductor.migration_ports import MigrationPorts
from nova_blockmigrate.conductor.roll_back import Failure, aborted, failing_by_volumes, roll_back, turn_back, vm_state
from nova_blockmigrate.conductor.steps import Step, Where
from nova_blockmigrate.conductor.transferring import Transferring
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, instances, migrations, rows
from nova_blockmigrate.notifications import servers
from nova_blockmigrate.objects import MigrationStatus, TransferOutcome, from_primitive, to_primitive

LOG = log.getLogger(__name__)
_DATABASE_ERRORS = (db_exception.DBError, exc.SQLAlchemyError)

RETRY_S = 2.0
"""Between two tries of a step that must succeed."""
EARLIER_LOOK_S = 0.5
"""Between two looks at an earlier migration of the same server."""
MOST_SURPRISES = 3
"""How often in a row a step may end in an error that nobody foresaw before the migration goes back, while it still can."""


class LiveMigrateTask:
    """One migration, run by this conductor while it holds the lease."""

    def __init__(self, surroundings: Surroundings, migration_id: int) -> None:
        self._conf = surroundings.conf
        self._around = surroundings
        self._id = migration_id
        self._leased = LeasedMigration(surroundings, migration_id)
        self._ports = MigrationPorts(self._leased)
        self._finishing = Finishing(self._leased, self._ports)
        self._surprises = 0
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
            migration = self._leased.read()
            self._leased.context(migration).update_store()  # not that of who happened to find it
            while not MigrationStatus(migration.status).is_final:
                migration = session.retried(self._next)(migration)  # (each step may be run again)
        except hosts.Stopping:
            LOG.info("[migration %d] left to another conductor: this one stops", self._id)
        except LeaseLost:
            LOG.warning("[migration %d] another conductor has taken it over", self._id)
        finally:
            self.checked.set()

    # --- one step after the other -------------------------------------------------------------------------------------

    def _next(self, migration: models.Migration) -> models.Migration:
        return roll_back(self._leased, migration) if migration.rolling_back else self._go_on(migration)

    def _go_on(self, migration: models.Migration) -> models.Migration:
        """Run the step that the row names."""
        step = steps.BY_NAME[migration.step]
        started = time.monotonic()
        breakpoints.reached(f"conductor.{step.name}.begin")
        try:
            if migration.abort_requested and step.may_be_skipped:
                raise aborted()
            columns = self._work[step.name](migration)
            breakpoints.reached(f"conductor.{step.name}.done")
        except (Failure, hosts.JobFailed) as error:
            if step.may_go_back:
                return turn_back(self._leased, migration, step, self._failure(step, error))
            return self._try_again(migration, step, str(error))
        except (hosts.Stopping, LeaseLost, *_DATABASE_ERRORS):
            raise  # of the migration they say nothing
        except Exception as error:  # the border of a step: whatever it was, its user hears of it, and it does not go on for ever
            LOG.exception("%s %s met with an error that was not foreseen", label(migration), step.name)
            return self._surprised(migration, step, error)
        self._surprises = 0
        return self._advance(step, columns, time.monotonic() - started)

    def _try_again(self, migration: models.Migration, step: Step, why: str) -> models.Migration:
        LOG.error("%s %s failed, trying again in %.0f s: %s", label(migration), step.name, RETRY_S, why)
        migration = self._leased.write(reason=why)
        self._leased.pause(RETRY_S)
        return migration

    def _surprised(self, migration: models.Migration, step: Step, error: Exception) -> models.Migration:
        """Before the transfer it goes back, if trying again does not help; in it and after it the guest may have moved."""
        self._surprises += 1
        why = f"{step.name}: {_in_words(error)}"
        if self._surprises < MOST_SURPRISES or not step.may_be_skipped:
            return self._try_again(migration, step, why)
        self._surprises = 0
        return turn_back(self._leased, migration, step, Failure(why))

    def _failure(self, step: Step, error: Failure | hosts.JobFailed) -> Failure:
        if isinstance(error, Failure):
            return error
        if step.may_be_skipped and self._leased.read().abort_requested:
            return aborted()  # that is why the host gave it up
        return Failure(str(error))

    def _advance(self, step: Step, columns: Columns, seconds: float) -> models.Migration:
        """One transaction: the step's results are written and the next step is next."""
        following = steps.after(step)
        with session.writer() as db:
            migration = self._leased.owned(db)
            columns |= {"step": following.name, "status": following.status.value}
            columns["timeline"] = migration.timeline | {step.name: round(seconds, 3)}
            if step.name == "record":
                _move_instance(db, migration, self._ports)
            if following.status.is_final:
                columns |= OVER
            host = _host_of(following, migration, columns) or self._conf.host
            migration = migrations.update(db, self._id, **columns)
            request = (migration.instance_uuid, migration.request_id)
            actions.next_event(db, *request, following.event, host, is_last=following.status.is_final)
        LOG.info("%s %s done in %.3f s, now %s", label(migration), step.name, seconds, migration.status)
        servers.step_done(migration, step.name)
        if migration.status == MigrationStatus.COMPLETED:
            self._leased.ring()
        return migration

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _check(self, migration: models.Migration) -> Columns:
        """Run all checks on the named host, or on one host after the other until one passes."""
        self._await_earlier(migration)
        while not self._around.checks.acquire(timeout=1.0):
            if self._around.stopping.is_set():
                raise hosts.Stopping
        try:
            return self._check_now()
        finally:
            self._around.checks.release()

    def _await_earlier(self, migration: models.Migration) -> None:
        """The server is active as soon as it has moved, while its last migration still finishes: what that one left at either
        host must be gone before this one begins."""
        told = False
        while (earlier := self._earlier(migration)) is not None:
            if self._leased.read().abort_requested:
                raise aborted()
            if not told:
                LOG.info("%s waits for migration %d of the same server", label(migration), earlier)
                self._leased.write(reason=f"It waits for migration {earlier} of the same server, which is not completed yet.")
            told = True
            self._leased.pause(EARLIER_LOOK_S)
        if told:
            self._leased.write(reason=None)

    def _earlier(self, migration: models.Migration) -> int | None:
        with session.reader() as db:
            return migrations.unfinished_before(db, migration)

    def _check_now(self) -> Columns:
        with session.writer() as db:
            migration = self._leased.owned(db)
            if migration.abort_requested:
                raise aborted()
            event = steps.BY_NAME["check"].event or ""
            actions.start_event(db, migration.instance_uuid, migration.request_id, event, self._conf.host)
        context = self._leased.context(migration)
        try:
            chosen = checking.choose_destination(self._conf, self._around.computes, self._around.volumes, context, migration)
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
        """Wait for a slot at both hosts."""
        self._around.queue.wait(self._id)
        if self._around.stopping.is_set():
            raise hosts.Stopping
        with session.writer() as db:
            migration = self._leased.owned(db)
            if not migration.holds_slot:
                raise aborted()  # nothing else takes it out of the queue while the lease holds
            self._ports.forget_events(db, migration)
        return {}

    def _prepare_destination(self, migration: models.Migration) -> Columns:
        with failing_by_volumes():
            self._around.volumes.give(self._leased.context(migration), migration.instance_uuid, migration.dest_compute or "")
        prepared = self._leased.ask(migration, Where.DESTINATION, "prepare_destination", {"guest": migration.guest})
        self._ports.await_plugged(migration, prepared)
        return {"prepared": prepared}

    def _transfer(self, migration: models.Migration) -> Columns:
        return Transferring(self._leased).to_the_end(migration)

    def _record(self, migration: models.Migration) -> Columns:
        """The work is `_move_instance`, in the transaction that also ends the step."""
        self._ports.tell_of_arrival(migration)
        return {"reason": None}

    def _finish_destination(self, migration: models.Migration) -> Columns:
        return self._finishing.finish_destination(migration)

    def _clean_source(self, migration: models.Migration) -> Columns:
        return self._finishing.clean_source(migration)


def _move_instance(db: orm.Session, migration: models.Migration, ports: MigrationPorts) -> None:
    """From here on users see the server on its new host."""
    outcome = from_primitive(TransferOutcome, migration.outcome)
    instance = instances.get(db, migration.instance_uuid)
    values = {
        "host": migration.dest_compute,
        "node": migration.dest_node,
        "task_state": None,
        "vm_state": vm_state(outcome.power_state).value,
        "power_state": int(outcome.power_state),
        "progress": 0,
        "network_info": ports.known_after(instance, migration),
    }
    rows.assign(db, instance, values)


def _in_words(error: Exception) -> str:
    """What an unforeseen error says; of one that a host sends, without its stack."""
    if isinstance(error, exceptions.BlockMigrateError):
        return error.message
    if isinstance(error, oslo_messaging.RemoteError):
        return f"{error.exc_type}: {error.value}"
    return f"{type(error).__name__}: {error}"


def _host_of(step: Step, migration: models.Migration, columns: Columns) -> str | None:
    if step.where is Where.SOURCE:
        return migration.source_compute
    if step.where is Where.DESTINATION:
        return columns.get("dest_compute") or migration.dest_compute
    return None
