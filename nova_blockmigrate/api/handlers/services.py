"""os-services: list, enable, disable, force down, forget."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from oslo_utils import strutils
from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import hosts, query
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import services as schemas
from nova_blockmigrate.api.views.times import precise
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Service
from nova_blockmigrate.db.queries import compute_nodes, instances, migrations, services
from nova_blockmigrate.notifications import services as notified

_QUERY: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: frozenset({"host", "binary"})})


class ServiceInUse(exceptions.Conflict):
    template = "{binary} on {host} still has servers: move or delete them first."


class ServiceHasMigrations(exceptions.Conflict):
    template = "{binary} on {host} takes part in migrations that are under way: wait for their end, or abort them."


class NotToBeUpdated(exceptions.Invalid):
    template = "Updating a {binary} service is not supported. Only nova-compute services can be updated."


@route("GET", "/os-services", policy=policies.SERVICES_LIST, query=_QUERY)
def index(request: Request) -> dict[str, Any]:
    host, binary = request.query.text("host"), request.query.text("binary")
    statement = sa.select(Service).order_by(Service.id)
    if host is not None:
        statement = statement.where(Service.host == host)
    if binary is not None:
        statement = statement.where(Service.binary == binary)
    with session.reader() as db:
        found = db.scalars(statement).all()
    return {"services": [_view(request, service) for service in found]}


@route("PUT", "/os-services/{service_id}", policy=policies.SERVICES_UPDATE, body=schemas.UPDATE)
def update(request: Request, service_id: str) -> dict[str, Any]:
    """From 2.53 the path names the service; before, it is what to do, and the body names the service."""
    if request.microversion >= 53:
        return _update_fields(request, service_id)
    return _update_by_verb(request, service_id)


@route("DELETE", "/os-services/{service_id}", policy=policies.SERVICES_DELETE, status=204)
def delete(request: Request, service_id: str) -> None:
    """Forgets a host that is gone for good; one that still reports comes back by itself."""
    with session.writer() as db:
        service = _find(db, request, service_id)
        if service.binary == compute_nodes.COMPUTE_BINARY:
            if instances.on_host(db, service.host):
                raise ServiceInUse(binary=service.binary, host=service.host)
            if migrations.any_at(db, service.host):
                raise ServiceHasMigrations(binary=service.binary, host=service.host)
            for node in [node for node in compute_nodes.all(db) if node.service_id == service.id]:
                db.delete(node)
            db.flush()
        db.delete(service)
    notified.changed(request.context, service, "delete")


def _update_fields(request: Request, service_id: str) -> dict[str, Any]:
    fields = request.body
    changes: dict[str, Any] = {}
    if "status" in fields:
        changes |= {"disabled": fields["status"] == "disabled", "disabled_reason": fields.get("disabled_reason")}
    elif "disabled_reason" in fields:
        raise exceptions.ValidationError(detail="disabled_reason needs the status disabled")
    if fields.get("status") == "enabled" and "disabled_reason" in fields:
        raise exceptions.ValidationError(detail="disabled_reason needs the status disabled")
    if "forced_down" in fields:
        changes["forced_down"] = strutils.bool_from_string(fields["forced_down"], strict=True)
    with session.writer() as db:
        service = _find(db, request, service_id)
        _refuse_unless_compute(service.binary)
        services.update(db, service, **changes)
    notified.changed(request.context, service, "update")
    return {"service": _view(request, service)}


def _update_by_verb(request: Request, verb: str) -> dict[str, Any]:
    body = request.body
    _refuse_unless_compute(body["binary"])
    reason = body.get("disabled_reason")
    shown: dict[str, Any] = {"host": body["host"], "binary": body["binary"]}
    if verb == "enable":
        changes: dict[str, Any] = {"disabled": False, "disabled_reason": None}
    elif verb == "disable":
        changes = {"disabled": True, "disabled_reason": None}
    elif verb == "disable-log-reason":
        if not reason:
            raise exceptions.ValidationError(detail="disable-log-reason needs a disabled_reason")
        changes = {"disabled": True, "disabled_reason": reason}
        shown["disabled_reason"] = reason
    elif verb == "force-down" and request.microversion >= 11 and "forced_down" in body:
        changes = {"forced_down": strutils.bool_from_string(body["forced_down"], strict=True)}
        shown["forced_down"] = changes["forced_down"]
    else:
        raise exceptions.NotFound(f"There is nothing to do by that name and body: {verb}")
    if "disabled" in changes:
        shown["status"] = "disabled" if changes["disabled"] else "enabled"
    with session.writer() as db:
        service = services.update(db, services.get(db, body["host"], body["binary"]), **changes)
    notified.changed(request.context, service, "update")
    return {"service": shown}


def _refuse_unless_compute(binary: str) -> None:
    """
    :raises NotToBeUpdated:
    """
    if binary != compute_nodes.COMPUTE_BINARY:
        raise NotToBeUpdated(binary=binary)


def _find(db: orm.Session, request: Request, service_id: str) -> Service:
    """
    :raises exceptions.ValidationError: from 2.53: no uuid.
    :raises exceptions.ServiceNotFound:
    """
    if request.microversion >= 53:
        query.refuse_unless_uuid(service_id)
        found = db.scalar(sa.select(Service).where(Service.uuid == service_id))
    else:
        found = db.get(Service, query.number(service_id) or 0)
    if found is None:
        raise exceptions.ServiceNotFound(service_id=service_id)
    return found


def _view(request: Request, service: Service) -> dict[str, Any]:
    shown = {
        "id": service.uuid if request.microversion >= 53 else service.id,
        "binary": service.binary,
        "host": service.host,
        "zone": hosts.zone(service),
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if hosts.is_up(request, service) else "down",
        "updated_at": precise(service.last_seen_up or service.updated_at),
        "disabled_reason": service.disabled_reason,
    }
    if request.microversion >= 11:
        shown["forced_down"] = service.forced_down
    return shown
