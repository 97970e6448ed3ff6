"""The embedded image source, in the shape of Glance's v2 API: enough to find an image by name or id.

`nova boot --image NAME` asks for it below the compute endpoint when there is no catalogue (see application.canonical_path).
"""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route
from nova_blockmigrate.api.views.times import zulu
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Image
from nova_blockmigrate.db.queries import images


@route("GET", "/images", policy=policies.IMAGES_READ, prefix="/v2")
def index(request: Request) -> dict[str, Any]:
    query = request.query
    with session.reader() as db:
        found = images.search(db)
    for parameter, attribute in (("name", "name"), ("id", "id"), ("names", "name")):
        if (wanted := query.text(parameter)) is not None:
            allowed = wanted.removeprefix("in:").split(",") if wanted.startswith("in:") else [wanted]
            found = [image for image in found if getattr(image, attribute) in allowed]
    if marker := query.text("marker"):
        found = found[[image.id for image in found].index(marker) + 1 :] if marker in [image.id for image in found] else []
    found = found[: query.integer("limit")] if "limit" in query else found
    return {"images": [_view(image) for image in found], "first": "/v2/images", "schema": "/v2/schemas/images"}


@route("GET", "/images/{image_id}", policy=policies.IMAGES_READ, prefix="/v2")
def show(request: Request, image_id: str) -> dict[str, Any]:
    with session.reader() as db:
        return _view(images.get(db, image_id))


def _view(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "name": image.name,
        "status": "active",
        "visibility": "public",
        "owner": None,
        "protected": False,
        "os_hidden": False,
        "container_format": "bare",
        "disk_format": image.disk_format,
        "size": image.size_bytes,
        "virtual_size": None,
        "checksum": None,
        "os_hash_algo": "sha256",
        "os_hash_value": image.sha256,
        "min_disk": image.min_disk_gib,
        "min_ram": image.min_ram_mib,
        "tags": [],
        "created_at": zulu(image.created_at),
        "updated_at": zulu(image.updated_at or image.created_at),
        "file": f"/v2/images/{image.id}/file",
        "self": f"/v2/images/{image.id}",
        "schema": "/v2/schemas/image",
    }
