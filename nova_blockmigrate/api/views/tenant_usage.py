"""Usage of projects as JSON: hours of servers, times what the servers have."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.objects import VmState


@dataclasses.dataclass(frozen=True)
class Period:
    start: datetime.datetime
    end: datetime.datetime


def of_project(
    project_id: str, servers: Sequence[Instance], period: Period, now: datetime.datetime, detailed: bool
) -> dict[str, Any]:
    usages = [_of_server(server, period, now) for server in servers]
    shown: dict[str, Any] = {
        "tenant_id": project_id,
        "start": _time(period.start),
        "stop": _time(period.end),
        "total_hours": sum(each["hours"] for each in usages),
        "total_local_gb_usage": sum(each["local_gb"] * each["hours"] for each in usages),
        "total_memory_mb_usage": sum(each["memory_mb"] * each["hours"] for each in usages),
        "total_vcpus_usage": sum(each["vcpus"] * each["hours"] for each in usages),
    }
    return shown | {"server_usages": usages} if detailed else shown


def _of_server(server: Instance, period: Period, now: datetime.datetime) -> dict[str, Any]:
    began = server.launched_at or server.created_at
    until = server.terminated_at
    hours = (min(until or now, period.end, now) - max(began, period.start)).total_seconds() / 3600
    return {
        "instance_id": server.uuid,
        "name": server.display_name,
        "tenant_id": server.project_id,
        "flavor": server.flavor.get("name", ""),
        "hours": max(0.0, hours),
        "memory_mb": server.memory_mib,
        "vcpus": server.vcpus,
        "local_gb": server.root_gib,
        "started_at": _time(began),
        "ended_at": _time(until),
        "state": "terminated" if server.vm_state == VmState.DELETED else server.vm_state,
        "uptime": max(0, int(((until or now) - began).total_seconds())),
    }


def _time(time: datetime.datetime | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f") if time else None
