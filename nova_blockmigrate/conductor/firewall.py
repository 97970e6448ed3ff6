"""Rules of security groups follow their groups: hosts are told when rules or members change, and may ask at any time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import oslo_messaging
from oslo_log import log

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor.settings import server_of
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import instances, migrations, security_groups
from nova_blockmigrate.objects import to_primitive

LOG = log.getLogger(__name__)


def groups_of(server: models.Instance) -> list[str]:
    """Ids of the groups that a server is in."""
    return sorted({group.id for port in server.ports for group in port.security_groups})


def refresh(computes: ComputeAPI, context: RequestContext, group_ids: Collection[str], server_uuids: Collection[str] = ()) -> None:
    """Tell every host that has guests whose rules depend on these groups, or one of these servers.

    A host that does not answer hears of it when it asks (`[network] firewall_refresh_interval`)."""
    if not group_ids:
        return
    with session.reader() as db:
        found = {server.uuid: server for server in security_groups.servers_guarded_by(db, group_ids)}
        found |= {uuid: instances.get(db, uuid) for uuid in server_uuids}
        moving = migrations.destinations(db, list(found))
    by_host: dict[str, list[Any]] = {}
    for server in found.values():
        for host in {server.host, moving.get(server.uuid)} - {None}:
            by_host.setdefault(str(host), []).append(to_primitive(server_of(server)))
    for host, guests in sorted(by_host.items()):
        _tell(computes, context, host, guests)


def refresh_server(computes: ComputeAPI, context: RequestContext, server_uuid: str) -> None:
    """Tell the host of a server that its rules, as a network service has them, are other ones."""
    with session.reader() as db:
        server = instances.get(db, server_uuid)
        guest = to_primitive(server_of(server))
    if server.host is not None:
        _tell(computes, context, server.host, [guest])


def _tell(computes: ComputeAPI, context: RequestContext, host: str, guests: list[Any]) -> None:
    try:
        computes.refresh_firewall(context, host, guests)
    except (oslo_messaging.MessagingTimeout, oslo_messaging.MessageDeliveryFailure) as error:
        LOG.warning("%s did not take the new rules of %d guests, it will ask for them: %s", host, len(guests), error)
    except exceptions.BlockMigrateError as error:
        LOG.error("New rules are not in force: %s", error.message)


def guests_of(host: str) -> list[Any]:
    """The servers (`objects.Server`) that are on a host, or on their way to it."""
    with session.reader() as db:
        here = instances.with_ports_on(db, host)
        coming = [instances.get(db, uuid) for uuid in migrations.servers_coming_to(db, host)]
    known = {server.uuid: server for server in (*here, *coming)}
    return [to_primitive(server_of(server)) for server in known.values() if server.ports or server.network_info]
