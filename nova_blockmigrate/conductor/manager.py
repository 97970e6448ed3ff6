"""What can be called on a conductor: the RPC endpoint. Its public methods are the whole list."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

from nova_blockmigrate import concurrency
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import dry_run as dry_runs
from nova_blockmigrate.conductor import firewall
from nova_blockmigrate.conductor.adoption import Adoption, Owner
from nova_blockmigrate.conductor.plug_events import PlugEvents
from nova_blockmigrate.conductor.power_states import take_in
from nova_blockmigrate.conductor.runner import MigrationRunner
from nova_blockmigrate.conductor.server_runner import ServerRunner
from nova_blockmigrate.conductor.servers import ServerTasks
from nova_blockmigrate.conductor.volumes import ServerVolumes
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import compute_nodes, migrations, services
from nova_blockmigrate.notifications import servers as notified
from nova_blockmigrate.notifications import services as notified_services
from nova_blockmigrate.objects import HostResources, MigrationStatus, PowerState, from_primitive


class ConductorManager:
    """Endpoint of the topic that all conductors share."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        runner: MigrationRunner,
        servers: ServerTasks,
        server_runner: ServerRunner,
        computes: ComputeAPI,
        volumes: ServerVolumes,
        plugs: PlugEvents,
    ) -> None:
        self._conf = conf
        self._runner = runner
        self._servers = servers
        self._server_runner = server_runner
        self._computes = computes
        self._volumes = volumes
        self._plugs = plugs

    # --- migrations -------------------------------------------------------------------------------------------------

    def live_migrate(self, context: RequestContext, migration_id: int) -> None:
        """Run an accepted migration, if no conductor does."""
        self._runner.start(migration_id)

    def live_migrate_after_checks(self, context: RequestContext, migration_id: int) -> None:
        """The same, but return when the checks are over.

        :raises BlockMigrateError: a check failed.
        """
        task = self._runner.start(migration_id)
        if task is None:
            return  # another conductor was faster: its findings are in the migration's row
        task.checked.wait()
        if task.check_error is not None:
            raise task.check_error

    @session.retried
    def abort_migration(self, context: RequestContext, migration_id: int) -> None:
        """Note the wish in the row, where the conductor that runs the migration sees it before each step, and tell the
        source's host, where a transfer may be running."""
        with session.writer() as db:
            migration = migrations.update(db, migration_id, abort_requested=True)
        notified.wish(context, migration, "live_migration_abort.start")
        self._runner.abort(context, migration)
        notified.wish(context, migration, "live_migration_abort.end")

    @session.retried
    def force_complete(self, context: RequestContext, migration_id: int) -> None:
        """Have a running transfer end now, whatever pause that costs the guest."""
        with session.writer() as db:
            migration = migrations.update(db, migration_id, force_complete_requested=True)
        if migration.status == MigrationStatus.RUNNING:
            notified.wish(context, migration, "live_migration_force_complete.start")
            self._runner.force_complete(context, migration)
            notified.wish(context, migration, "live_migration_force_complete.end")

    def preflight(self, context: RequestContext, server_uuid: str, host: str | None, block_migration: str) -> dict[str, Any]:
        """The report that a migration of the server would get, for `host` or for every other one. Changes nothing."""
        return dry_runs.preflight(self._conf, self._computes, self._volumes, context, server_uuid, host, block_migration)

    # --- servers ----------------------------------------------------------------------------------------------------

    def run_server_task(self, context: RequestContext, server_uuid: str) -> None:
        """Do what is to be done to a server, if no conductor does."""
        self._server_runner.start(server_uuid)

    def get_console_output(self, context: RequestContext, server_uuid: str, max_bytes: int) -> str:
        return self._servers.console(context, server_uuid, max_bytes)

    def refresh_security_groups(self, context: RequestContext, group_ids: list[str], server_uuids: list[str]) -> None:
        """Rules or members of security groups have changed: tell the hosts of the guests that they guard, and of these servers."""
        concurrency.spawn("refresh", firewall.refresh, self._computes, context, group_ids, server_uuids)

    @session.retried
    def is_under_way(self, context: RequestContext, migration_uuid: str, host: str) -> bool:
        """Whether a migration to `host` is not over and does not go back: only then may that let a copy run which it finds left."""
        with session.reader() as db:
            return migrations.is_under_way(db, migration_uuid, host)

    # --- volumes ----------------------------------------------------------------------------------------------------

    def look_at_volume(self, context: RequestContext, server_uuid: str, volume_id: str) -> dict[str, Any]:
        """What is to be known before a volume is given to a server."""
        return self._volumes.look(context, server_uuid, volume_id)

    def volume_problem(self, context: RequestContext, volume_id: str) -> str:
        """Why a new server could not have a volume, in words."""
        return self._volumes.find(context, volume_id, context.project_id).problem

    def attach_volume(self, context: RequestContext, server_uuid: str, mapping_id: int) -> None:
        concurrency.spawn("attach-volume", self._volumes.attach, context, server_uuid, mapping_id)

    def detach_volume(self, context: RequestContext, server_uuid: str, mapping_id: int) -> None:
        concurrency.spawn("detach-volume", self._volumes.detach, context, server_uuid, mapping_id)

    # --- guests that others made ------------------------------------------------------------------------------------

    def adopt(
        self, context: RequestContext, host: str, names: list[str], project_id: str, user_id: str, dry_run: bool
    ) -> list[dict[str, Any]] | None:
        """Make servers of guests of a host (see `Adoption.adopt`); None: ask again."""
        return Adoption(self._computes).adopt(context, host, names, Owner(project_id, user_id), dry_run)

    def release_server(self, context: RequestContext, server: str) -> str:
        """Forget an adopted server, by its UUID or name; its guest goes on. Returns the UUID."""
        return Adoption(self._computes).release(context, server)

    def external_events(self, context: RequestContext, changed: list[str]) -> None:
        """Other services' words were written down; `changed`: servers whose ports are not as they were."""
        self._plugs.arrived()
        for server_uuid in changed:
            concurrency.spawn("refresh-ports", self._servers.refresh_ports, context, server_uuid)

    # --- hosts ------------------------------------------------------------------------------------------------------

    def guests_of_host(self, context: RequestContext, host: str) -> list[dict[str, Any]]:
        """The servers on a host or on their way to it, with their interfaces and rules as they are now."""
        return firewall.guests_of(host)

    @session.retried
    def report_host(
        self,
        context: RequestContext,
        resources: dict[str, Any],
        migration_uuids: list[str],
        power_states: dict[str, int] | None = None,
    ) -> dict[str, dict[str, str | None]]:
        """A host lives. Returns those of the migrations it names that are over, with their final `status`, and the `host` that has
        the server now ("" when it was deleted since)."""
        typed = from_primitive(HostResources, resources)
        with session.writer() as db:
            service = services.report(db, typed.host, compute_nodes.COMPUTE_BINARY, models.utcnow())
            compute_nodes.report(db, typed)
            found = {uuid: PowerState(state) for uuid, state in (power_states or {}).items()}
            take_in(db, typed.host, found, models.utcnow())
            over = migrations.ends(db, migration_uuids)
        if service.report_count == 1:
            notified_services.changed(context, service, "create")
        return over
