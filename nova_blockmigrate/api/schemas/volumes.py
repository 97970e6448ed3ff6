"""Bodies about the volumes of servers, and the query parameters of their list."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import BOOLEAN, UUID, Schema, document, wrapped

_DEVICE: Schema = {"type": ["string", "null"], "pattern": r"^(/dev/)?(x?v|s|h)d[a-z]+$"}
_TAG: Schema = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": r"^[^,/]*$"}
_ATTACH: dict[str, Schema] = {"volumeId": UUID, "device": _DEVICE}
_TAGGED = _ATTACH | {"tag": _TAG}
ATTACH: Versioned[Schema] = Versioned(
    {
        1: wrapped("volumeAttachment", document(_ATTACH, ["volumeId"])),
        49: wrapped("volumeAttachment", document(_TAGGED, ["volumeId"])),
        79: wrapped("volumeAttachment", document(_TAGGED | {"delete_on_termination": BOOLEAN}, ["volumeId"])),
    }
)
_REPEATED = {"device": _DEVICE, "tag": {"type": ["string", "null"]}, "serverId": UUID, "id": UUID}
UPDATE: Versioned[Schema] = Versioned(
    {
        1: wrapped("volumeAttachment", document({"volumeId": UUID}, ["volumeId"])),
        85: wrapped("volumeAttachment", document({"volumeId": UUID, "delete_on_termination": BOOLEAN} | _REPEATED, ["volumeId"])),
    }
)
PAGE: Versioned[frozenset[str]] = Versioned({1: frozenset({"*"}), 75: frozenset({"limit", "offset"})})
