"""Servers: list, show, change, delete. Creating them is in `server_create`, what is done to them in `server_actions`."""

from __future__ import annotations

import re
from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import hosts, paging
from nova_blockmigrate.api.operations import begin, send
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import servers as schemas
from nova_blockmigrate.api.views import servers as views
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import instances, server_lists
from nova_blockmigrate.objects import TaskState

_SORT_KEYS = {
    name: name
    for name in (
        *("availability_zone", "created_at", "display_name", "host", "hostname", "key_name", "launched_at", "node", "power_state"),
        *("progress", "project_id", "task_state", "terminated_at", "updated_at", "user_id", "uuid", "vm_state"),
    )
} | {"display_description": "description", "image_ref": "image_id", "id": "uuid", "name": "display_name"}
_DEFAULT_ORDER = (("created_at", True), ("id", True))
_FOR_ADMINS_ONLY = {name: name for name in ("host", "node", "task_state", "vm_state", "power_state")}
_FOR_ALL = {
    "availability_zone": "availability_zone",
    "description": "description",
    "hostname": "hostname",
    "image": "image_id",
    "image_ref": "image_id",
    "key_name": "key_name",
    "reservation_id": "reservation_id",
    "user_id": "user_id",
    "uuid": "uuid",
}


@route("GET", "/servers", policy=policies.SERVERS_INDEX, query=schemas.FILTERS)
def index(request: Request) -> dict[str, Any]:
    found, links = _search(request)
    return {"servers": [views.brief(request, server) for server in found]} | links


@route("GET", "/servers/detail", policy=policies.SERVERS_DETAIL, query=schemas.FILTERS)
def detail(request: Request) -> dict[str, Any]:
    found, links = _search(request)
    statuses = hosts.statuses(request)
    return {"servers": [views.full(request, server, statuses, one=False) for server in found]} | links


@route("GET", "/servers/{server_id}", policy=policies.SERVERS_SHOW)
def show(request: Request, server: Instance) -> dict[str, Any]:
    return {"server": views.full(request, server, hosts.statuses(request))}


@route("PUT", "/servers/{server_id}", policy=policies.SERVERS_UPDATE, body=schemas.UPDATE)
def update(request: Request, server: Instance) -> dict[str, Any]:
    columns = {"name": "display_name", "description": "description", "hostname": "hostname"}
    values = {columns[key]: value for key, value in request.body["server"].items() if key in columns}
    with session.writer() as db:
        changed = instances.update(db, server.uuid, **values)
    if request.microversion >= 75:
        return {"server": views.full(request, changed, hosts.statuses(request))}
    return {"server": views.basic(request, changed)}


@route("DELETE", "/servers/{server_id}", policy=policies.SERVERS_DELETE, status=204)
def delete(request: Request, server: Instance) -> None:
    others = [state.value for state in TaskState if state is not TaskState.MIGRATING]
    with session.writer() as db:
        begin(db, request, server, "delete", expected=[None, *others], task_state=TaskState.DELETING, arguments={})
    send(request, server, "delete")


def _search(request: Request) -> tuple[list[Instance], dict[str, Any]]:
    page = paging.page(request, _SORT_KEYS, _DEFAULT_ORDER)
    with session.reader() as db:
        found = server_lists.search(db, _filters(request), page)
    return paging.links(request, "servers_links", found, lambda server: server.uuid)


def _filters(request: Request) -> server_lists.Filters:
    query = request.query
    states: list[tuple[str, list[str], list[str]]] | None = None
    if "status" in query:
        states = [state for status in query.texts("status") for state in views.states_of(status)]
    since = query.time("changes-since")
    return server_lists.Filters(
        project_id=_project(request),
        deleted=_deleted(request, since is not None),
        states=None if states is None else tuple(states),
        name=_expression(query.text("name") or query.text("display_name")),
        ip=_expression(query.text("ip")),
        changed_since=since,
        changed_before=query.time("changes-before") if request.microversion >= 66 else None,
        equal=tuple(_equal(request)),
    )


def _project(request: Request) -> str | None:
    """Whose servers are listed: the caller's, unless it may see all and asks for them."""
    wanted = request.query.text("project_id") or request.query.text("tenant_id")
    if request.query.boolean("all_tenants"):
        request.authorize(policies.SERVERS_ALL_TENANTS)
        return wanted
    return request.context.project_id


def _deleted(request: Request, since: bool) -> bool | None:
    """Deleted servers are shown to those who ask what changed, and to admins who ask for them."""
    if request.context.is_admin and "deleted" in request.query:
        return request.query.boolean("deleted")
    return None if since else False


def _expression(text: str | None) -> str | None:
    try:
        re.compile(text or "")
    except re.error as error:
        raise exceptions.ValidationError(detail=f"{text!r} is not a regular expression: {error}") from error
    return text


def _equal(request: Request) -> list[tuple[str, Any]]:
    columns = _FOR_ALL | (_FOR_ADMINS_ONLY if request.context.is_admin else {})
    found: list[tuple[str, Any]] = []
    for name, column in columns.items():
        text = request.query.text(name)
        if text is not None:
            found.append((column, request.query.integer(name) if column == "power_state" else text))
    if request.microversion >= 73 and "locked" in request.query:
        found.append(("locked", request.query.boolean("locked")))
    return found
