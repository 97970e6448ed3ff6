"""What the API asks of the conductors; any of them takes the message."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

from nova_blockmigrate import rpc
from nova_blockmigrate.context import RequestContext

CHECKS_TIMEOUT_S = 60
CONSOLE_TIMEOUT_S = 60
VOLUME_TIMEOUT_S = 60
ADOPT_TIMEOUT_S = 120
"""For the answer of one host about all its guests, and a row for each."""
PREFLIGHT_TIMEOUT_S = 60
"""Longer than `conductor.dry_run` takes at the most."""


class ConductorAPI:
    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = rpc.client(conf, rpc.CONDUCTOR_TOPIC)

    def live_migrate(self, context: RequestContext, migration_id: int) -> None:
        """Have a conductor run an accepted migration. A lost message only delays it: conductors look for such rows."""
        self._client.cast(context, "live_migrate", migration_id=migration_id)

    def live_migrate_after_checks(self, context: RequestContext, migration_id: int) -> None:
        """As `live_migrate`, but returns when the checks have passed.

        :raises exceptions.Invalid: (or another error with its code) a check failed; the server is as it was.
        """
        client = self._client.prepare(timeout=CHECKS_TIMEOUT_S)
        client.call(context, "live_migrate_after_checks", migration_id=migration_id)

    def abort_migration(self, context: RequestContext, migration_id: int) -> None:
        self._client.cast(context, "abort_migration", migration_id=migration_id)

    def force_complete(self, context: RequestContext, migration_id: int) -> None:
        self._client.cast(context, "force_complete", migration_id=migration_id)

    def preflight(self, context: RequestContext, server_uuid: str, host: str | None, block_migration: str) -> dict[str, Any]:
        """The report of all checks without a migration: {"hosts": [...]} (see `conductor.dry_run`)."""
        client = self._client.prepare(timeout=PREFLIGHT_TIMEOUT_S)
        report: dict[str, Any] = client.call(
            context, "preflight", server_uuid=server_uuid, host=host, block_migration=block_migration
        )
        return report

    def run_server_task(self, context: RequestContext, server_uuid: str) -> None:
        """Have a conductor do what the server's row in `server_tasks` says. A lost message only delays it."""
        self._client.cast(context, "run_server_task", server_uuid=server_uuid)

    def adopt(
        self, context: RequestContext, host: str, names: list[str], project_id: str, user_id: str, dry_run: bool
    ) -> list[dict[str, Any]] | None:
        """Make servers of guests of a host, by names or UUIDs (without any: of all); None: the host still looks, ask again.

        :raises exceptions.BlockMigrateError: nothing was adopted.
        """
        client = self._client.prepare(timeout=ADOPT_TIMEOUT_S)
        answer: list[dict[str, Any]] | None = client.call(
            context, "adopt", host=host, names=names, project_id=project_id, user_id=user_id, dry_run=dry_run
        )
        return answer

    def release_server(self, context: RequestContext, server: str) -> str:
        """Forget an adopted server, by its UUID or name; its guest goes on. Returns the UUID."""
        uuid: str = self._client.prepare(timeout=ADOPT_TIMEOUT_S).call(context, "release_server", server=server)
        return uuid

    def refresh_security_groups(self, context: RequestContext, group_ids: list[str], server_uuids: list[str]) -> None:
        """Have the hosts follow security groups whose rules or members have changed, and servers that have left them."""
        self._client.cast(context, "refresh_security_groups", group_ids=group_ids, server_uuids=server_uuids)

    def look_at_volume(self, context: RequestContext, server_uuid: str, volume_id: str) -> dict[str, Any]:
        """{"problem": why the volume cannot be had, "disks": names of the disks that the server has}

        :raises exceptions.VolumeNotFound:
        :raises exceptions.VolumeBackendError: the backend does not answer.
        :raises exceptions.ComputeServiceUnavailable: the server's host does not answer.
        """
        client = self._client.prepare(timeout=VOLUME_TIMEOUT_S)
        found: dict[str, Any] = client.call(context, "look_at_volume", server_uuid=server_uuid, volume_id=volume_id)
        return found

    def volume_problem(self, context: RequestContext, volume_id: str) -> str:
        """Why a volume cannot be had, in words; empty when it can.

        :raises exceptions.VolumeNotFound, exceptions.VolumeBackendError:
        """
        problem: str = self._client.call(context, "volume_problem", volume_id=volume_id)
        return problem

    def attach_volume(self, context: RequestContext, server_uuid: str, mapping_id: int) -> None:
        """A lost message delays it only until conductors look for what was left undone; then it is undone."""
        self._client.cast(context, "attach_volume", server_uuid=server_uuid, mapping_id=mapping_id)

    def detach_volume(self, context: RequestContext, server_uuid: str, mapping_id: int) -> None:
        self._client.cast(context, "detach_volume", server_uuid=server_uuid, mapping_id=mapping_id)

    def external_events(self, context: RequestContext, changed: list[str]) -> None:
        """Other services' words were written down. A lost message only delays what follows from a plugged port; what changed
        is read again at the next change."""
        self._client.cast(context, "external_events", changed=changed)

    def get_console_output(self, context: RequestContext, server_uuid: str, max_bytes: int) -> str:
        client = self._client.prepare(timeout=CONSOLE_TIMEOUT_S)
        output: str = client.call(context, "get_console_output", server_uuid=server_uuid, max_bytes=max_bytes)
        return output
