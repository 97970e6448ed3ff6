"""What can be called on a compute service: the RPC endpoint of one host. Its public methods are the whole list."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency, exceptions
from nova_blockmigrate.compute import checks, firewall
from nova_blockmigrate.compute.epochs import Epochs
from nova_blockmigrate.compute.jobs import Jobs
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.migration import MigrationJobs
from nova_blockmigrate.compute.rpcapi import VERSION as RPC_VERSION
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.objects import MigrationPlan, PowerState, Server, VolumeConnection, from_primitive, to_primitive
from nova_blockmigrate.virt.driver import ComputeDriver

LOG = log.getLogger(__name__)

Primitive = dict[str, Any]


class ComputeManager:
    """Endpoint of one host."""

    target = oslo_messaging.Target(version=RPC_VERSION)

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        driver: ComputeDriver,
        host: str,
        jobs: Jobs,
        migrations: MigrationJobs,
        records: Records,
        epochs: Epochs,
    ) -> None:
        self._epochs = epochs
        self._conf = conf
        self._driver = driver
        self._host = host
        self._jobs = jobs
        self._migrations = migrations
        self._records = records
        self._served: dict[str, contextlib.ExitStack] = {}

    # --- migrations -------------------------------------------------------------------------------------------------

    def run_migration_job(
        self,
        context: RequestContext,
        job: str,
        plan: Primitive,
        arguments: Primitive,
        wait_s: float,
        epoch: list[int] | None = None,
    ) -> Primitive:
        """Start or find a job of a migration; answers within `wait_s` seconds with a StepReport.

        `epoch`: attempt and lease of the conductor that asks, since version 1.1.
        :raises exceptions.LeaseSuperseded: a conductor with a newer lease has asked before.
        """
        typed = from_primitive(MigrationPlan, plan)
        self._epochs.admit(typed.migration_uuid, (epoch[0], epoch[1]) if epoch else None)
        report = self._jobs.run(
            (typed.migration_uuid, job),
            functools.partial(self._migrations.run, context, job, typed, arguments),
            wait_s,
            functools.partial(self._migrations.progress, typed.migration_uuid),
        )
        return to_primitive(report)  # type: ignore[no-any-return]

    def abort_transfer(self, context: RequestContext, migration_uuid: str, reason: str, source_host: str) -> None:
        self._migrations.abort(migration_uuid, reason, source_host)

    def force_complete(self, context: RequestContext, migration_uuid: str) -> None:
        self._migrations.force_complete(migration_uuid)

    def note_power_state(self, context: RequestContext, migration_uuid: str, power_state: int) -> None:
        """The guest that comes here is paused, or runs, other than when this host prepared for it; since version 1.2."""
        self._migrations.note_power_state(migration_uuid, PowerState(power_state))

    def serve_base(self, context: RequestContext, server: Primitive, path: str) -> tuple[str, str]:
        """Serve a file that a guest of ours only reads to another host, until `end_serve_base`; returns (token, URI).

        :raises Invalid: it is no such file: nothing else of this host is shown to others.
        """
        typed = from_primitive(Server, server)
        guest = concurrency.run_native(self._driver.check_can_live_migrate_source, typed)
        if path not in guest.readable_paths:
            raise exceptions.Invalid(f"{path} is not served to other hosts: it is not what server {typed.uuid} only reads.")
        address = self._conf.libvirt.live_migration_inbound_addr or self._conf.my_ip
        stack = contextlib.ExitStack()
        uri = concurrency.run_native(stack.enter_context, self._driver.serve_base(path, address))
        token = str(uuid.uuid4())
        self._served[token] = stack
        return token, uri

    def end_serve_base(self, context: RequestContext, token: str) -> None:
        stack = self._served.pop(token, None)
        if stack is not None:
            concurrency.run_native(stack.close)

    # --- servers ----------------------------------------------------------------------------------------------------

    def run_server_job(
        self, context: RequestContext, job: str, server: Primitive, arguments: Primitive, wait_s: float
    ) -> Primitive:
        """Start or find a job of a server; answers within `wait_s` seconds with a StepReport of its power state."""
        typed = from_primitive(Server, server)
        work = functools.partial(self._run_server_job, job, typed, arguments)
        return to_primitive(self._jobs.run((typed.uuid, job), work, wait_s))  # type: ignore[no-any-return]

    def refresh_firewall(self, context: RequestContext, servers: list[Primitive]) -> None:
        """Put the rules of guests in force as they are now; those that are not here are passed over."""
        firewall.refresh(self._driver, servers)

    def read_connections(self, context: RequestContext, server: Primitive) -> list[str]:
        """The connections that a guest has open, for the host that it has gone to."""
        return concurrency.run_native(self._driver.read_connections, from_primitive(Server, server))

    def find_guests(self, context: RequestContext, names: list[str], wait_s: float) -> Primitive:
        """Look at guests by their names or UUIDs (without any: all), whoever made them; answers within `wait_s` seconds with a
        StepReport of `checks.look_at_guests`."""
        work = functools.partial(concurrency.run_native, checks.look_at_guests, self._driver, tuple(names))
        return to_primitive(self._jobs.run((" ".join(names), "find_guests"), work, wait_s))  # type: ignore[no-any-return]

    def get_console_output(self, context: RequestContext, server: Primitive, max_bytes: int) -> str:
        output = concurrency.run_native(self._driver.get_console_output, from_primitive(Server, server), max_bytes)
        return output.decode(errors="replace")

    def get_volume_connector(self, context: RequestContext, detailed: bool = False) -> Primitive:
        """What a volume backend must know of this host, to let it in; `detailed`: with all that os-brick says of it."""
        return to_primitive(concurrency.run_native(self._driver.get_volume_connector, detailed))  # type: ignore[no-any-return]

    def list_disks(self, context: RequestContext, server: Primitive) -> list[str]:
        """Names of a guest's disks: vda, …"""
        return concurrency.run_native(self._driver.list_disks, from_primitive(Server, server))

    def _run_server_job(self, job: str, server: Server, arguments: Primitive) -> int:
        driver = self._driver
        work: Callable[[], Any]
        match job:
            case "build":
                work = functools.partial(driver.spawn, server, self._records.of_server(server.uuid))
            case "delete":
                return self._delete(server)
            case "adopt":
                work = functools.partial(self._adopt, server)
            case "release":
                work = functools.partial(self._records.close_server, server.uuid)
            case "start":
                work = functools.partial(driver.power_on, server)
            case "stop":
                work = functools.partial(driver.power_off, server, self._conf.shutdown_timeout)
            case "reboot":
                work = functools.partial(driver.reboot, server, bool(arguments.get("hard")))
            case "attach_volume" | "detach_volume":
                connection = from_primitive(VolumeConnection, arguments["connection"])
                work = functools.partial(getattr(driver, job), server, connection, self._records.of_server(server.uuid))
            case "pause" | "unpause" | "suspend" | "resume":
                work = functools.partial(getattr(driver, job), server)
            case _:
                raise exceptions.Invalid(f"Compute service of {self._host} does not know the job {job!r}.")
        concurrency.run_native(work)
        LOG.info("[server %s] %s done", server.uuid, job)
        return int(concurrency.run_native(driver.get_info, server))

    def _adopt(self, server: Server) -> None:
        for words in self._driver.adopt(server, self._records.of_server(server.uuid)):
            LOG.info("[server %s] %s", server.uuid, words)

    def _delete(self, server: Server) -> int:
        left = concurrency.run_native(self._driver.destroy, server, self._records.of_server(server.uuid))
        for words in left:
            LOG.warning("[server %s] %s", server.uuid, words)
        self._records.close_server(server.uuid)
        LOG.info("[server %s] deleted", server.uuid)
        return int(PowerState.NOSTATE)
