"""Whether hosts are up, as servers, services and hypervisors show it."""

from __future__ import annotations

import sqlalchemy as sa

from nova_blockmigrate import policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Service, utcnow
from nova_blockmigrate.db.queries import services
from nova_blockmigrate.db.queries.compute_nodes import COMPUTE_BINARY

ZONE = "nova"
INTERNAL_ZONE = "internal"


def is_up(request: Request, service: Service) -> bool:
    return services.is_up(service, utcnow(), request.conf.service_down_time)


def zone(service: Service) -> str:
    """The availability zone that a service is shown in."""
    return ZONE if service.binary == COMPUTE_BINARY else INTERNAL_ZONE


def statuses(request: Request) -> dict[str, str]:
    """Nova's host_status of every host; empty if the caller may not see it anyway."""
    if request.microversion < 16 or not request.can(policies.SERVERS_HOST_STATUS):
        return {}
    with session.reader() as db:
        computes = db.scalars(sa.select(Service).where(Service.binary == COMPUTE_BINARY)).all()
    return {service.host: _status(request, service) for service in computes}


def _status(request: Request, service: Service) -> str:
    if service.disabled:
        return "MAINTENANCE"
    if service.forced_down:
        return "DOWN"
    return "UP" if is_up(request, service) else "UNKNOWN"
