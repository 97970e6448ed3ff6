"""os-simple-tenant-usage: how long projects had which servers."""

from __future__ import annotations

import datetime
from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import paging
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import tenant_usage as schemas
from nova_blockmigrate.api.views import tenant_usage as views
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance, utcnow
from nova_blockmigrate.db.queries import usage

_DAYS = 28
_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


class BadPeriod(exceptions.Invalid):
    template = "Invalid start time. The start time cannot occur after the end time."


@route("GET", "/os-simple-tenant-usage", policy=policies.USAGE_LIST, query=schemas.LIST)
def index(request: Request) -> dict[str, Any]:
    period, now = _period(request), utcnow()
    found, links = _servers(request, None, period, "tenant_usages_links", now)
    of_projects: dict[str, list[Instance]] = {}
    for server in found:
        of_projects.setdefault(server.project_id, []).append(server)
    detailed = request.query.text("detailed") == "1"
    usages = [views.of_project(project, servers, period, now, detailed) for project, servers in of_projects.items()]
    return {"tenant_usages": usages} | links


@route("GET", "/os-simple-tenant-usage/{project_id}", policy=policies.USAGE_SHOW, query=schemas.ONE)
def show(request: Request, project_id: str) -> dict[str, Any]:
    request.authorize(policies.USAGE_SHOW, {"project_id": project_id})
    period, now = _period(request), utcnow()
    found, links = _servers(request, project_id, period, "tenant_usage_links", now)
    shown = views.of_project(project_id, found, period, now, detailed=True) if found else {}
    return {"tenant_usage": shown} | links


def _servers(
    request: Request, project_id: str | None, period: views.Period, key: str, now: datetime.datetime
) -> tuple[list[Instance], dict[str, Any]]:
    paged = request.microversion >= 40
    marker = request.query.text("marker") if paged else None
    limit = paging.limit(request) if paged else request.conf.api.max_limit
    with session.reader() as db:
        found = usage.search(db, project_id, period.start, period.end, limit + 1, marker)
    return paging.links(request, key, found, lambda server: server.uuid) if paged else (found[:limit], {})


def _period(request: Request) -> views.Period:
    """
    :raises BadPeriod: it ends before it begins.
    """
    end = _time(request.query.text("end")) or utcnow()
    try:
        start = _time(request.query.text("start")) or end - datetime.timedelta(days=_DAYS)
    except OverflowError as error:
        raise exceptions.ValidationError(detail=f"end: {end} has no {_DAYS} days before it") from error
    if start > end:
        raise BadPeriod()
    return views.Period(start, end)


def _time(text: str | None) -> datetime.datetime | None:
    if not text:
        return None
    for form in _FORMS:
        try:
            return datetime.datetime.strptime(text, form)  # (UTC, as the database has it)
        except ValueError:
            continue
    raise exceptions.ValidationError(detail=f"{text!r} is no time: write it as 2026-01-31T12:00:00")
