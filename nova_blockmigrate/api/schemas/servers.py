"""Bodies of POST and PUT on servers, and the query parameters of lists."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.api.microversions import Versioned
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

_METADATA: Schema = {
    "type": "object",
    "propertyNames": {"pattern": r"^[a-zA-Z0-9-_:. ]{1,255}$"},
    "additionalProperties": {"type": "string", "maxLength": 255},
}
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
_SERVER: dict[str, Any] = {
    "name": NAME,
    "imageRef": {"anyOf": [UUID, only("")]},
    "flavorRef": {"type": ["string", "integer"], "minLength": 1},
    "networks": _NETWORKS,
    "availability_zone": {"type": "string", "minLength": 1, "maxLength": 255},
    "min_count": POSITIVE,
    "max_count": POSITIVE,
    "return_reservation_id": BOOLEAN,
    "metadata": _METADATA,
    "adminPass": {"type": "string"},
    "user_data": {"type": "string", "contentEncoding": "base64", "maxLength": 65535},
    "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
    "security_groups": {
        "type": "array",
        "items": document({"name": {"type": "string", "minLength": 1, "maxLength": 255}}),
    },
    "config_drive": {"enum": [None, False, "", "False", "false"]},
    "accessIPv4": only(""),
    "accessIPv6": only(""),
    "block_device_mapping_v2": {"type": "array", "items": _ROOT_DISK, "maxItems": 1},
}
_SINCE: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {}),
    (19, {"description": DESCRIPTION}),
    (37, {"networks": _NETWORKS_37}),
    (52, {"tags": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 60}, "maxItems": 50}}),
    (74, {"host": HOST_OR_NONE, "hypervisor_hostname": HOST_OR_NONE}),
    (90, {"hostname": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-]+$"}}),
)


def _create() -> Versioned[Schema]:
    found: dict[int, Schema] = {}
    properties: dict[str, Any] = dict(_SERVER)
    for minimum, more in _SINCE:
        properties = properties | more
        required = ["name", "flavorRef"] + (["networks"] if minimum >= 37 else [])
        body = document(properties, required)
        # scheduler hints are accepted and not followed: there is no scheduler to hint to
        found[minimum] = document(
            {"server": body, "os:scheduler_hints": {"type": "object"}, "OS-SCH-HNT:scheduler_hints": {"type": "object"}}, ["server"]
        )
    return Versioned(found)


CREATE = _create()
_CHANGES: dict[str, Any] = {
    "name": NAME,
    "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
    "accessIPv4": only(""),
    "accessIPv6": only(""),
}
UPDATE: Versioned[Schema] = Versioned(
    {
        1: wrapped("server", document(_CHANGES)),
        19: wrapped("server", document(_CHANGES | {"description": DESCRIPTION})),
        90: wrapped("server", document(_CHANGES | {"description": DESCRIPTION, "hostname": _SINCE[-1][1]["hostname"]})),
    }
)

_FILTERS = frozenset(
    {
        *("access_ip_v4", "access_ip_v6", "all_tenants", "auto_disk_config", "availability_zone", "config_drive", "changes-since"),
        *("created_at", "deleted", "description", "display_description", "display_name", "flavor", "host", "hostname", "image"),
        *("image_ref", "ip", "ip6", "kernel_id", "key_name", "launch_index", "launched_at", "limit", "locked_by", "marker", "name"),
        *("node", "not-tags", "not-tags-any", "power_state", "progress", "project_id", "ramdisk_id", "reservation_id"),
        *("root_device_name", "soft_deleted", "sort_dir", "sort_key", "status", "tags", "tags-any", "task_state", "tenant_id"),
        *("terminated_at", "user_id", "uuid", "vm_state"),
    }
)
# unknown parameters are passed over in old microversions, and refused since 2.75
FILTERS: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: _FILTERS | {"changes-before", "locked"}})
