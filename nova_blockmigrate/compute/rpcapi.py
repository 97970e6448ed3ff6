"""What a conductor (or another compute service) asks of the compute service of a host.

Every call is short: `run_job` answers within `wait_s` with how far the job is, and is repeated until the job is over.

Versions: 1.1 added `epoch` to `run_migration_job`. A host that knows only 1.0 (it is upgraded after its conductors) is asked
without. 1.2 added `note_power_state`.
"""

from __future__ import annotations

import functools
from typing import Any

import oslo_messaging
from oslo_config import cfg

from nova_blockmigrate import rpc
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.objects import MigrationPlan, StepReport, from_primitive, to_primitive

VERSION, WITH_EPOCHS = "1.2", "1.1"
ANSWER_TIME_S = 5.0
"""What a host may take to answer a call, beyond the time that the call itself waits."""
DETAILS_TIME_S = 60.0
CONNECTIONS_TIME_S = 2.0
"""Connections that come later than this are of little use: the guest waits for them."""


class ComputeAPI:
    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = rpc.client(conf, rpc.COMPUTE_TOPIC)

    def _call(
        self, context: RequestContext, host: str, method: str, timeout_s: float, version: str = "1.0", **arguments: Any
    ) -> Any:
        client = self._client.prepare(server=host, timeout=timeout_s, version=version)
        return client.call(context, method, **arguments)

    def run_migration_job(
        self,
        context: RequestContext,
        host: str,
        job: str,
        plan: MigrationPlan,
        arguments: dict[str, Any],
        wait_s: float,
        epoch: tuple[int, int] | None = None,
    ) -> StepReport:
        """Start or find `job` of a migration on `host` (see `ComputeManager.migration_jobs`).

        `epoch`: attempt and lease of the conductor that asks; None for what may be asked by anybody.
        :raises exceptions.LeaseSuperseded: another conductor has taken the migration over, and has asked this host.
        """
        asked: dict[str, Any] = {"job": job, "plan": to_primitive(plan), "arguments": arguments, "wait_s": wait_s}
        call = functools.partial(self._call, context, host, "run_migration_job", wait_s + ANSWER_TIME_S)
        if epoch is None:
            return from_primitive(StepReport, call(**asked))
        try:
            return from_primitive(StepReport, call(version=WITH_EPOCHS, epoch=list(epoch), **asked))
        except (oslo_messaging.UnsupportedVersion, oslo_messaging.RemoteError) as error:  # (over a broker, it is the latter)
            if getattr(error, "exc_type", "UnsupportedVersion") != "UnsupportedVersion":
                raise
        return from_primitive(StepReport, call(**asked))

    def run_server_job(
        self, context: RequestContext, host: str, job: str, server: dict[str, Any], arguments: dict[str, Any], wait_s: float
    ) -> StepReport:
        """Start or find `job` of a server on `host` (see `ComputeManager.server_jobs`)."""
        answer = self._call(
            context,
            host,
            "run_server_job",
            wait_s + ANSWER_TIME_S,
            job=job,
            server=server,
            arguments=arguments,
            wait_s=wait_s,
        )
        return from_primitive(StepReport, answer)

    def find_guests(self, context: RequestContext, host: str, names: list[str], wait_s: float) -> StepReport:
        """Start or find a look at guests of `host`, whoever made them (see `ComputeManager.find_guests`)."""
        answer = self._call(context, host, "find_guests", wait_s + ANSWER_TIME_S, names=names, wait_s=wait_s)
        return from_primitive(StepReport, answer)

    def abort_transfer(self, context: RequestContext, host: str, migration_uuid: str, reason: str, source_host: str) -> None:
        """Call a migration off on `host`, its source or its destination."""
        arguments = {"migration_uuid": migration_uuid, "reason": reason, "source_host": source_host}
        self._call(context, host, "abort_transfer", ANSWER_TIME_S, **arguments)

    def force_complete(self, context: RequestContext, host: str, migration_uuid: str) -> None:
        self._call(context, host, "force_complete", ANSWER_TIME_S, migration_uuid=migration_uuid)

    def get_console_output(self, context: RequestContext, host: str, server: dict[str, Any], max_bytes: int) -> str:
        answer: str = self._call(context, host, "get_console_output", 30, server=server, max_bytes=max_bytes)
        return answer

    def get_volume_connector(self, context: RequestContext, host: str, detailed: bool) -> dict[str, Any]:
        """A `volume.api.Connector`; `detailed`: with all that os-brick says of the host, which has to be loaded there first."""
        if not detailed:
            return dict(self._call(context, host, "get_volume_connector", 10))
        return dict(self._call(context, host, "get_volume_connector", DETAILS_TIME_S, detailed=True))

    def list_disks(self, context: RequestContext, host: str, server: dict[str, Any]) -> list[str]:
        """Names of a guest's disks: vda, …"""
        names: list[str] = self._call(context, host, "list_disks", 10, server=server)
        return names

    def refresh_firewall(self, context: RequestContext, host: str, servers: list[dict[str, Any]]) -> None:
        """Have a host put the rules of its guests in force as they are now. May be repeated."""
        self._call(context, host, "refresh_firewall", ANSWER_TIME_S, servers=servers)

    def read_connections(self, context: RequestContext, host: str, server: dict[str, Any]) -> list[str]:
        """The connections that a guest has open, as its host knows them (see `network.connections`)."""
        answer: list[str] = self._call(context, host, "read_connections", CONNECTIONS_TIME_S, server=server)
        return answer

    def note_power_state(self, context: RequestContext, host: str, migration_uuid: str, power_state: int) -> None:
        """Tell the destination `host` what its user has the guest do, as it is not what the checks saw."""
        arguments = {"migration_uuid": migration_uuid, "power_state": power_state}
        self._call(context, host, "note_power_state", ANSWER_TIME_S, version=VERSION, **arguments)

    def serve_base(self, context: RequestContext, host: str, server: dict[str, Any], path: str) -> tuple[str, str]:
        """Have `host` serve a file that a server of it only reads; returns (token, URI)."""
        token, uri = self._call(context, host, "serve_base", 30, server=server, path=path)
        return token, uri

    def end_serve_base(self, context: RequestContext, host: str, token: str) -> None:
        self._client.prepare(server=host).cast(context, "end_serve_base", token=token)
