"""Small resources that clients ask for before they go on: what Nova has and we do not, and parts of a server."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views import interfaces as views
from nova_blockmigrate.db.models import Instance


class AggregateNotFound(exceptions.NotFound):
    template = "Aggregate {aggregate_id} could not be found."


class PortNotFound(exceptions.NotFound):
    template = "Instance {server} has no interface with the port {port}."


class NetworkNotFound(exceptions.NotFound):
    template = "Instance {server} has no address on a network named {network}."


@route("GET", "/os-aggregates", policy=policies.AGGREGATES_INDEX)
def aggregates(request: Request) -> dict[str, Any]:
    return {"aggregates": []}


@route("GET", "/os-aggregates/{aggregate_id}", policy=policies.AGGREGATES_SHOW)
def aggregate(request: Request, aggregate_id: str) -> dict[str, Any]:
    raise AggregateNotFound(aggregate_id=aggregate_id)


@route("GET", "/servers/{server_id}/os-interface", policy=policies.INTERFACES_LIST)
def interfaces(request: Request, server: Instance) -> dict[str, Any]:
    return {"interfaceAttachments": [_attachment(request, interface) for interface in views.of(server)]}


@route("GET", "/servers/{server_id}/os-interface/{port_id}", policy=policies.INTERFACES_SHOW)
def interface(request: Request, server: Instance, port_id: str) -> dict[str, Any]:
    for each in views.of(server):
        if each.port_id == port_id:
            return {"interfaceAttachment": _attachment(request, each)}
    raise PortNotFound(server=server.uuid, port=port_id)


@route("GET", "/servers/{server_id}/ips", policy=policies.IPS_INDEX)
def ips(request: Request, server: Instance) -> dict[str, Any]:
    return {"addresses": _addresses(server)}


@route("GET", "/servers/{server_id}/ips/{network}", policy=policies.IPS_SHOW)
def ips_on(request: Request, server: Instance, network: str) -> dict[str, Any]:
    found = _addresses(server)
    if network not in found:
        raise NetworkNotFound(server=server.uuid, network=network)
    return {network: found[network]}


def _attachment(request: Request, interface: views.Interface) -> dict[str, Any]:
    return views.attachment(interface) | ({"tag": None} if request.microversion >= 70 else {})


def _addresses(server: Instance) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [{"version": each["version"], "addr": each["addr"]} for each in those]
        for name, those in views.addresses(server).items()
    }
