"""Images of the embedded source in the shape of Glance's v2 API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nova_blockmigrate.api.query import Query
from nova_blockmigrate.api.views.times import zulu
from nova_blockmigrate.db.models import Image

_WORD, _WORD_OR_NONE = {"type": "string"}, {"type": ["null", "string"]}
_NUMBER, _NUMBER_OR_NONE, _TRUTH = {"type": "integer"}, {"type": ["null", "integer"]}, {"type": "boolean"}
_IMAGE: dict[str, Any] = {
    "name": "image",
    "properties": {
        **dict.fromkeys(("id", "status", "visibility", "created_at", "updated_at", "file", "self", "schema"), _WORD),
        **dict.fromkeys(("name", "owner", "container_format", "disk_format", "checksum"), _WORD_OR_NONE),
        **dict.fromkeys(("os_hash_algo", "os_hash_value"), _WORD_OR_NONE),
        **dict.fromkeys(("size", "virtual_size"), _NUMBER_OR_NONE),
        **dict.fromkeys(("min_disk", "min_ram"), _NUMBER),
        **dict.fromkeys(("protected", "os_hidden"), _TRUTH),
        "tags": {"type": "array", "items": _WORD},
    },
    "additionalProperties": _WORD,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "image": _IMAGE,
    "images": {"name": "images", "properties": {"images": {"type": "array", "items": _IMAGE}, "first": _WORD, "schema": _WORD}},
}
"""What `schema` leads to, in an image and in a list: Glance's own client (so Horizon) reads no image without."""


def index(found: list[Image], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Those that the parameters name, and no more than a page of them."""
    query = Query({name: list(values) for name, values in given.items()})
    for parameter, attribute in (("name", "name"), ("id", "id"), ("names", "name")):
        if (wanted := query.text(parameter)) is not None:
            allowed = wanted.removeprefix("in:").split(",") if wanted.startswith("in:") else [wanted]
            found = [image for image in found if getattr(image, attribute) in allowed]
    if marker := query.text("marker"):
        ids = [image.id for image in found]
        found = found[ids.index(marker) + 1 :] if marker in ids else []
    found = found[: query.integer("limit")] if "limit" in query else found
    return {"images": [show(image) for image in found], "first": "/v2/images", "schema": "/v2/schemas/images"}


def show(image: Image) -> dict[str, Any]:
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
