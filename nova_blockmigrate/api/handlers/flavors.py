"""Flavors: list, show, create, describe, delete. Who may use which, and extra specs, are in `flavor_access`."""

from __future__ import annotations

from typing import Any

from oslo_utils import strutils

from nova_blockmigrate import policies
from nova_blockmigrate.api import paging
from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.schemas import flavors as schemas
from nova_blockmigrate.api.views import links
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Flavor
from nova_blockmigrate.db.queries import flavor_access, flavors

_QUERY: Versioned[frozenset[str]] = Versioned(
    {1: frozenset("*"), 75: frozenset(["limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir"])}
)
_SORT_KEYS = {
    "created_at": "created_at",
    "description": "description",
    "flavorid": "flavorid",
    "id": "id",
    "memory_mb": "memory_mib",
    "name": "name",
    "root_gb": "root_gib",
    "vcpus": "vcpus",
}
_ONE = "/flavors/{flavor_id}"


@route("GET", "/flavors", query=_QUERY)
def index(request: Request) -> dict[str, Any]:
    found, links_ = _search(request)
    return {"flavors": [_brief(request, flavor) for flavor in found]} | links_


@route("GET", "/flavors/detail", query=_QUERY)
def detail(request: Request) -> dict[str, Any]:
    found, links_ = _search(request)
    return {"flavors": [_full(request, flavor) for flavor in found]} | links_


@route("GET", _ONE)
def show(request: Request, flavor_id: str) -> dict[str, Any]:
    with session.reader() as db:
        return {"flavor": _full(request, flavor_access.visible(db, request.context, flavor_id))}


@route("POST", "/flavors", policy=policies.FLAVORS_CREATE, body=schemas.CREATE)
def create(request: Request) -> dict[str, Any]:
    body = request.body["flavor"]
    given_id = body.get("id")
    with session.writer() as db:
        flavor = flavors.create(
            db,
            flavorid=None if given_id in (None, "auto") else str(given_id),
            name=body["name"],
            memory_mib=int(body["ram"]),
            vcpus=int(body["vcpus"]),
            root_gib=int(body["disk"]),
            is_public=strutils.bool_from_string(body.get("os-flavor-access:is_public", True), strict=True),
            description=body.get("description"),
        )
    return {"flavor": _full(request, flavor)}


@route("PUT", _ONE, policy=policies.FLAVORS_UPDATE, body=schemas.UPDATE, minimum=55)
def update(request: Request, flavor_id: str) -> dict[str, Any]:
    with session.writer() as db:
        flavor = flavors.update(db, flavor_id, description=request.body["flavor"]["description"])
    return {"flavor": _full(request, flavor)}


@route("DELETE", _ONE, policy=policies.FLAVORS_DELETE, status=202)
def delete(request: Request, flavor_id: str) -> None:
    with session.writer() as db:
        flavor_access.forget(db, flavors.get(db, flavor_id))
        flavors.delete(db, flavor_id)


def _search(request: Request) -> tuple[list[Flavor], dict[str, Any]]:
    query = request.query
    conditions: list[Any] = [Flavor.disabled.is_(False)]
    if not request.context.is_admin:
        conditions.append(flavor_access.condition(request.context.project_id))
    elif "is_public" not in query:
        conditions.append(Flavor.is_public.is_(True))
    elif (query.text("is_public") or "").lower() != "none":
        conditions.append(Flavor.is_public.is_(query.boolean("is_public")))
    for name, column in (("minRam", Flavor.memory_mib), ("minDisk", Flavor.root_gib)):
        if name in query:
            conditions.append(column >= query.integer(name))
    page = paging.page(request, _SORT_KEYS, (("flavorid", False),))
    with session.reader() as db:
        found = flavors.search(db, conditions, page)
    return paging.links(request, "flavors_links", found, lambda flavor: flavor.flavorid)


def _brief(request: Request, flavor: Flavor) -> dict[str, Any]:
    shown = {"id": flavor.flavorid, "name": flavor.name, "links": links.both(request, f"flavors/{flavor.flavorid}")}
    return shown | {"description": flavor.description} if request.microversion >= 55 else shown


def _full(request: Request, flavor: Flavor) -> dict[str, Any]:
    shown = _brief(request, flavor) | {
        "ram": flavor.memory_mib,
        "vcpus": flavor.vcpus,
        "disk": flavor.root_gib,
        "swap": 0 if request.microversion >= 75 else "",
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": flavor.disabled,
        "os-flavor-access:is_public": flavor.is_public,
        "rxtx_factor": 1.0,
    }
    if request.microversion >= 61 and request.can(policies.EXTRA_SPECS_INDEX):
        shown["extra_specs"] = flavor.extra_specs
    return shown
