"""Migrations as JSON: a server's running ones, and the list of all."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.views import links
from nova_blockmigrate.api.views.times import precise
from nova_blockmigrate.db.models import Migration
from nova_blockmigrate.objects import MigrationStatus

_HOST_FIELDS = ("source_compute", "source_node", "dest_compute", "dest_node", "dest_host")
_COUNTERS = ("memory_total", "memory_processed", "memory_remaining", "disk_total", "disk_processed", "disk_remaining")


def of_server(request: Request, migration: Migration, with_hosts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": migration.id, "status": migration.status, "server_uuid": migration.instance_uuid}
    shown |= _common(request, migration, with_hosts)
    return shown | {f"{name}_bytes": getattr(migration, name) for name in _COUNTERS}


def listed(request: Request, migration: Migration, with_hosts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": migration.id,
        "status": migration.status,
        "instance_uuid": migration.instance_uuid,
        "old_instance_type_id": None,
        "new_instance_type_id": None,
    } | _common(request, migration, with_hosts)
    if request.microversion >= 23:
        shown["migration_type"] = migration.migration_type
        if not MigrationStatus(migration.status).is_final:
            shown["links"] = links.both(request, f"servers/{migration.instance_uuid}/migrations/{migration.id}")
    return shown


def _common(request: Request, migration: Migration, with_hosts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {name: getattr(migration, name) if with_hosts else None for name in _HOST_FIELDS}
    shown |= {"created_at": precise(migration.created_at), "updated_at": precise(migration.updated_at)}
    if request.microversion >= 59:
        shown["uuid"] = migration.uuid
    if request.microversion >= 80:
        shown |= {"user_id": migration.user_id, "project_id": migration.project_id}
    return shown
