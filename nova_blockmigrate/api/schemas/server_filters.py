"""Query parameters of the lists of servers: which there are, and who may use which in which microversion."""

from __future__ import annotations

from nova_blockmigrate.api.microversions import Versioned

_PAGE = frozenset({"limit", "marker", "sort_key", "sort_dir"})
_NOVA_KNOWS = frozenset(
    {
        *("access_ip_v4", "access_ip_v6", "all_tenants", "auto_disk_config", "availability_zone", "block_device_mapping"),
        *("changes-since", "cleaned", "config_drive", "created_at", "deleted", "description", "display_description"),
        *("display_name", "flavor", "host", "hostname", "image", "image_ref", "info_cache", "ip", "ip6", "kernel_id", "key_name"),
        *("launch_index", "launched_at", "locked_by", "metadata", "name", "node", "not-tags", "not-tags-any", "pci_devices"),
        *("power_state", "progress", "project_id", "ramdisk_id", "reservation_id", "root_device_name", "security_groups"),
        *("services", "soft_deleted", "status", "system_metadata", "tags", "tags-any", "task_state", "tenant_id"),
        *("terminated_at", "user_id", "uuid", "vm_state"),
    }
)
# unknown parameters are passed over in old microversions, and refused since 2.75
ACCEPTED: Versioned[frozenset[str]] = Versioned({1: frozenset("*"), 75: _NOVA_KNOWS | _PAGE | {"changes-before", "locked"}})

JOINED = frozenset(
    {"block_device_mapping", "info_cache", "metadata", "pci_devices", "security_groups", "services", "system_metadata"}
)
"""Names that Nova's lists know and refuse."""

_FOR_ALL = frozenset({"reservation_id", "name", "display_name", "status", "image", "flavor", "ip", "changes-since", "all_tenants"})
_TAGS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})
_SINCE_83 = frozenset(
    {
        *("availability_zone", "config_drive", "key_name", "created_at", "launched_at", "terminated_at", "power_state"),
        *("task_state", "vm_state", "progress", "user_id"),
    }
)
FOR_ALL: Versioned[frozenset[str]] = Versioned(
    {
        1: _FOR_ALL,
        5: _FOR_ALL | {"ip6"},
        26: _FOR_ALL | _TAGS | {"ip6"},
        66: _FOR_ALL | _TAGS | {"ip6", "changes-before"},
        73: _FOR_ALL | _TAGS | {"ip6", "changes-before", "locked"},
        83: _FOR_ALL | _TAGS | _SINCE_83 | {"ip6", "changes-before", "locked"},
    }
)
"""Filters that users without `servers:allow_all_filters` may use; others of theirs are passed over."""
SINCE = {"tags": 26, "tags-any": 26, "not-tags": 26, "not-tags-any": 26, "changes-before": 66, "locked": 73}
"""Filters that older microversions do not know."""
