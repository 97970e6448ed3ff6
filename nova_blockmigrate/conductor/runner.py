"""The migrations that this conductor runs: takes leases, keeps them, takes over what nobody runs."""

from __future__ import annotations

import threading

from oslo_log import log

from nova_blockmigrate import concurrency, rpc
from nova_blockmigrate.conductor import identity
from nova_blockmigrate.conductor.leased import Surroundings
from nova_blockmigrate.conductor.live_migrate import LiveMigrateTask
from nova_blockmigrate.conductor.roll_back import ABORTED
from nova_blockmigrate.context import RequestContext, logged_for, service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import migrations

LOG = log.getLogger(__name__)


class MigrationRunner:
    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._lock = threading.Lock()
        self._tasks: dict[int, LiveMigrateTask] = {}

    def start(self, migration_id: int) -> LiveMigrateTask | None:
        """Run a migration if it is free; returns its task, also when it runs here already, or None."""
        with self._lock:
            if migration_id in self._tasks:
                return self._tasks[migration_id]
            if not self._take(migration_id):
                return None
            task = self._tasks[migration_id] = LiveMigrateTask(self._around, migration_id)
        concurrency.spawn(f"migration-{migration_id}", self._run, migration_id, task)
        return task

    def abort(self, context: RequestContext, migration: models.Migration) -> None:
        """Tell both hosts. Who does not hear it now is told by the row: before the next step, or when the source next says
        how far the transfer is."""
        for host in filter(None, (migration.source_compute, migration.dest_compute)):
            try:
                self._around.computes.abort_transfer(context, host, migration.uuid, ABORTED, migration.source_compute)
            except rpc.UNANSWERED as error:
                LOG.warning("[migration %d] %s was not told to abort: %s", migration.id, host, error)

    def force_complete(self, context: RequestContext, migration: models.Migration) -> None:
        """Tell the source's host. When it does not hear it now, the row tells it later."""
        try:
            self._around.computes.force_complete(context, migration.source_compute, migration.uuid)
        except rpc.UNANSWERED as error:
            LOG.warning("[migration %d] %s was not told to complete it: %s", migration.id, migration.source_compute, error)

    def take_over(self) -> None:
        """Run what no living conductor runs: new requests whose message was lost, and what a dead conductor left."""
        with session.reader() as db:
            free = migrations.ids_without_owner(db, models.utcnow())
        for migration_id in free:
            self.start(migration_id)

    def take_after_restart(self) -> None:
        """Leases of processes of this host that died need not run out first."""
        with session.writer() as db:
            for migration in migrations.unfinished(db):
                if migration.owner and identity.is_dead_here(migration.owner, self._around.conf.host):
                    with logged_for(service_context(migration.request_id, migration.global_request_id)):
                        LOG.warning("[migration %d] was left by %s, which is dead", migration.id, migration.owner)
                    migrations.release_lease(db, migration.id, migration.owner)
        self.take_over()

    def renew(self) -> None:
        """Keep the leases of what runs here; a task that lost its lease finds out at its next transaction."""
        with self._lock:
            running = list(self._tasks)
        if running:
            with session.writer() as db:
                migrations.renew_leases(db, running, self._around.owner, models.utcnow(), self._lease_s)

    def give_up(self) -> None:
        """This conductor stops: tasks end at their next call, and their leases are free at once."""
        self._around.stopping.set()
        self._around.queue.stop()
        with self._lock:
            running = list(self._tasks)
        for migration_id in running:
            with session.writer() as db:
                migrations.release_lease(db, migration_id, self._around.owner)

    @property
    def _lease_s(self) -> float:
        lease_s: float = self._around.conf.conductor.lease_time
        return lease_s

    @session.retried
    def _take(self, migration_id: int) -> bool:
        with session.writer() as db:
            return migrations.take_lease(db, migration_id, self._around.owner, models.utcnow(), self._lease_s)

    def _run(self, migration_id: int, task: LiveMigrateTask) -> None:
        try:
            task.run()
        except Exception:  # the border of a task: another try comes when its lease runs out
            LOG.exception("[migration %d] its task failed; it is taken up again", migration_id)
        finally:
            with self._lock:
                self._tasks.pop(migration_id, None)
