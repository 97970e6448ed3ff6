"""What a host says of a guest's ports to the network service that owns them (Neutron), in a migration.

The destination asks for a place beside the one that is in use, as a thing of its ledger; at the switch the source tells that
the guest is there now, and the destination tells it again when it finishes, as the source may have died; the source gives its
own place up when it is cleaned. With embedded networks nobody has to be told, and all this does nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.ledger import HostRecord
from nova_blockmigrate.network.backend import NetworkBackend
from nova_blockmigrate.objects import Artefact, MigrationPlan, PreparedDestination, Server, Vif, from_primitive, to_primitive

LOG = log.getLogger(__name__)

BINDING = "port-binding"
"""Kind of artefact: a port's place on this host, by the port's id."""
_VIFS = "vifs"


@dataclasses.dataclass(frozen=True)
class Places:
    """The guest's interfaces as this host is to have them; None: as on the source."""

    vifs: tuple[Vif, ...] | None = None
    awaited: tuple[str, ...] = ()

    def in_plan(self, plan: MigrationPlan) -> MigrationPlan:
        return plan if self.vifs is None else _with_vifs(plan, self.vifs)

    def in_answer(self, prepared: PreparedDestination) -> PreparedDestination:
        return dataclasses.replace(prepared, vifs=self.vifs, awaited_ports=self.awaited)


class BelongingsOnly:
    """A ledger without the bindings, for the driver: they are not its to unmake."""

    def __init__(self, record: HostRecord) -> None:
        self._record = record

    def artefacts(self) -> list[Artefact]:
        return [artefact for artefact in self._record.artefacts() if artefact.kind != BINDING]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)


class Ports:
    def __init__(self, conf: cfg.ConfigOpts, backend: NetworkBackend) -> None:
        self._conf = conf
        self._backend = backend

    # --- destination ------------------------------------------------------------------------------------------------

    def unbound(self, server: Server) -> Server:
        """The server as it can be judged before its ports are bound here: that of its host says nothing of this one."""
        if not self._backend.owns_ports:
            return server
        return dataclasses.replace(server, vifs=tuple(dataclasses.replace(vif, is_bound=False) for vif in server.vifs))

    def prepare(self, plan: MigrationPlan, record: HostRecord) -> Places:
        """Have the ports bound to this host, too.

        :raises exceptions.BlockMigrateError: one cannot be; what was made is in the ledger.
        """
        if not self._backend.owns_ports:
            return Places()
        bound = []
        for vif in plan.server.vifs:
            with record.entry(BINDING, vif.port_id):
                bound.append(self._backend.bind(vif, plan.destination_host))
        record.keep(_VIFS, [to_primitive(one.vif) for one in bound])
        wait = self._conf.compute.live_migration_wait_for_vif_plug and self._conf.vif_plugging_timeout > 0
        return Places(tuple(one.vif for one in bound), tuple(one.vif.port_id for one in bound if one.awaited and wait))

    def prepared(self, plan: MigrationPlan, record: HostRecord) -> MigrationPlan:
        """The plan with the interfaces as `prepare` had them for this host."""
        kept = record.kept(_VIFS)
        return plan if kept is None else _with_vifs(plan, tuple(from_primitive(Vif, one) for one in kept))

    def release(self, plan: MigrationPlan, record: HostRecord) -> None:
        """The guest did not come: give up what `prepare` asked for. Only after it is proven that it is not here.

        :raises exceptions.BlockMigrateError: the network service did not do it; it stays listed.
        """
        for artefact in _bindings(record):
            self._backend.unbind(artefact.name, plan.destination_host)
            record.forget(artefact)

    def arrive(self, plan: MigrationPlan, record: HostRecord | None) -> None:
        """The guest is here: see that the network knows it. The bindings are the ports' own from now on.

        :raises exceptions.BlockMigrateError: the network service was not told.
        """
        self._activate(plan)
        if record is None:
            return
        for artefact in _bindings(record):
            record.forget(artefact)

    # --- source -----------------------------------------------------------------------------------------------------

    def depart(self, plan: MigrationPlan) -> bool:
        """The guest runs at its destination: tell the network. Whether it was told; if not, others will."""
        try:
            self._activate(plan)
        except exceptions.BlockMigrateError as error:
            LOG.warning("%s the network was not told at the switch where the guest is: %s", plan.label, error.message)
            return False
        return True

    def departed(self, plan: MigrationPlan, record: HostRecord | None) -> MigrationPlan:
        """The plan with the interfaces as they are on this host: by now the server has those of its new one."""
        kept = record.kept("plan") if record is not None else None
        return plan if kept is None else _with_vifs(plan, from_primitive(MigrationPlan, kept).server.vifs)

    def leave(self, plan: MigrationPlan) -> None:
        """The guest has left: give up the ports' places here.

        :raises exceptions.BlockMigrateError:
        """
        for vif in plan.server.vifs if self._backend.owns_ports else ():
            self._backend.unbind(vif.port_id, plan.source_host)

    def _activate(self, plan: MigrationPlan) -> None:
        for vif in plan.server.vifs if self._backend.owns_ports else ():
            self._backend.activate(vif.port_id, plan.destination_host)


def _with_vifs(plan: MigrationPlan, vifs: tuple[Vif, ...]) -> MigrationPlan:
    return dataclasses.replace(plan, server=dataclasses.replace(plan.server, vifs=vifs))


def _bindings(record: HostRecord) -> list[Artefact]:
    return [artefact for artefact in record.artefacts() if artefact.kind == BINDING]
