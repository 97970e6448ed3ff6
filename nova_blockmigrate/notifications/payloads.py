"""What notifications carry (pure): Nova's payload objects, with Nova's names, fields and versions.

What a server of ours does not have keeps Nova's value for "none".
"""

from __future__ import annotations

import dataclasses
import datetime
import traceback
from typing import Any

from nova_blockmigrate.db.models import Instance, Service
from nova_blockmigrate.objects import NetworkPort, PowerState, from_primitive

Payload = dict[str, Any]

VERSIONS = {
    "BlockDevicePayload": "1.0",
    "ExceptionPayload": "1.1",
    "FlavorPayload": "1.4",
    "InstanceActionPayload": "1.8",
    "InstanceCreatePayload": "1.12",
    "IpPayload": "1.0",
    "ServiceStatusPayload": "1.1",
}
_POWER_STATES = {
    PowerState.NOSTATE: "pending",
    PowerState.RUNNING: "running",
    PowerState.PAUSED: "paused",
    PowerState.SHUTDOWN: "shutdown",
    PowerState.CRASHED: "crashed",
    PowerState.SUSPENDED: "suspended",
}
_COMPUTE_SERVICE_VERSION = 66
"""What Nova's compute services of the same microversion say: consumers compare it."""


@dataclasses.dataclass(frozen=True)
class Initiator:
    """Whose request it is."""

    request_id: str | None
    user_id: str | None
    project_id: str | None


def wrapped(name: str, data: dict[str, Any]) -> Payload:
    """The envelope of a payload object."""
    return {
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": VERSIONS[name],
        "nova_object.data": data,
    }


def instance_action(instance: Instance, initiator: Initiator, fault: BaseException | None = None) -> Payload:
    return wrapped("InstanceActionPayload", _instance(instance, initiator) | {"fault": exception(fault) if fault else None})


def instance_create(instance: Instance, initiator: Initiator, fault: BaseException | None = None) -> Payload:
    further = {"keypairs": [], "tags": list(instance.tags), "trusted_image_certificates": None}
    data = _instance(instance, initiator) | {"fault": exception(fault) if fault else None} | further
    return wrapped("InstanceCreatePayload", data)


def exception(error: BaseException) -> Payload:
    """Where it was raised, as far as that is known, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    data = {
        "function_name": frames[-1].name if frames else "unknown",
        "module_name": where.tb_frame.f_globals.get("__name__", "unknown") if where else "unknown",
        "exception": type(error).__name__,
        "exception_message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    return wrapped("ExceptionPayload", data)


def service_status(service: Service) -> Payload:
    data = {
        "uuid": service.uuid,
        "host": service.host,
        "binary": service.binary,
        "topic": service.binary.removeprefix("nova-"),
        "report_count": service.report_count,
        "disabled": service.disabled,
        "disabled_reason": service.disabled_reason,
        "forced_down": service.forced_down,
        "availability_zone": None,
        "last_seen_up": _time(service.last_seen_up),
        "version": _COMPUTE_SERVICE_VERSION,
    }
    return wrapped("ServiceStatusPayload", data)


def _instance(instance: Instance, initiator: Initiator) -> dict[str, Any]:
    return {
        "uuid": instance.uuid,
        "user_id": instance.user_id,
        "tenant_id": instance.project_id,
        "reservation_id": instance.reservation_id,
        "display_name": instance.display_name,
        "display_description": instance.description,
        "host_name": instance.hostname,
        "host": instance.host,
        "node": instance.node,
        "os_type": None,
        "architecture": None,
        "availability_zone": instance.availability_zone,
        "flavor": _flavor(instance),
        "image_uuid": instance.image_id,
        "key_name": instance.key_name,
        "kernel_id": "",
        "ramdisk_id": "",
        "created_at": _time(instance.created_at),
        "launched_at": _time(instance.launched_at),
        "terminated_at": _time(instance.terminated_at),
        "deleted_at": _time(instance.deleted_at),
        "updated_at": _time(instance.updated_at),
        "state": instance.vm_state,
        "power_state": _POWER_STATES[PowerState(instance.power_state)],
        "task_state": instance.task_state,
        "progress": instance.progress,
        "ip_addresses": _addresses(instance),
        "block_devices": [_block_device(mapping) for mapping in instance.volumes],
        "metadata": dict(instance.server_metadata),
        "locked": instance.locked,
        "locked_reason": instance.locked_reason,
        "auto_disk_config": "MANUAL",
        "request_id": initiator.request_id,
        "action_initiator_user": initiator.user_id,
        "action_initiator_project": initiator.project_id,
    }


def _flavor(instance: Instance) -> Payload:
    known = instance.flavor
    data = {
        "flavorid": known.get("flavorid", ""),
        "name": known.get("name", ""),
        "memory_mb": instance.memory_mib,
        "vcpus": instance.vcpus,
        "root_gb": instance.root_gib,
        "ephemeral_gb": 0,
        "swap": 0,
        "rxtx_factor": 1.0,
        "vcpu_weight": 0,
        "disabled": False,
        "is_public": True,
        "extra_specs": known.get("extra_specs", {}),
        "projects": None,
        "description": None,
    }
    return wrapped("FlavorPayload", data)


def _addresses(instance: Instance) -> list[Payload]:
    """One for each address."""
    if instance.network_info is not None:
        ports = [from_primitive(NetworkPort, port) for port in instance.network_info]
        return [
            _ip(port.vif.mac, fixed.ip_address, port.vif.port_id, port.network_name, port.vif.tap)
            for port in ports
            for fixed in port.fixed_ips
        ]
    return [_ip(port.mac_address, port.ip_address, port.id, port.network.name, f"tap{port.id[:11]}") for port in instance.ports]


def _ip(mac: str, address: str, port: str, label: str, device: str) -> Payload:
    data: dict[str, Any] = {
        "mac": mac,
        "address": address,
        "port_uuid": port,
        "label": label,
        "device_name": device,
        "version": 6 if ":" in address else 4,
        "meta": {},
    }
    return wrapped("IpPayload", data)


def _block_device(mapping: Any) -> Payload:
    data = {
        "volume_id": mapping.volume_id,
        "device_name": mapping.device_name,
        "delete_on_termination": mapping.delete_on_termination,
        "boot_index": None,
        "tag": mapping.tag,
    }
    return wrapped("BlockDevicePayload", data)


def _time(value: datetime.datetime | None) -> str | None:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value else None
