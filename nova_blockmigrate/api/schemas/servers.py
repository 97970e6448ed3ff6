"""Bodies of POST and PUT on servers, and the query parameters of lists."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.api.microversions import Versioned
from nova_blockmigrate.api.schemas.server_metadata import METADATA
from nova_blockmigrate.api.schemas.server_tags import TAGS
from nova_blockmigrate.api.schemas.types import (
    BOOLEAN,
    DESCRIPTION,
    HOST_OR_NONE,
    NAME,
    POSITIVE,
    UUID,
    Schema,
    document,
    only,
    wrapped,
)

_NETWORK: Schema = document(
    {"uuid": UUID, "port": UUID, "fixed_ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}}
) | {"anyOf": [{"required": ["uuid"]}, {"required": ["port"]}]}
_NETWORKS: Schema = {"type": "array", "items": _NETWORK}
_NETWORKS_37: Schema = {"oneOf": [_NETWORKS, {"enum": ["none", "auto"]}]}
# what `openstack server create --image` always sends beside imageRef: the root disk, local, from the image
_ROOT_DISK: Schema = document(
    {
        "uuid": UUID,
        "boot_index": {"enum": [0, "0"]},
        "source_type": only("image"),
        "destination_type": only("local"),
        "delete_on_termination": BOOLEAN,
    },
    ["uuid", "source_type"],
)
_ROOT_VOLUME: Schema = document(
    {
        "uuid": UUID,
        "boot_index": {"enum": [0, "0"]},
        "source_type": only("volume"),
        "destination_type": only("volume"),
        "delete_on_termination": BOOLEAN,
        "device_name": {"enum": [None, "vda", "/dev/vda"]},
        "tag": {"type": "string", "minLength": 1, "maxLength": 60},
    },
    ["uuid", "source_type", "boot_index"],
)
_ACCESS: dict[str, Schema] = {
    "accessIPv4": {"anyOf": [only(""), {"type": "string", "format": "ipv4"}]},
    "accessIPv6": {"anyOf": [only(""), {"type": "string", "format": "ipv6"}]},
}
_SERVER: dict[str, Any] = {
    "name": NAME,
    "imageRef": {"anyOf": [UUID, only("")]},
    "flavorRef": {"type": ["string", "integer"], "minLength": 1},
    "networks": _NETWORKS,
    "availability_zone": {"type": "string", "minLength": 1, "maxLength": 255},
    "min_count": POSITIVE,
    "max_count": POSITIVE,
    "return_reservation_id": BOOLEAN,
    "metadata": METADATA,
    "key_name": {"type": "string", "minLength": 1, "maxLength": 255},
    "adminPass": {"type": "string"},
    "user_data": {"type": "string", "contentEncoding": "base64", "maxLength": 65535},
    "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
    "security_groups": {
        "type": "array",
        "items": document({"name": {"type": "string", "minLength": 1, "maxLength": 255}}),
    },
    "config_drive": {"enum": [None, False, "", "False", "false"]},
    **_ACCESS,
    "block_device_mapping_v2": {"type": "array", "items": {"anyOf": [_ROOT_DISK, _ROOT_VOLUME]}, "maxItems": 1},
}
_HOSTNAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-]+$"}
_FQDN: Schema = {"type": "string", "minLength": 2, "maxLength": 255, "pattern": r"^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$"}
_HINTS: Schema = {"type": "object", "properties": {"group": UUID}}
_SINCE: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {}),
    (19, {"description": DESCRIPTION}),
    (37, {"networks": _NETWORKS_37}),
    (52, {"tags": TAGS}),
    (74, {"host": HOST_OR_NONE, "hypervisor_hostname": HOST_OR_NONE}),
    (90, {"hostname": _HOSTNAME}),
    (94, {"hostname": _FQDN}),
)


def _create() -> Versioned[Schema]:
    found: dict[int, Schema] = {}
    properties: dict[str, Any] = dict(_SERVER)
    for minimum, more in _SINCE:
        properties = properties | more
        required = ["name", "flavorRef"] + (["networks"] if minimum >= 37 else [])
        body = document(properties, required)
        # of the scheduler hints, `group` is followed; others are accepted, as nobody here knows them
        found[minimum] = document({"server": body, "os:scheduler_hints": _HINTS, "OS-SCH-HNT:scheduler_hints": _HINTS}, ["server"])
    return Versioned(found)


CREATE = _create()
_CHANGES: dict[str, Any] = {
    "name": NAME,
    "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
    **_ACCESS,
}
UPDATE: Versioned[Schema] = Versioned(
    {
        1: wrapped("server", document(_CHANGES)),
        19: wrapped("server", document(_CHANGES | {"description": DESCRIPTION})),
        90: wrapped("server", document(_CHANGES | {"description": DESCRIPTION, "hostname": _HOSTNAME})),
        94: wrapped("server", document(_CHANGES | {"description": DESCRIPTION, "hostname": _FQDN})),
    }
)
