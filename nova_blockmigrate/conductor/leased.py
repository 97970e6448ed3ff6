"""One migration as a conductor holds it: its row, written only under the lease, and the hosts that do its jobs.

Each write is one transaction that also proves that the lease is still held: a conductor that lost it writes nothing more.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import checking, hosts
from nova_blockmigrate.conductor.plug_events import PlugEvents
from nova_blockmigrate.conductor.queue import SlotQueue
from nova_blockmigrate.conductor.server_ports import ServerPorts
from nova_blockmigrate.conductor.settings import server_of
from nova_blockmigrate.conductor.steps import Where
from nova_blockmigrate.conductor.volumes import ServerVolumes
from nova_blockmigrate.context import RequestContext, service_context
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import compute_nodes, instances, migrations, services
from nova_blockmigrate.objects import MigrationPlan, StepReport

JOB_WAIT_S = 2.0
Columns = dict[str, Any]


OVER: Columns = {"holds_slot": False, "owner": None, "lease_expires_at": None}
"""What every end sets."""


class LeaseLost(Exception):
    """Another conductor runs this migration now."""


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What all tasks of a conductor share."""

    conf: cfg.ConfigOpts
    owner: str
    computes: ComputeAPI
    stopping: threading.Event
    queue: SlotQueue
    checks: threading.Semaphore
    """How many migrations are checked at a time."""
    volumes: ServerVolumes
    ports: ServerPorts
    plugs: PlugEvents


class LeasedMigration:
    """The row of one migration, and its hosts."""

    def __init__(self, around: Surroundings, migration_id: int) -> None:
        self.around, self.conf, self.id = around, around.conf, migration_id

    # --- the row ----------------------------------------------------------------------------------------------------

    def read(self) -> models.Migration:
        with session.reader() as db:
            return migrations.get(db, self.id)

    def owned(self, db: orm.Session) -> models.Migration:
        """The row, with the lease renewed in this transaction.

        :raises LeaseLost: another conductor has it.
        """
        migration = migrations.get_owned(db, self.id, self.around.owner)
        if migration is None:
            raise LeaseLost
        migration.lease_expires_at = models.utcnow() + datetime.timedelta(seconds=self.conf.conductor.lease_time)
        return migration  # (the next statement of the transaction, or its end, writes that with whatever else changes)

    def write(self, **columns: Any) -> models.Migration:
        """Change columns, in a transaction of its own."""
        with session.writer() as db:
            self.owned(db)
            return migrations.update(db, self.id, **columns)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        """:raises hosts.Stopping: this conductor stops."""
        if self.around.stopping.wait(seconds):
            raise hosts.Stopping

    def ring(self) -> None:
        """A slot may be free: those who wait for one look again."""
        self.around.queue.ring()

    # --- hosts ------------------------------------------------------------------------------------------------------

    def ask(
        self,
        migration: models.Migration,
        where: Where,
        job: str,
        arguments: dict[str, Any],
        patience_s: float | None = -1,
        wait_s: float = JOB_WAIT_S,
        on_progress: Callable[[StepReport], None] = lambda report: None,
        instance: models.Instance | None = None,
    ) -> Any:
        """Have a host do a job; `patience_s` is the option's unless given, None means for ever. `instance`: the server's row, if
        it was read already.

        :raises LeaseLost: the host has heard of a newer lease.
        """
        host = migration.source_compute if where is Where.SOURCE else migration.dest_compute or ""
        plan = self.plan(migration, instance)
        context = self.context(migration)
        epoch = (len(migration.attempts or {}), migration.lease_epoch)

        def call() -> StepReport:
            return self.around.computes.run_migration_job(context, host, job, plan, arguments, wait_s, epoch)

        patience = self.conf.conductor.host_timeout if patience_s == -1 else patience_s
        try:
            return hosts.ask_until_done(hosts.Asking(host, job, call, self.around.stopping, patience, on_progress))
        except exceptions.LeaseSuperseded as error:
            raise LeaseLost from error

    def is_declared_dead(self, host: str | None) -> bool:
        """An operator has said, by forcing its compute service down, that a host does not run (Nova's fencing)."""
        with session.reader() as db:
            service = services.find(db, host or "", compute_nodes.COMPUTE_BINARY)
        return service is not None and service.forced_down

    def server(self, migration: models.Migration) -> models.Instance:
        """Its row as it is now; one that was deleted since has its mark."""
        with session.reader() as db:
            return instances.get(db, migration.instance_uuid, include_deleted=True)

    def plan(self, migration: models.Migration, instance: models.Instance | None = None) -> MigrationPlan:
        instance = instance or self.server(migration)
        return checking.plan_of(migration, server_of(instance), migration.dest_compute or "")

    def context(self, migration: models.Migration) -> RequestContext:
        return service_context(migration.request_id, migration.global_request_id)


def label(migration: models.Migration) -> str:
    """How log lines name a migration."""
    return f"[migration {migration.id} server {migration.instance_uuid}]"
