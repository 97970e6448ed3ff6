"""Body of POST /os-server-external-events."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.types import UUID, Schema, document

NETWORK_EVENTS = ("network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted")
# known to clients, and accepted without effect: nothing here acts upon them
_SINCE: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ()),
    (51, ("volume-extended",)),
    (76, ("power-update",)),
    (82, ("accelerator-request-bound",)),
    (93, ("volume-reimaged",)),
)
STATUSES = ("failed", "completed", "in-progress")


def _create() -> Versioned[Schema]:
    found: dict[int, Schema] = {}
    names: tuple[str, ...] = NETWORK_EVENTS
    for minimum, more in _SINCE:
        names += more
        event: dict[str, Any] = {
            "server_uuid": UUID,
            "name": {"type": "string", "enum": list(names)},
            "status": {"type": "string", "enum": list(STATUSES)},
            "tag": {"type": "string", "maxLength": 255},
        }
        events = {"type": "array", "minItems": 1, "items": document(event, ["server_uuid", "name"])}
        found[minimum] = document({"events": events}, ["events"])
    return Versioned(found)


CREATE = _create()
