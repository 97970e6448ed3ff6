"""The ports of servers where a network service owns them (Neutron): made at build, kept known, given back at the end.

What is known of them is kept with the server (`Instance.network_info`), so that the API and the hosts' plans need not ask.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import instances
from nova_blockmigrate.network.backend import NetworkBackend, Owner
from nova_blockmigrate.objects import NetworkPort, Vif, WantedPort, from_primitive, to_primitive

REFRESHES = 3
"""How often what is known is read again when it was changed meanwhile (by a migration's end, or another event)."""
NONE, AUTO = "none", "auto"


class ServerPorts:
    def __init__(self, conf: cfg.ConfigOpts, backend: NetworkBackend) -> None:
        self._conf = conf
        self.backend = backend

    def connect(self, server_uuid: str, group_ids: Sequence[str] = ()) -> models.Instance:
        """Have the ports that the server's user asked for, bound to its host; returns the server with them. `group_ids`: the
        security groups of those that are made.

        :raises exceptions.BlockMigrateError: (its class says which) there is no such network or port, or it cannot be used.
        """
        with session.reader() as db:
            instance = instances.get(db, server_uuid)
        if not self.backend.owns_ports or instance.network_info is not None:
            return instance
        wanted = self._wanted(instance)
        where = (instance.host or "", instance.availability_zone or "")
        owner = Owner(server_uuid, instance.project_id, *where, security_groups=tuple(group_ids))
        ports = self.backend.allocate(owner, wanted) if wanted else ()
        return self._keep(server_uuid, ports)

    def disconnect(self, server_uuid: str) -> None:
        """Give the ports back.

        :raises exceptions.BlockMigrateError:
        """
        if not self.backend.owns_ports:
            return
        with session.reader() as db:
            instance = instances.get(db, server_uuid, include_deleted=True)
        self.backend.release(server_uuid, [one.port_id for one in _asked(instance) if one.port_id])

    def refresh(self, server_uuid: str) -> bool:
        """Learn what the ports are like now; whether that is other than what was known.

        :raises exceptions.BlockMigrateError:
        """
        if not self.backend.owns_ports:
            return False
        for _ in range(REFRESHES):
            with session.reader() as db:
                instance = instances.get(db, server_uuid)
            if instance.network_info is None:
                return False
            found = [to_primitive(port) for port in self.backend.describe(server_uuid, known(instance))]
            with session.writer() as db:
                if instances.get(db, server_uuid).network_info == instance.network_info:
                    instances.update(db, server_uuid, network_info=found)
                    return bool(found != instance.network_info)
        return False

    def _keep(self, server_uuid: str, ports: Sequence[NetworkPort]) -> models.Instance:
        with session.writer() as db:
            return instances.update(db, server_uuid, network_info=[to_primitive(port) for port in ports])

    def _wanted(self, instance: models.Instance) -> list[WantedPort]:
        asked = _asked(instance)
        if asked or instance.requested_networks == NONE:
            return asked
        there = self.backend.networks_of(instance.project_id)
        if len(there) > 1:
            raise exceptions.Conflict("Multiple possible networks found: use a network id to be more specific.")
        if not there and instance.requested_networks == AUTO:
            raise exceptions.Invalid("There is no network to use: make one in Neutron, or say 'none'.")
        return [WantedPort(network_id=network_id) for network_id in there]


def known(instance: models.Instance) -> tuple[NetworkPort, ...]:
    """What was last known of a server's ports."""
    return tuple(from_primitive(NetworkPort, one) for one in instance.network_info or [])


def moved(instance: models.Instance, vifs: Sequence[Vif] | None) -> list[dict[str, Any]] | None:
    """`network_info` of a server whose interfaces are now as they are on its new host (pure)."""
    if instance.network_info is None or vifs is None:
        return instance.network_info
    there = {vif.port_id: vif for vif in vifs}
    return [to_primitive(dataclasses.replace(port, vif=there.get(port.vif.port_id, port.vif))) for port in known(instance)]


def _asked(instance: models.Instance) -> list[WantedPort]:
    """What the request named."""
    if not isinstance(instance.requested_networks, list):
        return []
    return [WantedPort(one.get("uuid", ""), one.get("port", ""), one.get("fixed_ip", "")) for one in instance.requested_networks]
