"""What answers look like, in every microversion: the part of the OpenAPI description that handlers do not declare.

A thing is a line of fields: `name:type`, with `@N` for the microversion that adds it, `@N-M` for those that have it, `~` when it
may be missing, and `?` after the type when it may be null. Types are letters of `_TYPES`, or things by name; `[x]` is a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from nova_blockmigrate.api.schemas.quota_sets import class_names, names
from nova_blockmigrate.api.schemas.types import Schema

_TYPES: dict[str, Schema] = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "n": {"type": "number"},
    "b": {"type": "boolean"},
    "o": {"type": "object"},
    "id": {"type": ["integer", "string"]},
    "any": {},
}
_FIELD = re.compile(r"(?P<name>.+?):(?P<type>\[?\w+\]?)(?P<null>\??)(?:@(?P<since>\d+)(?:-(?P<until>\d+))?)?(?P<maybe>~?)")

THINGS: dict[str, str] = {
    "link": "rel:s href:s type:s~",
    "version": "id:s status:s version:s min_version:s updated:s links:[link] media-types:[o]~",
    "brief": "id:s name:s links:[link]",
    "basic": """
        id:s name:s links:[link] status:s tenant_id:s user_id:s metadata:o hostId:s image:any flavor:o created:s updated:s
        addresses:o accessIPv4:s accessIPv6:s OS-DCF:diskConfig:s progress:i~ fault:o~ locked:b@9 description:s?@19 tags:[s]@26
        trusted_image_certificates:any?@63 locked_reason:s?@73 server_groups:[s]@71~""",
    "created": "id:s~ links:[link]~ adminPass:s~ OS-DCF:diskConfig:s~ security_groups:[o]~",
    "fuller": """
        config_drive:s key_name:s? OS-EXT-AZ:availability_zone:s OS-EXT-STS:task_state:s? OS-EXT-STS:vm_state:s
        OS-EXT-STS:power_state:i OS-SRV-USG:launched_at:s? OS-SRV-USG:terminated_at:s? os-extended-volumes:volumes_attached:[o]
        security_groups:[o]~ OS-EXT-SRV-ATTR:host:s?~ OS-EXT-SRV-ATTR:hypervisor_hostname:s?~ OS-EXT-SRV-ATTR:instance_name:s~
        OS-EXT-SRV-ATTR:hostname:s@3~ OS-EXT-SRV-ATTR:reservation_id:s@3~ OS-EXT-SRV-ATTR:launch_index:i@3~
        OS-EXT-SRV-ATTR:kernel_id:s@3~ OS-EXT-SRV-ATTR:ramdisk_id:s@3~ OS-EXT-SRV-ATTR:root_device_name:s?@3~
        OS-EXT-SRV-ATTR:user_data:s?@3~ host_status:s@16~ pinned_availability_zone:s?@96""",
    "of_server": """
        id:i status:s server_uuid:s source_compute:s? source_node:s? dest_compute:s? dest_node:s? dest_host:s? created_at:s
        updated_at:s? uuid:s@59 user_id:s?@80 project_id:s?@80 memory_total_bytes:i? memory_processed_bytes:i?
        memory_remaining_bytes:i? disk_total_bytes:i? disk_processed_bytes:i? disk_remaining_bytes:i?""",
    "migration": """
        id:i status:s instance_uuid:s old_instance_type_id:i? new_instance_type_id:i? source_compute:s? source_node:s?
        dest_compute:s? dest_node:s? dest_host:s? created_at:s updated_at:s? migration_type:s@23 links:[link]@23~ uuid:s@59
        user_id:s?@80 project_id:s?@80""",
    "action": """
        action:s instance_uuid:s request_id:s user_id:s project_id:s start_time:s message:s? updated_at:s?@58 events:[event]~""",
    "event": """
        event:s start_time:s finish_time:s? result:s? traceback:s?~ hostId:s@62 host:s?@62~ details:s?@84~""",
    "service": """
        id:id binary:s host:s zone:s status:s state:s updated_at:s? disabled_reason:s? forced_down:b@11""",
    "changed_service": """
        id:id~ binary:s host:s zone:s~ status:s~ state:s~ updated_at:s?~ disabled_reason:s?~ forced_down:b~""",
    "hypervisor_brief": "id:id hypervisor_hostname:s state:s status:s servers:[o]~ uptime:s?~",
    "hypervisor": """
        id:id hypervisor_hostname:s state:s status:s servers:[o]~ host_ip:s hypervisor_type:s hypervisor_version:i service:o
        uptime:s?@88 cpu_info:any@1-87 vcpus:i@1-87 vcpus_used:i@1-87 memory_mb:i@1-87 memory_mb_used:i@1-87 free_ram_mb:i@1-87
        local_gb:i@1-87 local_gb_used:i@1-87 free_disk_gb:i@1-87 disk_available_least:i?@1-87 current_workload:i@1-87
        running_vms:i@1-87""",
    "flavor_brief": "id:s name:s links:[link] description:s?@55",
    "flavor": """
        id:s name:s links:[link] ram:i vcpus:i disk:i swap:any OS-FLV-EXT-DATA:ephemeral:i OS-FLV-DISABLED:disabled:b
        os-flavor-access:is_public:b rxtx_factor:n description:s?@55 extra_specs:o@61~""",
    "access": "flavor_id:s tenant_id:s",
    "key_brief": "name:s public_key:s fingerprint:s type:s@2",
    "listed_key": "keypair:key_brief",
    "made_key": "name:s public_key:s fingerprint:s type:s@2 user_id:s private_key:s~",
    "key": "name:s public_key:s fingerprint:s type:s@2 id:i user_id:s deleted:b created_at:s updated_at:s? deleted_at:s?",
    "group": """
        id:s name:s members:[s] policy:s@64 rules:o@64 policies:[s]@1-63 metadata:o@1-63 project_id:s@13 user_id:s@13""",
    "extension": "alias:s name:s description:s namespace:s updated:s links:[o]",
    "zone": "zoneName:s zoneState:o hosts:o?",
    "usage": """
        tenant_id:s~ start:s~ stop:s~ total_hours:n~ total_local_gb_usage:n~ total_memory_mb_usage:n~ total_vcpus_usage:n~
        server_usages:[server_usage]~""",
    "server_usage": """
        instance_id:s name:s tenant_id:s flavor:s hours:n memory_mb:i vcpus:i local_gb:i started_at:s ended_at:s? state:s
        uptime:i""",
    "port": "port_id:s net_id:s mac_addr:s port_state:s fixed_ips:[o] tag:s?@70",
    "attachment": """
        volumeId:s serverId:s device:s? id:s@1-88 attachment_id:s?@89 bdm_uuid:s@89 tag:s?@70 delete_on_termination:b@79""",
    "attached": "volumeId:s serverId:s device:s? id:s tag:s?@70 delete_on_termination:b@79",
    "security_group": "id:s name:s description:s tenant_id:s rules:[o]",
    "external": "server_uuid:s name:s status:s tag:s~ code:i",
}
_LINKS = "[link]"

ANSWERS: dict[str, str] = {
    # by route: the fields of the whole answer; where there is none, nothing is promised but that it is an object
    "GET /": "versions:[version]",
    "GET /v2.1": "version:version",
    "GET /servers": "servers:[brief] servers_links:[link]~",
    "GET /servers/detail": "servers:[server] servers_links:[link]~",
    "GET /servers/{server_id}": "server:server",
    "PUT /servers/{server_id}": "server:server_or_basic",
    "POST /servers": "server:created~ reservation_id:s~",
    "POST /servers/{server_id}/action os-getConsoleOutput": "output:s",
    "GET /servers/{server_id}/metadata": "metadata:o",
    "POST /servers/{server_id}/metadata": "metadata:o",
    "PUT /servers/{server_id}/metadata": "metadata:o",
    "GET /servers/{server_id}/metadata/{key}": "meta:o",
    "PUT /servers/{server_id}/metadata/{key}": "meta:o",
    "GET /servers/{server_id}/tags": "tags:[s]",
    "PUT /servers/{server_id}/tags": "tags:[s]",
    "GET /servers/{server_id}/ips": "addresses:o",
    "GET /servers/{server_id}/os-interface": "interfaceAttachments:[port]",
    "GET /servers/{server_id}/os-interface/{port_id}": "interfaceAttachment:port",
    "GET /servers/{server_id}/os-security-groups": "security_groups:[security_group]",
    "GET /os-security-groups": "security_groups:[security_group]",
    "GET /os-security-groups/{group_id}": "security_group:security_group",
    "GET /servers/{server_id}/migrations": "migrations:[of_server]",
    "GET /servers/{server_id}/migrations/{migration_id}": "migration:of_server",
    "GET /os-migrations": "migrations:[migration] migrations_links:[link]~",
    "GET /servers/{server_id}/os-instance-actions": "instanceActions:[action] links:[link]~",
    "GET /servers/{server_id}/os-instance-actions/{request_id}": "instanceAction:action",
    "GET /servers/{server_id}/os-volume_attachments": "volumeAttachments:[attachment]",
    "GET /servers/{server_id}/os-volume_attachments/{volume_id}": "volumeAttachment:attachment",
    "POST /servers/{server_id}/os-volume_attachments": "volumeAttachment:attached",
    "POST /os-server-external-events": "events:[external]",
    "GET /os-services": "services:[service]",
    "PUT /os-services/{service_id}": "service:changed_service",
    "GET /os-hypervisors": "hypervisors:[hypervisor_brief] hypervisors_links:[link]~",
    "GET /os-hypervisors/detail": "hypervisors:[hypervisor] hypervisors_links:[link]~",
    "GET /os-hypervisors/{hypervisor_id}": "hypervisor:hypervisor",
    "GET /os-hypervisors/{hypervisor_id}/uptime": "hypervisor:hypervisor_brief",
    "GET /os-hypervisors/{hypervisor_id}/search": "hypervisors:[hypervisor_brief]",
    "GET /os-hypervisors/{hypervisor_id}/servers": "hypervisors:[hypervisor_brief]",
    "GET /os-hypervisors/statistics": "hypervisor_statistics:o",
    "GET /flavors": "flavors:[flavor_brief] flavors_links:[link]~",
    "GET /flavors/detail": "flavors:[flavor] flavors_links:[link]~",
    "GET /flavors/{flavor_id}": "flavor:flavor",
    "POST /flavors": "flavor:flavor",
    "PUT /flavors/{flavor_id}": "flavor:flavor",
    "GET /flavors/{flavor_id}/os-extra_specs": "extra_specs:o",
    "POST /flavors/{flavor_id}/os-extra_specs": "extra_specs:o",
    "GET /flavors/{flavor_id}/os-flavor-access": "flavor_access:[access]",
    "POST /flavors/{flavor_id}/action addTenantAccess": "flavor_access:[access]",
    "POST /flavors/{flavor_id}/action removeTenantAccess": "flavor_access:[access]",
    "GET /os-keypairs": "keypairs:[listed_key] keypairs_links:[link]~",
    "GET /os-keypairs/{name}": "keypair:key",
    "POST /os-keypairs": "keypair:made_key",
    "GET /os-server-groups": "server_groups:[group]",
    "GET /os-server-groups/{group_id}": "server_group:group",
    "POST /os-server-groups": "server_group:group",
    "GET /extensions": "extensions:[extension]",
    "GET /extensions/{alias}": "extension:extension",
    "GET /os-availability-zone": "availabilityZoneInfo:[zone]",
    "GET /os-availability-zone/detail": "availabilityZoneInfo:[zone]",
    "GET /os-aggregates": "aggregates:[o]",
    "GET /limits": "limits:o",
    "GET /os-simple-tenant-usage": "tenant_usages:[usage] tenant_usages_links:[link]~",
    "GET /os-simple-tenant-usage/{project_id}": "tenant_usage:usage tenant_usage_links:[link]~",
    "GET /os-quota-sets/{project_id}": "quota_set:quotas",
    "GET /os-quota-sets/{project_id}/defaults": "quota_set:quotas",
    "PUT /os-quota-sets/{project_id}": "quota_set:quotas",
    "GET /os-quota-sets/{project_id}/detail": "quota_set:o",
    "GET /os-quota-class-sets/{class_name}": "quota_class_set:quotas_of_class",
    "PUT /os-quota-class-sets/{class_name}": "quota_class_set:quotas_of_class",
}


def answer(route: str, minor: int) -> Schema:
    """The schema of what a route answers with in 2.`minor`."""
    return _fields(ANSWERS[route], minor) if route in ANSWERS else {"type": "object"}


ERROR: Schema = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
        "required": ["code", "message"],
        "additionalProperties": False,
    },
}


def _quotas(allowed: tuple[str, ...]) -> Schema:
    fields: dict[str, Schema] = {name: _TYPES["i"] for name in allowed}
    return {"type": "object", "properties": fields | {"id": _TYPES["s"]}, "required": [*allowed], "additionalProperties": False}


_MADE: dict[str, Callable[[int], Schema]] = {
    "server": lambda minor: _fields(THINGS["basic"] + THINGS["fuller"], minor),
    "server_or_basic": lambda minor: _fields(THINGS["basic"] + (THINGS["fuller"] if minor >= 75 else ""), minor),
    "quotas": lambda minor: _quotas(names(minor)),
    "quotas_of_class": lambda minor: _quotas(class_names(minor)),
}


def _type(name: str, minor: int) -> Schema:
    if name.startswith("["):
        return {"type": "array", "items": _type(name[1:-1], minor)}
    if name in _MADE:
        return _MADE[name](minor)
    return _TYPES[name] if name in _TYPES else _fields(THINGS[name], minor)


def _fields(text: str, minor: int) -> Schema:
    properties: dict[str, Any] = {}
    required = []
    for field in text.split():
        match = _FIELD.fullmatch(field)
        assert match, field  # noqa: S101 - the table above is wrong
        if not int(match["since"] or 1) <= minor <= int(match["until"] or minor):
            continue
        schema = _type(match["type"], minor)
        properties[match["name"]] = {"anyOf": [schema, {"type": "null"}]} if match["null"] else schema
        if not match["maybe"]:
            required.append(match["name"])
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
