"""What is needed of Nova: every name of its that is used here, and what its parameters are called. Pure.

Looked at once, when the driver is loaded. Whatever differs is told, and the service does not start: guesses move no guests.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

SUPPORTED = ("34",)
"""Major versions of Nova that this was shown to work with."""

_LIVE = "context instance dest post_method recover_method block_migration migrate_data"
DRIVER: Mapping[str, str] = {
    "init_host": "host",
    "emit_event": "event",
    "process_instances_at_startup": "context instances",
    "check_can_live_migrate_source": "context instance dest_check_data block_device_info",
    "get_instance_disk_info": "instance block_device_info",
    "pre_live_migration": "context instance block_device_info network_info disk_info migrate_data",
    "rollback_live_migration_at_destination": "context instance network_info block_device_info destroy_disks migrate_data",
    "post_live_migration_at_destination": "context instance network_info block_migration block_device_info",
    "live_migration_abort": "instance",
    "live_migration_force_complete": "instance",
    "cleanup": "context instance network_info block_device_info destroy_disks migrate_data destroy_vifs destroy_secrets",
    "_live_migration": _LIVE,
    "_live_migration_operation": "context instance dest block_migration migrate_data guest device_names",
    "_live_migration_copy_disk_paths": "context instance guest",
    "_live_migration_uri": "dest",
    "_uri": "",
}
"""Methods of Nova's libvirt driver, with their parameters."""

MANAGER: Mapping[str, str] = {
    "_post_live_migration": "ctxt instance dest block_migration migrate_data source_bdms",
    "_post_live_migration_update_host": "ctxt instance dest block_migration migrate_data source_bdms",
    "_rollback_live_migration": "context instance dest migrate_data migration_status source_bdms pre_live_migration",
    "_live_migration_cleanup_flags": "migrate_data migr_ctxt",
    "_delete_allocation_after_move": "context instance migration",
    "_sync_instance_power_state": "context db_instance vm_power_state use_slave",
}
"""Methods of Nova's compute manager."""

HOST: Mapping[str, str] = {"get_guest": "instance"}
HOST_ATTRIBUTES = ("_wrapped_conn_lock",)
"""Of Nova's libvirt host."""

RPCAPI = ("RPC_TOPIC", "RPC_TOPIC_ALT")
COMPUTE_API: Mapping[str, str] = {"prepare_for_alt_rpcserver": "client server version kwargs"}
"""Which queue a destination is asked on is decided there, by a version of the RPC (`answers.ALT_SINCE`)."""
BASE_RPC: Mapping[str, str] = {"ping": "context arg"}
EVENT_REPORTER: Mapping[str, str] = {"__init__": "context event_name host instance_uuids graceful_exit"}
MIGRATION: Mapping[str, str] = {
    "get_by_uuid": "context migration_uuid",
    "get_by_instance_and_status": "context instance_uuid status",
}
MIGRATION_LIST: Mapping[str, str] = {"get_by_filters": "context filters sort_keys sort_dirs limit marker"}
UTILS: Mapping[str, str] = {"get_instance_path_at_destination": "instance migrate_data", "get_instance_path": "instance relative"}
MIGRATE_DATA = ("migration", "filename", "block_migration", "is_shared_instance_path")


def problem_of_version(version: str) -> str:
    """Why a version of Nova is refused; empty when it is not."""
    if version.split(".")[0] in SUPPORTED:
        return ""
    return (
        f"this is Nova {version}, and this driver was shown to work with Nova {', '.join(SUPPORTED)} only. To do: install a "
        "nova-blockmigrate for this Nova, or set compute_driver = libvirt.LibvirtDriver"
    )


def problems(owner: Any, methods: Mapping[str, str]) -> list[str]:
    """What is not as it is needed, in words."""
    return [words for name, parameters in methods.items() if (words := _problem(owner, name, parameters.split()))]


def missing(owner: Any, names: Collection[str]) -> list[str]:
    """Names that an object, or a dictionary, does not have, in words."""
    has = owner.__contains__ if isinstance(owner, Mapping) else lambda name: hasattr(owner, name)
    return [f"{getattr(owner, '__name__', type(owner).__name__)}.{name} is missing" for name in names if not has(name)]


def _problem(owner: Any, name: str, wanted: list[str]) -> str:
    method = inspect.getattr_static(owner, name, None)
    if method is None:
        return f"{owner.__name__}.{name} is missing"
    function = inspect.unwrap(method.__func__ if isinstance(method, staticmethod | classmethod) else method)
    found = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
    return "" if found == wanted else f"{owner.__name__}.{name} takes ({', '.join(found)}), not ({', '.join(wanted)})"
