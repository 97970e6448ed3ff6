"""POST /os-server-external-events: what other services, Neutron above all, say of servers.

What somebody may wait for is written down before it is answered, so that it is not lost when it comes early or when no
conductor runs. Each event is answered by itself: 200 taken, 404 no such server, 422 the server is on no host.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.operations import BROKER_ERRORS, LOG
from nova_blockmigrate.api.request import Request, Response
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import external_events as schemas
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import external_events, instances

_PLUGGED = "network-vif-plugged"
_TAKEN, _NO_SERVER, _NO_HOST = 200, 404, 422

Event = dict[str, Any]


class NoServers(exceptions.NotFound):
    template = "No instances found for any event"


@route("POST", "/os-server-external-events", policy=policies.EXTERNAL_EVENTS, body=schemas.CREATE)
def create(request: Request) -> Response:
    with session.writer() as db:
        answers = [_take(db, event) for event in request.body["events"]]
    if all(answer["code"] == _NO_SERVER for answer in answers):
        raise NoServers()
    _tell(request, [answer for answer in answers if answer["code"] == _TAKEN])
    partly = any(answer["code"] != _TAKEN for answer in answers)
    return Response({"events": answers}, status=207 if partly else 200)


def _take(db: orm.Session, event: Event) -> Event:
    answer = {"status": "completed", **event, "code": _TAKEN}
    try:
        server = instances.get(db, event["server_uuid"])
    except exceptions.InstanceNotFound:
        return answer | {"status": "failed", "code": _NO_SERVER}
    if server.host is None:
        return answer | {"status": "failed", "code": _NO_HOST}
    if event["name"] == _PLUGGED:
        external_events.add(db, server.uuid, event["name"], event.get("tag", ""), answer["status"])
    return answer


def _tell(request: Request, taken: list[Event]) -> None:
    """Wake the conductors; the events are safe without."""
    if not any(event["name"] in schemas.NETWORK_EVENTS for event in taken):
        return
    changed = sorted({event["server_uuid"] for event in taken if event["name"] in schemas.NETWORK_EVENTS})
    try:
        request.conductor.external_events(request.context, changed)
    except BROKER_ERRORS as error:
        LOG.warning("No conductor was told of external events: %s", error)
