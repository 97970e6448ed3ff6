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

GUEST: Mapping[str, str] = {"migrate": "destination migrate_uri migrate_disks destination_xml flags bandwidth parallel"}
"""Of Nova's guest in libvirt: what Nova passes there is what a transfer is told."""

HOST: Mapping[str, str] = {"get_guest": "instance"}
HOST_ATTRIBUTES = ("_wrapped_conn_lock",)
"""Of Nova's libvirt host."""

REPORT_CLIENT: Mapping[str, str] = {
    "get_allocs_for_consumer": "context consumer",
    "move_allocations": "context source_consumer_uuid target_consumer_uuid",
}
"""Of the compute manager's client for placement."""

RPC_CLIENT = ("router",)
"""Of the compute manager's client for other compute services."""
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
INSTANCE: Mapping[str, str] = {
    "get_by_uuid": "context uuid expected_attrs use_slave",
    "save": "expected_vm_state expected_task_state admin_state_reset",
    "get_network_info": "",
}
BLOCK_DEVICES: Mapping[str, str] = {"get_by_instance_uuid": "context instance_uuid use_slave"}
MIGRATE_DATA = ("migration", "filename", "block_migration", "is_shared_instance_path")
MIGRATION_FIELDS = (
    *("id", "uuid", "status", "migration_type", "instance_uuid", "source_compute", "dest_compute"),
    *(f"{what}_{how}" for what in ("memory", "disk") for how in ("total", "processed", "remaining")),
)
INSTANCE_FIELDS = ("uuid", "display_name", "host", "task_state", "vm_state", "progress", "deleted", "flavor", "resources")

OPTIONS = (
    "live_migration_bandwidth",
    "live_migration_completion_timeout",
    "live_migration_downtime",
    "live_migration_inbound_addr",
    "live_migration_monitor_interval",
    "live_migration_parallel_connections",
    "live_migration_timeout_action",
)
"""Of Nova's section `[libvirt]`."""

NAMES: Mapping[str, str] = {
    "nova.baserpc": "BaseRPCAPI",
    "nova.compute.power_state": "SHUTDOWN",
    "nova.compute.rpcapi": "ComputeAPI RPC_TOPIC RPC_TOPIC_ALT",
    "nova.compute.task_states": "DELETING MIGRATING",
    "nova.compute.utils": "EventReporter",
    "nova.conf": "CONF",
    "nova.context": "get_admin_context",
    "nova.exception": (
        "CellTimeout InstanceNotFound InvalidConfiguration MigrationError MigrationNotFound PortBindingActivationFailed"
    ),
    "nova.monkey_patch": "is_patched",
    "nova.objects": "BlockDeviceMappingList Instance InstanceList LibvirtLiveMigrateData Migration MigrationList",
    "nova.objects.base": "NovaObject",
    "nova.rpc": "get_client",
    "nova.scheduler.client.report": "SchedulerReportClient",
    "nova.version": "version_string",
    "nova.virt.libvirt.driver": "LibvirtDriver",
    "nova.virt.libvirt.guest": "Guest",
    "nova.virt.libvirt.utils": "get_instance_path get_instance_path_at_destination",
}
"""By module, whatever is used; a test compares this with our code."""


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
