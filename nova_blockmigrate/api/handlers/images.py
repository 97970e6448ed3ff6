"""Images in the shape of Glance's v2 API: enough to find one by name or id, without a catalogue or without a Glance.

`nova boot --image NAME` asks for it below the compute endpoint when there is no catalogue (see application.canonical_path).
"""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views import images as views


@route("GET", "/images", policy=policies.IMAGES_READ, prefix="/v2")
def index(request: Request) -> dict[str, Any]:
    query = {name: request.query.texts(name) for name in request.query.names()}
    return request.deployment.images.search(request.context, query)


@route("GET", "/images/{image_id}", policy=policies.IMAGES_READ, prefix="/v2")
def show(request: Request, image_id: str) -> dict[str, Any]:
    return request.deployment.images.show(request.context, image_id)


@route("GET", "/schemas/{name}", policy=policies.IMAGES_READ, prefix="/v2")
def schema(request: Request, name: str) -> dict[str, Any]:
    if name not in views.SCHEMAS:
        raise exceptions.NotFound("The resource could not be found.")
    return views.SCHEMAS[name]
