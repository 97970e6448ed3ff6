"""Small resources that clients ask for before they go on: what Nova has and we do not, and parts of a server."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views import interfaces as views
from nova_blockmigrate.db.models import Instance


@route("GET", "/extensions", policy=policies.EXTENSIONS)
def extensions(request: Request) -> dict[str, Any]:
    return {"extensions": []}


@route("GET", "/os-keypairs", policy=policies.KEYPAIRS_INDEX)
def keypairs(request: Request) -> dict[str, Any]:
    return {"keypairs": []}


@route("GET", "/os-server-groups", policy=policies.SERVER_GROUPS_INDEX)
def server_groups(request: Request) -> dict[str, Any]:
    return {"server_groups": []}


@route("GET", "/os-aggregates", policy=policies.AGGREGATES_INDEX)
def aggregates(request: Request) -> dict[str, Any]:
    return {"aggregates": []}


@route("GET", "/servers/{server_id}/os-interface", policy=policies.INTERFACES_LIST)
def interfaces(request: Request, server: Instance) -> dict[str, Any]:
    return {
        "interfaceAttachments": [
            views.attachment(interface) | ({"tag": None} if request.microversion >= 70 else {}) for interface in views.of(server)
        ]
    }


@route("GET", "/servers/{server_id}/ips", policy=policies.SERVERS_SHOW)
def ips(request: Request, server: Instance) -> dict[str, Any]:
    short = {
        name: [{"version": each["version"], "addr": each["addr"]} for each in those]
        for name, those in views.addresses(server).items()
    }
    return {"addresses": short}


@route("GET", "/servers/{server_id}/metadata", policy=policies.SERVERS_SHOW)
def metadata(request: Request, server: Instance) -> dict[str, Any]:
    return {"metadata": server.server_metadata}
