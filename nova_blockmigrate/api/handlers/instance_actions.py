"""os-instance-actions: what was done to a server, and how it went."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api import paging
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views.times import precise
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance, InstanceAction, InstanceActionEvent
from nova_blockmigrate.db.queries import action_lists, actions

_PATH = "/servers/{server_id}/os-instance-actions"
_FILTERS_58 = frozenset({"limit", "marker", "changes-since"})
_QUERY: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 58: _FILTERS_58, 66: _FILTERS_58 | {"changes-before"}})
_DELETED_FROM = 21
_FAILED = "Error"
"""What Nova says of every action that failed."""


@route("GET", _PATH, policy=policies.ACTIONS_LIST, query=_QUERY, deleted_servers_from=_DELETED_FROM)
def index(request: Request, server: Instance) -> dict[str, Any]:
    paged = request.microversion >= 58
    since, before = request.query.changes(paged, request.microversion >= 66)
    with session.reader() as db:
        found = action_lists.of_server(
            db, server.uuid, since, before,
            paging.limit(request) + 1 if paged else None, request.query.text("marker") if paged else None,
        )  # fmt: skip
    shown, links = paging.links(request, "links", found, lambda each: each.request_id) if paged else (found, {})
    sees_hosts = _sees_hosts(request, server)
    return {"instanceActions": [_action(request, action, sees_hosts) for action in shown]} | links


@route("GET", _PATH + "/{request_id}", policy=policies.ACTIONS_SHOW, deleted_servers_from=_DELETED_FROM)
def show(request: Request, server: Instance, request_id: str) -> dict[str, Any]:
    with session.reader() as db:
        action = actions.get_with_events(db, server.uuid, request_id)
    sees_hosts = _sees_hosts(request, server)
    shown = _action(request, action, sees_hosts)
    if sees_hosts or request.microversion >= 51:
        details = request.can(policies.ACTIONS_DETAILS, _target(server))
        shown["events"] = [_event(request, server, event, sees_hosts, details) for event in action.events]
    return {"instanceAction": shown}


def _target(server: Instance) -> dict[str, str]:
    return {"project_id": server.project_id, "user_id": server.user_id}


def _sees_hosts(request: Request, server: Instance) -> bool:
    return request.can(policies.ACTIONS_EVENTS, _target(server))


def _action(request: Request, action: InstanceAction, sees_hosts: bool) -> dict[str, Any]:
    """The reason of a failure names hosts: only who sees those of the events may read it."""
    shown: dict[str, Any] = {
        "action": action.action,
        "instance_uuid": action.instance_uuid,
        "request_id": action.request_id,
        "user_id": action.user_id,
        "project_id": action.project_id,
        "start_time": precise(action.start_time),
        "message": action.message if sees_hosts or not action.message else _FAILED,
    }
    if request.microversion >= 58:
        shown["updated_at"] = precise(_changed(action))
    return shown


def _changed(action: InstanceAction) -> datetime.datetime:
    return action.updated_at or action.created_at


def _event(request: Request, server: Instance, event: InstanceActionEvent, sees_hosts: bool, details: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "event": event.event,
        "start_time": precise(event.start_time),
        "finish_time": precise(event.finish_time),
        "result": event.result,
    }
    if sees_hosts:
        shown["traceback"] = None
    if request.microversion >= 62:
        shown["hostId"] = hashlib.sha224((server.project_id + event.host).encode()).hexdigest() if event.host else ""
        if sees_hosts:
            shown["host"] = event.host
    if request.microversion >= 84 and details:
        shown["details"] = event.details
    return shown
