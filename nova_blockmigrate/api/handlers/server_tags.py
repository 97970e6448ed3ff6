"""servers/{id}/tags: words that users put on servers (2.26)."""

from __future__ import annotations

import urllib.parse
from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.operations import invalid_state
from nova_blockmigrate.api.request import Request, Response
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import server_tags as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import instances
from nova_blockmigrate.objects import VmState

_ALL, _ONE = "/servers/{server_id}/tags", "/servers/{server_id}/tags/{tag}"
_SINCE = 26
_STATES = (VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED)


class TagNotFound(exceptions.NotFound):
    template = "Server {server} has no tag '{tag}'"


class TooManyTags(exceptions.Invalid):
    template = "The number of tags exceeded the per-server limit {limit}"


@route("GET", _ALL, policy=policies.TAGS_INDEX, minimum=_SINCE)
def index(request: Request, server: Instance) -> dict[str, Any]:
    return {"tags": server.tags}


@route("GET", _ONE, policy=policies.TAGS_SHOW, minimum=_SINCE, status=204)
def show(request: Request, server: Instance, tag: str) -> None:
    _refuse_unless_there(server, tag)


@route("PUT", _ALL, policy=policies.TAGS_UPDATE_ALL, minimum=_SINCE, body=schemas.REPLACE)
def replace(request: Request, server: Instance) -> dict[str, Any]:
    with session.writer() as db:
        _changeable(db, server, "update tags")
        changed = instances.update(db, server.uuid, tags=sorted(set(request.body["tags"])))
    return {"tags": changed.tags}


@route("PUT", _ONE, policy=policies.TAGS_UPDATE, minimum=_SINCE, status=201)
def add(request: Request, server: Instance, tag: str) -> Response:
    schemas.refuse_unless_tag(tag)
    with session.writer() as db:
        found = _changeable(db, server, "update tag")
        if tag in found.tags:
            return Response(None, status=204)
        if len(found.tags) >= schemas.MOST:
            raise TooManyTags(limit=schemas.MOST)
        instances.update(db, server.uuid, tags=sorted([*found.tags, tag]))
    where = f"{request.base_url}/v2.1/servers/{server.uuid}/tags/{urllib.parse.quote(tag, safe='')}"
    return Response(None, {"Location": where})


@route("DELETE", _ALL, policy=policies.TAGS_DELETE_ALL, minimum=_SINCE, status=204)
def clear(request: Request, server: Instance) -> None:
    with session.writer() as db:
        _changeable(db, server, "delete tags")
        instances.update(db, server.uuid, tags=[])


@route("DELETE", _ONE, policy=policies.TAGS_DELETE, minimum=_SINCE, status=204)
def remove(request: Request, server: Instance, tag: str) -> None:
    with session.writer() as db:
        found = _changeable(db, server, "delete tag")
        _refuse_unless_there(found, tag)
        instances.update(db, server.uuid, tags=[each for each in found.tags if each != tag])


def _changeable(db: orm.Session, server: Instance, method: str) -> Instance:
    """
    :raises exceptions.InstanceInvalidState:
    """
    found = instances.get(db, server.uuid)
    if found.vm_state not in _STATES:
        raise invalid_state(method, found, "vm_state")
    return found


def _refuse_unless_there(server: Instance, tag: str) -> None:
    if tag not in server.tags:
        raise TagNotFound(server=server.uuid, tag=tag)
