"""Servers as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from nova_blockmigrate import policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.views import interfaces, links
from nova_blockmigrate.api.views.times import zulu
from nova_blockmigrate.db.models import BlockDeviceMapping, Instance
from nova_blockmigrate.objects import TaskState, VmState

_STATUS_OF_VM_STATE = {
    VmState.BUILDING: "BUILD",
    VmState.ACTIVE: "ACTIVE",
    VmState.PAUSED: "PAUSED",
    VmState.SUSPENDED: "SUSPENDED",
    VmState.STOPPED: "SHUTOFF",
    VmState.DELETED: "DELETED",
    VmState.ERROR: "ERROR",
}
_STATUS_OF_BOTH = {
    (VmState.ACTIVE, TaskState.MIGRATING): "MIGRATING",
    (VmState.PAUSED, TaskState.MIGRATING): "MIGRATING",
    (VmState.ACTIVE, TaskState.REBOOTING): "REBOOT",
    (VmState.STOPPED, TaskState.REBOOTING): "REBOOT",
}
STATUSES_OF_NOVA = frozenset(
    {
        *("ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", "MIGRATING", "PASSWORD", "PAUSED", "REBOOT", "REBUILD", "RESCUE"),
        *("RESIZE", "REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "SHUTOFF", "SOFT_DELETED", "SUSPENDED", "UNKNOWN"),
        "VERIFY_RESIZE",
    }
)
"""What may be asked for; servers of ours are in some of them only."""
_WITH_PROGRESS = ("ACTIVE", "BUILD", "MIGRATING")
_WITH_FAULT = ("ERROR", "DELETED")
_UNEXPLAINED = "The last action on this server failed. Administrators see the reason here."


def status(vm_state: str, task_state: str | None) -> str:
    """Nova's status, out of the two states."""
    plain = _STATUS_OF_VM_STATE[VmState(vm_state)]
    return _STATUS_OF_BOTH.get((VmState(vm_state), TaskState(task_state)), plain) if task_state else plain


def states_of(wanted: str) -> list[tuple[str, list[str], list[str]]]:
    """The inverse of `status`, for filters: a vm_state with the task states that it needs (any if empty) and must not have."""
    found: list[tuple[str, list[str], list[str]]] = []
    for vm_state, plain in _STATUS_OF_VM_STATE.items():
        special = {task: status for (vm, task), status in _STATUS_OF_BOTH.items() if vm is vm_state}
        needed = [task.value for task, status in special.items() if status == wanted.upper()]
        if needed:
            found.append((vm_state.value, needed, []))
        elif plain == wanted.upper():
            found.append((vm_state.value, [], [task.value for task in special]))
    return found


def host_id(server: Instance) -> str:
    """Tells a project's user which of its servers share a host, and nothing else."""
    return hashlib.sha224((server.project_id + server.host).encode()).hexdigest() if server.host else ""


def brief(request: Request, server: Instance) -> dict[str, Any]:
    return {"id": server.uuid, "name": server.display_name, "links": links.both(request, f"servers/{server.uuid}")}


def created(request: Request, server: Instance, admin_password: str, groups: Sequence[str] = ()) -> dict[str, Any]:
    """The answer to POST /servers. `groups`: names of those that its ports will be in, when they are made."""
    return {
        "id": server.uuid,
        "links": links.both(request, f"servers/{server.uuid}"),
        "adminPass": admin_password,
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": security_groups(server) or [{"name": name} for name in groups or ["default"]],
    }


def security_groups(server: Instance) -> list[dict[str, str]]:
    """The groups that the server's ports are in, each once."""
    return [{"name": name} for name in dict.fromkeys(interfaces.security_groups(server))]


def server_groups(server: Instance) -> list[str]:
    return [server.server_group_id] if server.server_group_id else []


def basic(request: Request, server: Instance) -> dict[str, Any]:
    """What every full answer about a server has; all of it in the answer to PUT below 2.75."""
    minor = request.microversion
    shown: dict[str, Any] = brief(request, server) | {
        "status": status(server.vm_state, server.task_state),
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": dict(server.server_metadata),
        "hostId": host_id(server),
        "image": {"id": server.image_id, "links": [links.bookmark(request, f"images/{server.image_id}")]}
        if server.image_id
        else "",
        "flavor": _flavor(request, server),
        "created": zulu(server.created_at),
        "updated": zulu(server.updated_at or server.created_at),
        "addresses": interfaces.addresses(server),
        "accessIPv4": server.access_ip_v4 or "",
        "accessIPv6": server.access_ip_v6 or "",
        "OS-DCF:diskConfig": "MANUAL",
    }
    if shown["status"] in _WITH_PROGRESS:
        shown["progress"] = server.progress
    if shown["status"] in _WITH_FAULT and server.fault:
        shown["fault"] = _fault(request, server, server.fault)
    if minor >= 9:
        shown["locked"] = server.locked
    if minor >= 19:
        shown["description"] = server.description
    if minor >= 26:
        shown["tags"] = list(server.tags)
    if minor >= 63:
        shown["trusted_image_certificates"] = None
    if minor >= 73:
        shown["locked_reason"] = server.locked_reason
    return shown


def full(request: Request, server: Instance, host_status: Mapping[str, str], one: bool = True) -> dict[str, Any]:
    """A server with all its attributes that the caller may see. `host_status` by host; `one`: not part of a list."""
    minor = request.microversion
    target = _target(server)
    shown = basic(request, server) | {
        "config_drive": "",
        "key_name": server.key_name,
        "OS-EXT-AZ:availability_zone": server.availability_zone or "",
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "OS-SRV-USG:launched_at": _usage(server.launched_at),
        "OS-SRV-USG:terminated_at": _usage(server.terminated_at),
        "os-extended-volumes:volumes_attached": [_volume(mapping, minor) for mapping in server.volumes],
    }
    if groups := security_groups(server):  # (Nova leaves the key out, too, when there is none)
        shown["security_groups"] = groups
    if request.can(policies.SERVERS_EXTENDED, target):
        shown |= _extended(server, minor)
    elif minor >= 90:
        shown["OS-EXT-SRV-ATTR:hostname"] = server.hostname
    if minor >= 16 and request.can(policies.SERVERS_HOST_STATUS, target):
        shown["host_status"] = host_status.get(server.host, "UNKNOWN") if server.host else ""
    if minor >= 71 and one:
        shown["server_groups"] = server_groups(server)
    if minor >= 96:
        shown["pinned_availability_zone"] = server.availability_zone if server.requested_host else None
    return shown


def _fault(request: Request, server: Instance, fault: Mapping[str, Any]) -> dict[str, Any]:
    """What went wrong on a host (code 500) names it: for those who see the hosts of servers."""
    shown = {key: fault[key] for key in ("code", "created", "message") if key in fault}
    if shown.get("code") == 500 and not request.can(policies.SERVERS_EXTENDED, _target(server)):
        shown["message"] = _UNEXPLAINED
    return shown


def _target(server: Instance) -> dict[str, str]:
    return {"project_id": server.project_id, "user_id": server.user_id}


def _volume(mapping: BlockDeviceMapping, minor: int) -> dict[str, Any]:
    return {"id": mapping.volume_id} | ({"delete_on_termination": mapping.delete_on_termination} if minor >= 3 else {})


def _image(request: Request, server: Instance) -> dict[str, Any] | str:
    return {"id": server.image_id, "links": [links.bookmark(request, f"images/{server.image_id}")]} if server.image_id else ""


def _flavor(request: Request, server: Instance) -> dict[str, Any]:
    flavor = server.flavor
    if request.microversion < 47:
        flavor_id = flavor.get("flavorid", "")
        return {"id": flavor_id, "links": [links.bookmark(request, f"flavors/{flavor_id}")]}
    return {
        "original_name": flavor.get("name", ""),
        "vcpus": server.vcpus,
        "ram": server.memory_mib,
        "disk": server.root_gib,
        "ephemeral": 0,
        "swap": 0,
    } | ({"extra_specs": dict(flavor.get("extra_specs") or {})} if request.can(policies.SERVERS_FLAVOR_SPECS) else {})


def _extended(server: Instance, minor: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        "host": server.host,
        "hypervisor_hostname": server.node,
        "instance_name": server.domain_name,
    }
    if minor >= 3:
        values |= {
            "hostname": server.hostname,
            "reservation_id": server.reservation_id,
            "launch_index": 0,
            "kernel_id": "",
            "ramdisk_id": "",
            "root_device_name": "/dev/vda",
            "user_data": server.user_data,
        }
    return {f"OS-EXT-SRV-ATTR:{name}": value for name, value in values.items()}


def _usage(time: Any) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f") if time else None
