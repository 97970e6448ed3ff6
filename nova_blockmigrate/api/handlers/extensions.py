"""extensions: which parts of the API there are, as clients of Nova's first years ask."""

from __future__ import annotations

from typing import Any

from nova_blockmigrate import exceptions, policies
from nova_blockmigrate.api.request import Request
from nova_blockmigrate.api.routes import route

_UPDATED = "2014-12-03T00:00:00Z"
_NAMESPACE = "http://docs.openstack.org/compute/ext/fake_xml"
_THERE = {
    "os-admin-actions": ("AdminActions", "State of servers set by administrators."),
    "os-aggregates": ("Aggregates", "Aggregates of hosts (read only: there are none)."),
    "os-attach-interfaces": ("AttachInterfaces", "Interfaces of servers."),
    "os-availability-zone": ("AvailabilityZone", "The availability zone and its hosts."),
    "os-console-output": ("ConsoleOutput", "What a server's console shows."),
    "os-extended-availability-zone": ("ExtendedAvailabilityZone", "The zone of a server."),
    "os-extended-server-attributes": ("ExtendedServerAttributes", "A server's host and the like."),
    "os-extended-status": ("ExtendedStatus", "States of servers."),
    "os-extended-volumes": ("ExtendedVolumes", "Volumes of servers in their details."),
    "os-flavor-access": ("FlavorAccess", "Flavors for some projects only."),
    "os-flavor-extra-specs": ("FlavorExtraSpecs", "Extra specs of flavors."),
    "os-flavor-manage": ("FlavorManage", "Making and removing flavors."),
    "os-hypervisors": ("Hypervisors", "What the hosts are and have."),
    "os-instance-actions": ("InstanceActions", "What was done to servers."),
    "os-keypairs": ("Keypairs", "Public keys of users."),
    "os-lock-server": ("LockServer", "Servers locked against changes."),
    "os-migrate-server": ("MigrateServer", "Live migration."),
    "os-migrations": ("Migrations", "Migrations, finished ones too."),
    "os-pause-server": ("PauseServer", "Pausing servers."),
    "os-quota-class-sets": ("QuotaClasses", "What a project may have by default."),
    "os-quota-sets": ("Quotas", "What a project may have."),
    "os-security-groups": ("SecurityGroups", "Security groups of servers."),
    "os-server-external-events": ("ServerExternalEvents", "What other services say of servers."),
    "os-server-groups": ("ServerGroups", "Servers that shall be together, or apart."),
    "os-server-tags": ("ServerTags", "Tags of servers."),
    "os-server-usage": ("ServerUsage", "When servers were launched."),
    "os-services": ("Services", "The services of this cloud."),
    "os-simple-tenant-usage": ("SimpleTenantUsage", "How long projects had which servers."),
    "os-suspend-server": ("SuspendServer", "Suspending servers."),
    "os-volumes": ("Volumes", "Volumes of servers."),
}


class ExtensionNotFound(exceptions.NotFound):
    template = "There is no extension {alias}."


@route("GET", "/extensions", policy=policies.EXTENSIONS)
def index(request: Request) -> dict[str, Any]:
    return {"extensions": [_view(alias) for alias in _THERE]}


@route("GET", "/extensions/{alias}", policy=policies.EXTENSIONS)
def show(request: Request, alias: str) -> dict[str, Any]:
    if alias not in _THERE:
        raise ExtensionNotFound(alias=alias)
    return {"extension": _view(alias)}


def _view(alias: str) -> dict[str, Any]:
    name, description = _THERE[alias]
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "namespace": _NAMESPACE,
        "updated": _UPDATED,
        "links": [],
    }
