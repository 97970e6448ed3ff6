"""Servers: list, show, change, delete. Creating them is in `server_create`, what is done to them in `server_actions`."""

from __future__ import annotations

from typing import Any

from oslo_db import exception as db_exception

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import hosts, paging, server_filters
from nova_blockmigrate.api.operations import begin, send
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import server_filters as schemas_of_lists
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
} | {"access_ip_v4": "access_ip_v4", "access_ip_v6": "access_ip_v6", "locked_by": "locked"}
_SORT_KEYS |= {"display_description": "description", "image_ref": "image_id", "id": "uuid", "name": "display_name"}
_ALIKE = ("auto_disk_config", "config_drive", "instance_type_id", "kernel_id", "launch_index", "ramdisk_id", "root_device_name")
"""Keys of Nova that our servers do not differ in (or, flavors, have no number for)."""
_CHANGEABLE = {
    "name": "display_name",
    "description": "description",
    "hostname": "hostname",
    "accessIPv4": "access_ip_v4",
    "accessIPv6": "access_ip_v6",
}
_DEFAULT_ORDER = (("created_at", True), ("id", True))
_FOR_ADMINS_ONLY = {"host", "node"}


class SortForbidden(exceptions.Forbidden):
    template = "Only administrators can sort servers by host or node."


@route("GET", "/servers", policy=policies.SERVERS_INDEX, query=schemas_of_lists.ACCEPTED)
def index(request: Request) -> dict[str, Any]:
    found, links = _search(request, policies.SERVERS_ALL_TENANTS)
    return {"servers": [views.brief(request, server) for server in found]} | links


@route("GET", "/servers/detail", policy=policies.SERVERS_DETAIL, query=schemas_of_lists.ACCEPTED)
def detail(request: Request) -> dict[str, Any]:
    found, links = _search(request, policies.SERVERS_DETAIL_ALL_TENANTS)
    statuses = hosts.statuses(request)
    return {"servers": [views.full(request, server, statuses, one=False) for server in found]} | links


@route("GET", "/servers/{server_id}", policy=policies.SERVERS_SHOW)
def show(request: Request, server: Instance) -> dict[str, Any]:
    return {"server": views.full(request, server, hosts.statuses(request))}


@route("PUT", "/servers/{server_id}", policy=policies.SERVERS_UPDATE, body=schemas.UPDATE)
def update(request: Request, server: Instance) -> dict[str, Any]:
    values = {_CHANGEABLE[key]: value for key, value in request.body["server"].items() if key in _CHANGEABLE}
    for column in ("access_ip_v4", "access_ip_v6"):
        if column in values:
            values[column] = values[column] or None
    with session.writer() as db:
        changed = instances.update(db, server.uuid, **values)
    if request.microversion >= 75:
        return {"server": views.full(request, changed, hosts.statuses(request))}
    groups = {"server_groups": views.server_groups(changed)} if request.microversion >= 71 else {}
    return {"server": views.basic(request, changed) | groups}


@route("DELETE", "/servers/{server_id}", policy=policies.SERVERS_DELETE, status=204)
def delete(request: Request, server: Instance) -> None:
    others = [state.value for state in TaskState if state is not TaskState.MIGRATING]
    with session.writer() as db:
        begin(db, request, server, "delete", expected=[None, *others], task_state=TaskState.DELETING, arguments={})
    send(request, server, "delete")


def _search(request: Request, all_tenants_rule: str) -> tuple[list[Instance], dict[str, Any]]:
    columns: dict[str, str | None] = (
        _SORT_KEYS | dict.fromkeys(_ALIKE) | ({"locked": "locked"} if request.microversion >= 73 else {})
    )
    page = paging.page(request, columns, _DEFAULT_ORDER)
    if not request.context.is_admin and _FOR_ADMINS_ONLY & {name for name, _ in page.sort}:
        raise SortForbidden()
    with session.reader() as db:
        try:
            found = server_lists.search(db, server_filters.filters(request, all_tenants_rule), page)
        except (db_exception.DBDataError, db_exception.DBInvalidUnicodeParameter) as error:
            # each database has its own regular expressions, and one may refuse what Python takes
            raise exceptions.ValidationError(detail="the database refuses a filter: is it a regular expression?") from error
    return paging.links(request, "servers_links", found, lambda server: server.uuid)
