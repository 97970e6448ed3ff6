"""The way back: what the steps of a migration did is undone, and the guest goes on where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import oslo_messaging
from oslo_log import log
from sqlalchemy import orm

from nova_blockmigrate import breakpoints, exceptions
from nova_blockmigrate.conductor import hosts, steps
from nova_blockmigrate.conductor.leased import OVER, Columns, LeasedMigration, label
from nova_blockmigrate.conductor.steps import Step, Where
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, instances, migrations
from nova_blockmigrate.notifications import servers
from nova_blockmigrate.objects import (
    MigrationStatus,
    PowerState,
    TransferOutcome,
    Verdict,
    VmState,
    from_primitive,
    to_primitive,
)

LOG = log.getLogger(__name__)

UNDO_PATIENCE_S = 5.0
"""How long a host may be silent before a roll back leaves it to clear itself when it reports again."""
ABORTED = "Aborted on request of its user."


class Failure(Exception):
    """A step failed. `columns`: what the row is to keep of that."""

    def __init__(self, reason: str, status: MigrationStatus = MigrationStatus.FAILED, **columns: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.columns = columns


@contextlib.contextmanager
def failing_by_volumes() -> Iterator[None]:
    """What the volume backend refuses fails the step."""
    try:
        yield
    except exceptions.BlockMigrateError as error:
        raise Failure(error.message) from error


def aborted() -> Failure:
    """The failure that its user wished for."""
    return Failure(ABORTED, MigrationStatus.CANCELLED)


def turn_back(leased: LeasedMigration, migration: models.Migration, step: Step, failure: Failure) -> models.Migration:
    """Note why, and that what was done is to be undone. From here on only `roll_back` runs."""
    LOG.warning("%s %s failed: %s", label(migration), step.name, failure.reason)
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
        leased.owned(db)
        actions.end_open_events(db, migration.instance_uuid, migration.request_id, "Error", failure.reason)
        if _undone_at_destination(step):
            name = steps.ROLLBACK_EVENT
            actions.start_event(db, migration.instance_uuid, migration.request_id, name, migration.dest_compute)
        migration = migrations.update(db, migration.id, **columns)
    _tell_of_the_turn(leased, migration, step, failure)
    return migration


def _tell_of_the_turn(leased: LeasedMigration, migration: models.Migration, step: Step, failure: Failure) -> None:
    host = {Where.SOURCE: migration.source_compute, Where.DESTINATION: migration.dest_compute}.get(step.where)
    where = f"{servers.COMPUTE}:{host}" if host else f"{servers.CONDUCTOR}:{leased.conf.host}"
    servers.rolling_back(migration, _undone_at_destination(step), where, failure)


def _undone_at_destination(step: Step) -> bool:
    return any(undone.where is Where.DESTINATION for undone in steps.undoing(step))


def roll_back(leased: LeasedMigration, migration: models.Migration) -> models.Migration:
    """Undo the steps that ran, newest first, each of them whatever becomes of the others; then the end, or another host."""
    step = steps.BY_NAME[migration.step]
    breakpoints.reached("conductor.turned_back")
    for undone in steps.undoing(step):
        if undone.where is Where.CONDUCTOR or undone.undo is None:
            continue  # slots are released with the end itself
        try:
            leased.ask(migration, undone.where, undone.undo, {}, patience_s=UNDO_PATIENCE_S)
        except (hosts.JobFailed, oslo_messaging.RemoteError) as error:
            LOG.error("%s %s: left to the host itself: %s", label(migration), undone.undo, error)
        if undone.where is Where.DESTINATION:
            leased.write()  # (volumes have no leases: a conductor that lost its own must not touch them)
            _take_volumes(leased, migration)
    breakpoints.reached("conductor.undone")
    if _may_try_another(leased, migration, step):
        return _try_another(leased, migration)
    with session.writer() as db:
        migration = leased.owned(db)
        actions.end_open_events(db, migration.instance_uuid, migration.request_id, "Success")
        _free_instance(db, migration)
        actions.finish(db, migration.instance_uuid, migration.request_id, migration.reason)
        status = _failed_status(migration, step)
        migration = migrations.update(db, migration.id, status=status.value, **OVER)
    servers.rolled_back(migration, migration.dest_compute if _undone_at_destination(step) else None)
    LOG.warning("%s rolled back, %s: %s", label(migration), migration.status, migration.reason)
    leased.ring()
    return migration


def _take_volumes(leased: LeasedMigration, migration: models.Migration) -> None:
    """The destination's rights to the guest's volumes end, whether it cleared itself or not."""
    try:
        leased.around.volumes.take(migration.instance_uuid, migration.dest_compute or "")
    except exceptions.BlockMigrateError as error:
        LOG.error("%s rights to volumes are ended later: %s", label(migration), error)


def _may_try_another(leased: LeasedMigration, migration: models.Migration, step: Step) -> bool:
    """Whether another host may be tried: its user named none, did not call it off, and the guest goes on."""
    outcome = from_primitive(TransferOutcome, migration.outcome)
    return (
        step is not steps.FIRST
        and migration.requested_host is None
        and not (migration.abort_requested or outcome.cancelled)
        and outcome.power_state in (PowerState.NOSTATE, PowerState.RUNNING, PowerState.PAUSED)
        and len(migration.attempts or {}) < leased.conf.migrate_max_retries
    )


def _try_another(leased: LeasedMigration, migration: models.Migration) -> models.Migration:
    """Begin again with the checks, without the host that failed."""
    tried = migration.dest_compute or ""
    columns: Columns = dict.fromkeys(("dest_compute", "dest_node", "dest_host", "prepared", "outcome"))
    with session.writer() as db:
        migration = leased.owned(db)
        actions.end_open_events(db, migration.instance_uuid, migration.request_id, "Success")
        migration = migrations.update(
            db,
            migration.id,
            step=steps.FIRST.name,
            status=steps.FIRST.status.value,
            attempts={**(migration.attempts or {}), tried: migration.reason},
            rolling_back=False,
            holds_slot=False,
            **columns,
        )
    servers.rolled_back(migration, tried)
    LOG.warning("%s %s failed, trying another host: %s", label(migration), tried, migration.reason)
    leased.ring()
    return migration


def _free_instance(db: orm.Session, migration: models.Migration) -> None:
    """It stays where it is, in the state in which its user (or itself) left it."""
    values: Columns = {"task_state": None, "progress": 0}
    power_state = from_primitive(TransferOutcome, migration.outcome).power_state
    if power_state is not PowerState.NOSTATE:
        values |= {"power_state": int(power_state), "vm_state": vm_state(power_state).value}
    instances.update(db, migration.instance_uuid, **values)


def vm_state(power_state: PowerState) -> VmState:
    """The state of a server whose guest is in `power_state`."""
    return {PowerState.RUNNING: VmState.ACTIVE, PowerState.PAUSED: VmState.PAUSED}.get(power_state, VmState.STOPPED)


def _failed_status(migration: models.Migration, step: Step) -> MigrationStatus:
    """Nova's statuses: error for failed checks, cancelled upon an abort, failed for all else."""
    if from_primitive(TransferOutcome, migration.outcome).cancelled:
        return MigrationStatus.CANCELLED
    return MigrationStatus.ERROR if step is steps.FIRST and not migration.attempts else MigrationStatus.FAILED
