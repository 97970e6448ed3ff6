"""What a conductor does for a guest's ports in a migration, where a network service owns them (Neutron): waits until they are
wired at the destination, and says what hosts could not say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from oslo_log import log
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor.leased import LeasedMigration, label
from nova_blockmigrate.conductor.plug_events import NotPlugged
from nova_blockmigrate.conductor.roll_back import Failure
from nova_blockmigrate.conductor.server_ports import moved
from nova_blockmigrate.db import models
from nova_blockmigrate.db.queries import external_events
from nova_blockmigrate.objects import PreparedDestination, TransferOutcome, Vif, from_primitive

LOG = log.getLogger(__name__)


class MigrationPorts:
    def __init__(self, leased: LeasedMigration) -> None:
        self._leased = leased
        self._backend = leased.around.ports.backend

    def forget_events(self, db: orm.Session, migration: models.Migration) -> None:
        """Before the preparing begins: what came for earlier moves of the server says nothing of this one."""
        if self._backend.owns_ports:
            external_events.forget(db, [migration.instance_uuid])

    def await_plugged(self, migration: models.Migration, prepared: dict[str, Any]) -> None:
        """The guest shall find its network when it arrives.

        :raises Failure: it would not, and that is to be fatal.
        """
        awaited = from_primitive(PreparedDestination, prepared).awaited_ports
        if not awaited:
            return
        conf, started = self._leased.conf, time.monotonic()
        try:
            self._leased.around.plugs.wait(migration.instance_uuid, awaited, conf.vif_plugging_timeout, self._is_called_off)
        except NotPlugged as error:
            if conf.vif_plugging_is_fatal:
                raise Failure(str(error)) from error
            LOG.warning("%s goes on all the same: %s", label(migration), error)
            return
        LOG.info("%s ports are wired after %.3f s", label(migration), time.monotonic() - started)

    def tell_of_arrival(self, migration: models.Migration) -> None:
        """If the host that made the switch could not. The destination says it once more when it finishes."""
        if not from_primitive(TransferOutcome, migration.outcome).ports_moved:
            self._for_each_port(migration, lambda vif: self._backend.activate(vif.port_id, migration.dest_compute or ""))

    def tell_of_departure(self, migration: models.Migration) -> None:
        """In the place of a source that stays away."""
        self._for_each_port(migration, lambda vif: self._backend.unbind(vif.port_id, migration.source_compute))

    def known_after(self, instance: models.Instance, migration: models.Migration) -> list[dict[str, Any]] | None:
        """The server's `network_info` on its new host."""
        prepared = from_primitive(PreparedDestination, migration.prepared)
        return moved(instance, prepared.vifs)

    def _is_called_off(self) -> bool:
        return self._leased.read().abort_requested

    def _for_each_port(self, migration: models.Migration, tell: Callable[[Vif], None]) -> None:
        if not self._backend.owns_ports:
            return
        try:
            for vif in self._leased.plan(migration).server.vifs:
                tell(vif)
        except exceptions.BlockMigrateError as error:
            LOG.warning("%s the network does not know yet where the guest is: %s", label(migration), error.message)
