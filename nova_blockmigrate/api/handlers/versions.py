"""Which versions of the API there are. Needs no token."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.api import microversions
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route

_UPDATED = "2013-07-23T11:33:21Z"


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": f"2.{microversions.MAXIMUM}",
        "min_version": f"2.{microversions.MINIMUM}",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{request.base_url}/v2.1/"}],
    }


@route("GET", "/", authenticated=False, prefix="")
def index(request: Request) -> dict[str, Any]:
    return {"versions": [_version(request)]}


@route("GET", "/v2.1", authenticated=False, prefix="")
def show(request: Request) -> dict[str, Any]:
    media_types = [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]
    return {"version": _version(request) | {"media-types": media_types}}
