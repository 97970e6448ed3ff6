"""Hypervisors as JSON."""

from __future__ import annotations

import json
from typing import Any

from nova_blockmigrate.api import hosts
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.db.models import ComputeNode

_SUMMED = (
    "vcpus",
    "vcpus_used",
    "memory_mb",
    "memory_mb_used",
    "local_gb",
    "local_gb_used",
    "free_ram_mb",
    "free_disk_gb",
    "current_workload",
    "running_vms",
    "disk_available_least",
)
_FIGURES_UNTIL = 87
"""From 2.88 the figures are left to placement."""


def identifier(request: Request, node: ComputeNode) -> int | str:
    return node.uuid if request.microversion >= 53 else node.id


def brief(request: Request, node: ComputeNode) -> dict[str, Any]:
    return {
        "id": identifier(request, node),
        "hypervisor_hostname": node.hypervisor_hostname,
        "state": "up" if hosts.is_up(request, node.service) else "down",
        "status": "disabled" if node.service.disabled else "enabled",
    }


def full(request: Request, node: ComputeNode) -> dict[str, Any]:
    service = node.service
    shown = brief(request, node) | {
        "host_ip": node.host_ip,
        "hypervisor_type": node.hypervisor_type,
        "hypervisor_version": node.hypervisor_version,
        "service": {
            "host": service.host,
            "id": service.uuid if request.microversion >= 53 else service.id,
            "disabled_reason": service.disabled_reason,
        },
    }
    if request.microversion > _FIGURES_UNTIL:
        return shown | {"uptime": node.uptime or None}
    return shown | figures(node) | {"cpu_info": node.cpu_info if request.microversion < 28 else _cpu_info(node)}


def with_servers(request: Request, shown: dict[str, Any], servers: list[tuple[str, str]]) -> dict[str, Any]:
    """With the names and uuids of its servers; below 2.75 an empty list is left out."""
    if not servers and request.microversion < 75:
        return shown
    return shown | {"servers": [{"name": name, "uuid": uuid} for name, uuid in servers]}


def figures(node: ComputeNode) -> dict[str, int]:
    return {
        "vcpus": node.vcpus,
        "vcpus_used": node.vcpus_used,
        "memory_mb": node.memory_mib,
        "memory_mb_used": node.memory_used_mib,
        "free_ram_mb": node.memory_mib - node.memory_used_mib,
        "local_gb": node.disk_gib,
        "local_gb_used": node.disk_used_gib,
        "free_disk_gb": node.disk_gib - node.disk_used_gib,
        "disk_available_least": node.disk_free_bytes // 2**30,
        "current_workload": 0,
        "running_vms": node.running_vms,
    }


def statistics(nodes: list[ComputeNode]) -> dict[str, int]:
    """The figures of all hypervisors together."""
    each = [figures(node) for node in nodes]
    return {"count": len(nodes)} | {name: sum(figure[name] for figure in each) for name in _SUMMED}


def _cpu_info(node: ComputeNode) -> Any:
    return json.loads(node.cpu_info) if node.cpu_info else {}
