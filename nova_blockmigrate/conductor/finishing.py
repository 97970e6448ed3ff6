"""What is left to do when a guest has moved: it is finished at its new host, and its old host is cleaned.

Nothing of that goes back, and none of it may hold others up for ever: a host that is silent is named in the migration's reason,
its slots are given back, and what it missed it makes up for when it reports again. Meanwhile its user may have deleted the server.
"""

from __future__ import annotations

from typing import Any

from oslo_log import log

from nova_blockmigrate.conductor import hosts
from nova_blockmigrate.conductor.leased import Columns, LeasedMigration, label
from nova_blockmigrate.conductor.migration_ports import MigrationPorts
from nova_blockmigrate.conductor.roll_back import failing_by_volumes
from nova_blockmigrate.conductor.steps import Where
from nova_blockmigrate.conductor.transferring import final_counters
from nova_blockmigrate.db import models
from nova_blockmigrate.objects import TransferProgress, from_primitive

LOG = log.getLogger(__name__)

NAMED_AFTER_S = 10.0
"""How long a host may be silent before the migration's reason names it."""
PATIENCE_S = 60.0
"""How long it may be silent before nobody waits for it: neither a slot nor, where it is the source, the migration."""


class Finishing:
    """The steps after the switch, of one migration."""

    def __init__(self, leased: LeasedMigration, ports: MigrationPorts) -> None:
        self._leased, self._ports = leased, ports
        self._volumes = leased.around.volumes

    def finish_destination(self, migration: models.Migration) -> Columns:
        """
        :raises hosts.HostSilent: the guest's host does not answer, and nobody has said that it is dead.
        """
        server = self._leased.server(migration)
        if _home(server) != migration.dest_compute:
            return self._forget_destination(migration, _home(server))
        try:
            answer = self._ask(migration, server, Where.DESTINATION, "finish_destination", {})
        except hosts.HostSilent as silence:
            if not self._leased.is_declared_dead(migration.dest_compute):
                raise
            return _left(migration, f"{silence} Its service is forced down: the rest is done when it reports again.")
        with failing_by_volumes():
            self._volumes.complete(migration.instance_uuid, migration.dest_compute or "")
        figures = answer["progress"]
        return {"reason": None} | (final_counters(migration, from_primitive(TransferProgress, figures)) if figures else {})

    def clean_source(self, migration: models.Migration) -> Columns:
        """A source that stays away cleans itself when it reports again; nobody, and no slot, waits for that."""
        reason, server = None, self._leased.server(migration)
        try:
            self._ask(migration, server, Where.SOURCE, "clean_source", {"guest": migration.guest, "home": _home(server)})
        except hosts.HostSilent as silence:
            reason = f"{silence} It clears what the guest left there when it reports again."
            self._ports.tell_of_departure(migration)
        except hosts.JobFailed as error:
            if not self._leased.is_declared_dead(migration.dest_compute):
                raise
            reason = f"{migration.source_compute} keeps the guest's disks until it is seen on {migration.dest_compute}: {error}"
        with failing_by_volumes():
            self._volumes.take(migration.instance_uuid, migration.source_compute)
        return _left(migration, reason) if reason else {}

    def _forget_destination(self, migration: models.Migration, home: str) -> Columns:
        """The server was deleted, or is elsewhere by now: there is nothing to finish, but what was written down for it."""
        try:
            self._leased.ask(migration, Where.DESTINATION, "release_destination", {"home": home}, patience_s=NAMED_AFTER_S)
        except hosts.HostSilent as silence:
            LOG.warning("%s %s It forgets it when it reports again.", label(migration), silence)
        return {"reason": None}

    def _ask(self, migration: models.Migration, server: models.Instance, where: Where, job: str, arguments: dict[str, Any]) -> Any:
        """
        :raises hosts.HostSilent: for `PATIENCE_S`; or for less, and nobody need wait for a host that is declared dead.
        """
        try:
            return self._leased.ask(migration, where, job, arguments, patience_s=NAMED_AFTER_S, instance=server)
        except hosts.HostSilent as silence:
            host = migration.source_compute if where is Where.SOURCE else migration.dest_compute
            self._leased.write(reason=str(silence))
            if self._leased.is_declared_dead(host):
                raise
        try:
            return self._leased.ask(migration, where, job, arguments, PATIENCE_S - NAMED_AFTER_S, instance=server)
        except hosts.HostSilent as silence:
            self._leased.write(reason=str(silence), holds_slot=False)
            self._leased.ring()
            raise


def _home(server: models.Instance) -> str:
    """The host that has the server; "" when it was deleted."""
    return "" if server.deleted_at is not None else server.host or ""


def _left(migration: models.Migration, reason: str) -> Columns:
    LOG.warning("%s %s", label(migration), reason)
    return {"reason": reason}
