"""servers/{id}/metadata: names and values that users keep with servers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import quota
from nova_blockmigrate.api.operations import invalid_state, refuse_if_locked
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import server_metadata as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import instances
from nova_blockmigrate.objects import VmState

_ALL, _ONE = "/servers/{server_id}/metadata", "/servers/{server_id}/metadata/{key}"
_STATES = (VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED)


class ItemNotFound(exceptions.NotFound):
    template = "Metadata item was not found"


class OtherKey(exceptions.Invalid):
    template = "Request body and URI mismatch: the body must have the one key {key}"


@route("GET", _ALL, policy=policies.METADATA_INDEX)
def index(request: Request, server: Instance) -> dict[str, Any]:
    return {"metadata": server.server_metadata}


@route("GET", _ONE, policy=policies.METADATA_SHOW)
def show(request: Request, server: Instance, key: str) -> dict[str, Any]:
    return {"meta": {key: _item(server, key)}}


@route("POST", _ALL, policy=policies.METADATA_CREATE, body=schemas.ALL)
def create(request: Request, server: Instance) -> dict[str, Any]:
    """Adds to what is there."""
    return {"metadata": _change(request, server, request.body["metadata"], keep=True)}


@route("PUT", _ALL, policy=policies.METADATA_UPDATE_ALL, body=schemas.ALL)
def replace(request: Request, server: Instance) -> dict[str, Any]:
    return {"metadata": _change(request, server, request.body["metadata"], keep=False)}


@route("PUT", _ONE, policy=policies.METADATA_UPDATE, body=schemas.ONE)
def update(request: Request, server: Instance, key: str) -> dict[str, Any]:
    if list(request.body["meta"]) != [key]:
        raise OtherKey(key=key)
    _change(request, server, request.body["meta"], keep=True)
    return {"meta": request.body["meta"]}


@route("DELETE", _ONE, policy=policies.METADATA_DELETE, status=204)
def delete(request: Request, server: Instance, key: str) -> None:
    with session.writer() as db:
        found = _changeable(db, request, server, "delete metadata")
        _item(found, key)
        instances.update(
            db, server.uuid, server_metadata={name: value for name, value in found.server_metadata.items() if name != key}
        )


def _change(request: Request, server: Instance, items: dict[str, str], keep: bool) -> dict[str, Any]:
    with session.writer() as db:
        found = _changeable(db, request, server, "update metadata")
        wanted = {**(found.server_metadata if keep else {}), **items}
        quota.of(request, db, server.project_id).check("metadata_items", 0, len(wanted))
        return dict(instances.update(db, server.uuid, server_metadata=wanted).server_metadata)


def _changeable(db: orm.Session, request: Request, server: Instance, method: str) -> Instance:
    """
    :raises exceptions.InstanceIsLocked:
    :raises exceptions.InstanceInvalidState:
    """
    found = instances.get(db, server.uuid)
    refuse_if_locked(request, found)
    if found.vm_state not in _STATES:
        raise invalid_state(method, found, "vm_state")
    if found.task_state is not None:
        raise invalid_state(method, found, "task_state")
    return found


def _item(server: Instance, key: str) -> Any:
    if key not in server.server_metadata:
        raise ItemNotFound()
    return server.server_metadata[key]
