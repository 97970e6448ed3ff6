"""os-hypervisors: what the hosts are and have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import orm

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api import paging, query
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views import hypervisors as views
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import ComputeNode
from nova_blockmigrate.db.queries import compute_nodes, rows, server_lists

_PAGED = frozenset({"limit", "marker"})
_LIST: Versioned[frozenset[str]] = Versioned(
    {1: frozenset("*"), 33: _PAGED | {"*"}, 53: _PAGED | {"hypervisor_hostname_pattern", "with_servers"}}
)
_SHOW: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 53: frozenset({"with_servers"})})
_ONE = "/os-hypervisors/{hypervisor_id}"


class NoHypervisorMatches(exceptions.NotFound):
    template = "No hypervisor matching '{pattern}' could be found."


@route("GET", "/os-hypervisors", policy=policies.HYPERVISORS_LIST, query=_LIST)
def index(request: Request) -> dict[str, Any]:
    return _list(request, views.brief)


@route("GET", "/os-hypervisors/detail", policy=policies.HYPERVISORS_DETAIL, query=_LIST)
def detail(request: Request) -> dict[str, Any]:
    return _list(request, views.full)


@route("GET", "/os-hypervisors/statistics", policy=policies.HYPERVISORS_STATISTICS, maximum=87)
def statistics(request: Request) -> dict[str, Any]:
    with session.reader() as db:
        return {"hypervisor_statistics": views.statistics(compute_nodes.all(db))}


@route("GET", _ONE, policy=policies.HYPERVISORS_SHOW, query=_SHOW)
def show(request: Request, hypervisor_id: str) -> dict[str, Any]:
    with session.reader() as db:
        node = _find(db, request, hypervisor_id)
        shown = views.full(request, node)
        if request.microversion >= 53 and request.query.boolean("with_servers"):
            shown = views.with_servers(request, shown, server_lists.names_by_host(db, [node.host]).get(node.host, []))
    return {"hypervisor": shown}


@route("GET", _ONE + "/uptime", policy=policies.HYPERVISORS_UPTIME, maximum=87)
def uptime(request: Request, hypervisor_id: str) -> dict[str, Any]:
    with session.reader() as db:
        node = _find(db, request, hypervisor_id)
    return {"hypervisor": views.brief(request, node) | {"uptime": node.uptime}}


@route("GET", _ONE + "/search", policy=policies.HYPERVISORS_SEARCH, maximum=52)
def search(request: Request, hypervisor_id: str) -> dict[str, Any]:
    with session.reader() as db:
        return {"hypervisors": [views.brief(request, node) for node in _matching(db, hypervisor_id)]}


@route("GET", _ONE + "/servers", policy=policies.HYPERVISORS_SERVERS, maximum=52)
def servers(request: Request, hypervisor_id: str) -> dict[str, Any]:
    with session.reader() as db:
        found = _matching(db, hypervisor_id)
        by_host = server_lists.names_by_host(db, [node.host for node in found])
    return {"hypervisors": [views.with_servers(request, views.brief(request, node), by_host.get(node.host, [])) for node in found]}


def _list(request: Request, view: Callable[[Request, ComputeNode], dict[str, Any]]) -> dict[str, Any]:
    asked, since_53 = request.query, request.microversion >= 53
    pattern = asked.text("hypervisor_hostname_pattern") if since_53 else None
    with_servers = since_53 and asked.boolean("with_servers")
    if pattern is not None and ("limit" in asked or "marker" in asked):
        raise exceptions.ValidationError(detail="hypervisor_hostname_pattern does not go with limit and marker")
    with session.reader() as db:
        found = _matching(db, pattern) if pattern else _page(db, request)
        by_host = server_lists.names_by_host(db, [node.host for node in found]) if with_servers else {}
    links: dict[str, Any] = {}
    if request.microversion >= 33 and not pattern:
        found, links = paging.links(request, "hypervisors_links", found, lambda node: views.identifier(request, node))
    shown = [(node, view(request, node)) for node in found]
    if with_servers:
        shown = [(node, views.with_servers(request, each, by_host.get(node.host, []))) for node, each in shown]
    return {"hypervisors": [each for _, each in shown]} | links


def _page(db: orm.Session, request: Request) -> list[ComputeNode]:
    if request.microversion < 33:
        return compute_nodes.all(db)
    marker: int | str | None = request.query.text("marker")
    if request.microversion < 53:
        marker = request.query.integer("marker")
    page = rows.Page(paging.limit(request) + 1, marker, (("id", False),))
    return rows.page(db, ComputeNode, [], page, "uuid" if request.microversion >= 53 else "id")


def _matching(db: orm.Session, pattern: str) -> list[ComputeNode]:
    """
    :raises NoHypervisorMatches:
    """
    found = [node for node in compute_nodes.all(db) if pattern in node.hypervisor_hostname]
    if not found:
        raise NoHypervisorMatches(pattern=pattern)
    return found


def _find(db: orm.Session, request: Request, hypervisor_id: str) -> ComputeNode:
    """From 2.53 on Nova answers 400 to what is no uuid. `nova hypervisor-show` first asks with the name it was given, and looks for
    the name only after a 404: so that is the answer here.

    :raises exceptions.HypervisorNotFound:
    """
    if request.microversion >= 53:
        found = compute_nodes.find(db, hypervisor_id)
    else:
        found = compute_nodes.find(db, query.number(hypervisor_id) or 0)
    if found is None:
        raise exceptions.HypervisorNotFound(hypervisor_id=hypervisor_id)
    return found
