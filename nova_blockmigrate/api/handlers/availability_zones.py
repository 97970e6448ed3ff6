"""os-availability-zone: one zone for hosts, and Nova's "internal" one for the other services."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nova_blockmigrate import policies
from nova_blockmigrate.api import hosts
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views.times import precise
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Service
from nova_blockmigrate.db.queries.compute_nodes import COMPUTE_BINARY


@route("GET", "/os-availability-zone", policy=policies.ZONES_LIST)
def index(request: Request) -> dict[str, Any]:
    with session.reader() as db:
        computes = db.scalars(sa.select(Service).where(Service.binary == COMPUTE_BINARY)).all()
    available = any(not service.disabled for service in computes)
    return {"availabilityZoneInfo": [_zone(hosts.ZONE, None, available)]}


@route("GET", "/os-availability-zone/detail", policy=policies.ZONES_DETAIL)
def detail(request: Request) -> dict[str, Any]:
    with session.reader() as db:
        found = db.scalars(sa.select(Service).order_by(Service.host, Service.binary)).all()
    zones: dict[str, dict[str, dict[str, Any]]] = {hosts.INTERNAL_ZONE: {}, hosts.ZONE: {}}
    for service in found:
        zones[hosts.zone(service)].setdefault(service.host, {})[service.binary] = {
            "active": not service.disabled,
            "available": hosts.is_up(request, service),
            "updated_at": precise(service.last_seen_up),
        }
    return {"availabilityZoneInfo": [_zone(name, members, True) for name, members in zones.items()]}


def _zone(name: str, members: dict[str, dict[str, Any]] | None, available: bool) -> dict[str, Any]:
    return {"zoneName": name, "zoneState": {"available": available}, "hosts": members}
