"""The embedded networks, in the shape of Neutron's API: enough to find a network by name or id."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views.times import zulu
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Network
from nova_blockmigrate.db.queries import networks


@route("GET", "/networks", policy=policies.NETWORKS_READ, prefix="/v2.0")
def index(request: Request) -> dict[str, Any]:
    with session.reader() as db:
        found = networks.search(db, request.query.text("name"))
    wanted = request.query.texts("id")
    return {"networks": [_view(network) for network in found if not wanted or network.id in wanted]}


@route("GET", "/networks/{network_id}", policy=policies.NETWORKS_READ, prefix="/v2.0")
def show(request: Request, network_id: str) -> dict[str, Any]:
    with session.reader() as db:
        return {"network": _view(networks.get(db, network_id))}


def _view(network: Network) -> dict[str, Any]:
    return {
        "id": network.id,
        "name": network.name,
        "status": "ACTIVE",
        "admin_state_up": True,
        "shared": True,
        "mtu": network.mtu,
        "subnets": [],
        "tenant_id": "",
        "project_id": "",
        "router:external": False,
        "port_security_enabled": False,
        "description": "",
        "created_at": zulu(network.created_at),
        "updated_at": zulu(network.updated_at or network.created_at),
    }
