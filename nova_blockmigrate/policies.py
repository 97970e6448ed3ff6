"""Who may do what: the default rules, with Nova's names. `policy.yaml` overrides them."""

from __future__ import annotations

from oslo_policy import policy

ADMIN = "rule:context_is_admin"
MANAGER = "rule:project_manager_or_admin"
MEMBER = "rule:project_member_or_admin"
READER = "rule:project_reader_or_admin"
ANYONE = "@"

_BASE = [
    policy.RuleDefault("context_is_admin", "role:admin", "Who is an administrator of everything."),
    policy.RuleDefault("project_manager_api", "role:manager and project_id:%(project_id)s", "A manager of the project."),
    policy.RuleDefault("project_member_api", "role:member and project_id:%(project_id)s", "A member of the project."),
    policy.RuleDefault("project_reader_api", "role:reader and project_id:%(project_id)s", "Who may look at the project."),
    policy.RuleDefault("project_manager_or_admin", "rule:project_manager_api or rule:context_is_admin", "Manager, or admin."),
    policy.RuleDefault("project_member_or_admin", "rule:project_member_api or rule:context_is_admin", "Member, or admin."),
    policy.RuleDefault("project_reader_or_admin", "rule:project_reader_api or rule:context_is_admin", "Reader, or admin."),
    policy.RuleDefault("service_api", "role:service", "Another service of the cloud."),
    policy.RuleDefault("service_or_admin", "rule:service_api or rule:context_is_admin", "Another service, or admin."),
]
_rules: list[policy.RuleDefault] = []


def _rule(name: str, check: str, description: str, method: str, *paths: str, prefix: str = "os_compute_api:") -> str:
    operations: list[policy.Operation] = [{"method": method, "path": path} for path in paths]
    rule = policy.DocumentedRuleDefault(prefix + name, check, description, operations, scope_types=["project"])
    _rules.append(rule)
    return rule.name


_ACTION = "/servers/{server_id}/action"
_MIGRATION = "/servers/{server_id}/migrations/{migration_id}"

SERVERS_INDEX = _rule("servers:index", READER, "List servers.", "GET", "/servers")
SERVERS_DETAIL = _rule("servers:detail", READER, "List servers with details.", "GET", "/servers/detail")
SERVERS_ALL_TENANTS = _rule("servers:index:get_all_tenants", ADMIN, "List the servers of all projects.", "GET", "/servers")
SERVERS_DETAIL_ALL_TENANTS = _rule(
    "servers:detail:get_all_tenants", ADMIN, "List the servers of all projects with details.", "GET", "/servers/detail"
)
SERVERS_ALL_FILTERS = _rule(
    "servers:allow_all_filters", ADMIN, "Filter lists of servers by everything.", "GET", "/servers", "/servers/detail"
)
SERVERS_FLAVOR_SPECS = _rule(
    "servers:show:flavor-extra-specs", READER, "See the extra specs in a server's flavor.", "GET", "/servers/{server_id}"
)
SERVERS_SHOW = _rule("servers:show", READER, "Show a server.", "GET", "/servers/{server_id}")
SERVERS_HOST_STATUS = _rule("servers:show:host_status", ADMIN, "See host_status.", "GET", "/servers/{server_id}", "/servers/detail")
SERVERS_EXTENDED = _rule(
    "os-extended-server-attributes", ADMIN, "See a server's host and the like.", "GET", "/servers/{server_id}", "/servers/detail"
)  # fmt: skip
SERVERS_CREATE = _rule("servers:create", MEMBER, "Create a server.", "POST", "/servers")
SERVERS_FORCED_HOST = _rule("servers:create:forced_host", ADMIN, "Create a server on a host of one's choice.", "POST", "/servers")
SERVERS_REQUESTED_DESTINATION = _rule(
    "servers:create:requested_destination",
    ADMIN,
    "Create a server on a host that is named apart from the zone (2.74).",
    "POST",
    "/servers",
    prefix="compute:",
)
SERVERS_UPDATE = _rule("servers:update", MEMBER, "Change a server.", "PUT", "/servers/{server_id}")
SERVERS_DELETE = _rule("servers:delete", MEMBER, "Delete a server.", "DELETE", "/servers/{server_id}")
SERVERS_START = _rule("servers:start", MEMBER, "Start a server (os-start).", "POST", _ACTION)
SERVERS_STOP = _rule("servers:stop", MEMBER, "Stop a server (os-stop).", "POST", _ACTION)
SERVERS_REBOOT = _rule("servers:reboot", MEMBER, "Reboot a server (reboot).", "POST", _ACTION)
PAUSE = _rule("os-pause-server:pause", MEMBER, "Pause a server (pause).", "POST", _ACTION)
UNPAUSE = _rule("os-pause-server:unpause", MEMBER, "Unpause a server (unpause).", "POST", _ACTION)
SUSPEND = _rule("os-suspend-server:suspend", MEMBER, "Suspend a server (suspend).", "POST", _ACTION)
RESUME = _rule("os-suspend-server:resume", MEMBER, "Resume a server (resume).", "POST", _ACTION)
LOCK = _rule("os-lock-server:lock", MEMBER, "Lock a server (lock).", "POST", _ACTION)
UNLOCK = _rule("os-lock-server:unlock", MEMBER, "Unlock a server (unlock).", "POST", _ACTION)
LOCK_OVERRIDE = _rule("os-lock-server:unlock:unlock_override", ADMIN, "Do as if servers were not locked.", "POST", _ACTION)
RESET_STATE = _rule("os-admin-actions:reset_state", ADMIN, "Set a server's state (os-resetState).", "POST", _ACTION)
CONSOLE_OUTPUT = _rule("os-console-output", MEMBER, "Read a server's console (os-getConsoleOutput).", "POST", _ACTION)
MIGRATE_LIVE = _rule("os-migrate-server:migrate_live", MANAGER, "Live-migrate a server (os-migrateLive).", "POST", _ACTION)
MIGRATE_LIVE_HOST = _rule("os-migrate-server:migrate_live:host", ADMIN, "Live-migrate to a named host.", "POST", _ACTION)

SERVER_MIGRATIONS_INDEX = _rule(
    "servers:migrations:index", MANAGER, "List a server's running migrations.", "GET", "/servers/{server_id}/migrations"
)
SERVER_MIGRATIONS_SHOW = _rule("servers:migrations:show", ADMIN, "Show a running migration.", "GET", _MIGRATION)
SERVER_MIGRATIONS_HOST = _rule("servers:migrations:index:host", ADMIN, "See the hosts of a running migration.", "GET", _MIGRATION)
SERVER_MIGRATIONS_DELETE = _rule("servers:migrations:delete", MANAGER, "Abort a migration.", "DELETE", _MIGRATION)
SERVER_MIGRATIONS_FORCE = _rule(
    "servers:migrations:force_complete", MANAGER, "Force a migration to complete.", "POST", _MIGRATION + "/action"
)
MIGRATIONS_INDEX = _rule("os-migrations:index", MANAGER, "List migrations.", "GET", "/os-migrations")
MIGRATIONS_ALL_PROJECTS = _rule(
    "os-migrations:index:all_projects", ADMIN, "List the migrations of all projects.", "GET", "/os-migrations"
)
MIGRATIONS_HOST = _rule("os-migrations:index:host", ADMIN, "See the hosts of migrations.", "GET", "/os-migrations")

_ACTIONS = "/servers/{server_id}/os-instance-actions"
ACTIONS_LIST = _rule("os-instance-actions:list", READER, "List what was done to a server.", "GET", _ACTIONS)
ACTIONS_SHOW = _rule("os-instance-actions:show", READER, "Show an action.", "GET", _ACTIONS + "/{request_id}")
ACTIONS_EVENTS = _rule("os-instance-actions:events", ADMIN, "See the hosts of its events.", "GET", _ACTIONS + "/{request_id}")
ACTIONS_DETAILS = _rule(
    "os-instance-actions:events:details", ADMIN, "See the details of an action's events.", "GET", _ACTIONS + "/{request_id}"
)

SERVICES_LIST = _rule("os-services:list", ADMIN, "List services.", "GET", "/os-services")
SERVICES_UPDATE = _rule("os-services:update", ADMIN, "Enable, disable or force down a service.", "PUT", "/os-services/{service_id}")
SERVICES_DELETE = _rule("os-services:delete", ADMIN, "Delete a service.", "DELETE", "/os-services/{service_id}")

_HYPERVISOR = "/os-hypervisors/{hypervisor_id}"
HYPERVISORS_LIST = _rule("os-hypervisors:list", ADMIN, "List hypervisors.", "GET", "/os-hypervisors")
HYPERVISORS_DETAIL = _rule("os-hypervisors:list-detail", ADMIN, "List hypervisors with details.", "GET", "/os-hypervisors/detail")
HYPERVISORS_SHOW = _rule("os-hypervisors:show", ADMIN, "Show a hypervisor.", "GET", _HYPERVISOR)
HYPERVISORS_STATISTICS = _rule("os-hypervisors:statistics", ADMIN, "Sum hypervisors up.", "GET", "/os-hypervisors/statistics")
HYPERVISORS_UPTIME = _rule("os-hypervisors:uptime", ADMIN, "See the uptime of a hypervisor.", "GET", _HYPERVISOR + "/uptime")
HYPERVISORS_SEARCH = _rule("os-hypervisors:search", ADMIN, "Search hypervisors.", "GET", _HYPERVISOR + "/search")
HYPERVISORS_SERVERS = _rule("os-hypervisors:servers", ADMIN, "List the servers of hypervisors.", "GET", _HYPERVISOR + "/servers")

FLAVORS_CREATE = _rule("os-flavor-manage:create", ADMIN, "Create a flavor.", "POST", "/flavors")
FLAVORS_UPDATE = _rule("os-flavor-manage:update", ADMIN, "Change a flavor's description.", "PUT", "/flavors/{flavor_id}")
FLAVORS_DELETE = _rule("os-flavor-manage:delete", ADMIN, "Delete a flavor.", "DELETE", "/flavors/{flavor_id}")
_SPECS, _FLAVOR = "/flavors/{flavor_id}/os-extra_specs", "/flavors/{flavor_id}"
EXTRA_SPECS_INDEX = _rule("os-flavor-extra-specs:index", READER, "List extra specs.", "GET", _SPECS)
EXTRA_SPECS_SHOW = _rule("os-flavor-extra-specs:show", READER, "Show an extra spec.", "GET", _SPECS + "/{key}")
EXTRA_SPECS_CREATE = _rule("os-flavor-extra-specs:create", ADMIN, "Add extra specs.", "POST", _SPECS)
EXTRA_SPECS_UPDATE = _rule("os-flavor-extra-specs:update", ADMIN, "Change an extra spec.", "PUT", _SPECS + "/{key}")
EXTRA_SPECS_DELETE = _rule("os-flavor-extra-specs:delete", ADMIN, "Delete an extra spec.", "DELETE", _SPECS + "/{key}")
FLAVOR_ACCESS = _rule("os-flavor-access", ADMIN, "See whose a flavor is.", "GET", _FLAVOR + "/os-flavor-access")
FLAVOR_ACCESS_ADD = _rule("os-flavor-access:add_tenant_access", ADMIN, "Show a flavor to a project.", "POST", _FLAVOR + "/action")
FLAVOR_ACCESS_REMOVE = _rule("os-flavor-access:remove_tenant_access", ADMIN, "Hide it again.", "POST", _FLAVOR + "/action")
ZONES_LIST = _rule("os-availability-zone:list", ANYONE, "List availability zones.", "GET", "/os-availability-zone")
ZONES_DETAIL = _rule("os-availability-zone:detail", ADMIN, "List zones with hosts.", "GET", "/os-availability-zone/detail")
LIMITS = _rule("limits", ANYONE, "Show limits.", "GET", "/limits")
LIMITS_OTHER_PROJECT = _rule("limits:other_project", ADMIN, "Show those of another project.", "GET", "/limits")
EXTENSIONS = _rule("extensions", ANYONE, "List extensions.", "GET", "/extensions")
_OWN_KEYS = "(rule:context_is_admin) or user_id:%(user_id)s"
_KEYPAIR = "/os-keypairs/{keypair_name}"
KEYPAIRS_INDEX = _rule("os-keypairs:index", _OWN_KEYS, "List key pairs.", "GET", "/os-keypairs")
KEYPAIRS_SHOW = _rule("os-keypairs:show", _OWN_KEYS, "Show a key pair.", "GET", _KEYPAIR)
KEYPAIRS_CREATE = _rule("os-keypairs:create", _OWN_KEYS, "Import or generate a key pair.", "POST", "/os-keypairs")
KEYPAIRS_DELETE = _rule("os-keypairs:delete", _OWN_KEYS, "Delete a key pair.", "DELETE", _KEYPAIR)
_GROUP = "/os-server-groups/{server_group_id}"
SERVER_GROUPS_INDEX = _rule("os-server-groups:index", READER, "List server groups.", "GET", "/os-server-groups")
SERVER_GROUPS_ALL = _rule("os-server-groups:index:all_projects", ADMIN, "List those of all projects.", "GET", "/os-server-groups")
SERVER_GROUPS_SHOW = _rule("os-server-groups:show", READER, "Show a server group.", "GET", _GROUP)
SERVER_GROUPS_CREATE = _rule("os-server-groups:create", MEMBER, "Create a server group.", "POST", "/os-server-groups")
SERVER_GROUPS_DELETE = _rule("os-server-groups:delete", MEMBER, "Delete a server group.", "DELETE", _GROUP)
_QUOTA, _QUOTA_CLASS = "/os-quota-sets/{project_id}", "/os-quota-class-sets/{class_name}"
QUOTAS_SHOW = _rule("os-quota-sets:show", READER, "See the quotas of a project.", "GET", _QUOTA, _QUOTA + "/detail")
QUOTAS_DEFAULTS = _rule("os-quota-sets:defaults", ANYONE, "See what holds by default.", "GET", _QUOTA + "/defaults")
QUOTAS_UPDATE = _rule("os-quota-sets:update", ADMIN, "Change the quotas of a project.", "PUT", _QUOTA)
QUOTAS_DELETE = _rule("os-quota-sets:delete", ADMIN, "Have the defaults hold again.", "DELETE", _QUOTA)
QUOTA_CLASS_SHOW = _rule("os-quota-class-sets:show", ADMIN, "See the default quotas.", "GET", _QUOTA_CLASS)
QUOTA_CLASS_UPDATE = _rule("os-quota-class-sets:update", ADMIN, "Change the default quotas.", "PUT", _QUOTA_CLASS)
_USAGE = "/os-simple-tenant-usage"
USAGE_LIST = _rule("os-simple-tenant-usage:list", ADMIN, "See the usage of all projects.", "GET", _USAGE)
USAGE_SHOW = _rule("os-simple-tenant-usage:show", READER, "See the usage of a project.", "GET", _USAGE + "/{project_id}")
_TAGS, _METADATA = "/servers/{server_id}/tags", "/servers/{server_id}/metadata"
TAGS_INDEX = _rule("os-server-tags:index", READER, "List a server's tags.", "GET", _TAGS)
TAGS_SHOW = _rule("os-server-tags:show", READER, "See whether a server has a tag.", "GET", _TAGS + "/{tag}")
TAGS_UPDATE_ALL = _rule("os-server-tags:update_all", MEMBER, "Replace a server's tags.", "PUT", _TAGS)
TAGS_UPDATE = _rule("os-server-tags:update", MEMBER, "Add a tag.", "PUT", _TAGS + "/{tag}")
TAGS_DELETE_ALL = _rule("os-server-tags:delete_all", MEMBER, "Remove a server's tags.", "DELETE", _TAGS)
TAGS_DELETE = _rule("os-server-tags:delete", MEMBER, "Remove a tag.", "DELETE", _TAGS + "/{tag}")
METADATA_INDEX = _rule("server-metadata:index", READER, "List a server's metadata.", "GET", _METADATA)
METADATA_SHOW = _rule("server-metadata:show", READER, "Show an item of it.", "GET", _METADATA + "/{key}")
METADATA_CREATE = _rule("server-metadata:create", MEMBER, "Add items to it.", "POST", _METADATA)
METADATA_UPDATE_ALL = _rule("server-metadata:update_all", MEMBER, "Replace it.", "PUT", _METADATA)
METADATA_UPDATE = _rule("server-metadata:update", MEMBER, "Change an item of it.", "PUT", _METADATA + "/{key}")
METADATA_DELETE = _rule("server-metadata:delete", MEMBER, "Delete an item of it.", "DELETE", _METADATA + "/{key}")
IPS_INDEX = _rule("ips:index", READER, "List a server's addresses.", "GET", "/servers/{server_id}/ips")
IPS_SHOW = _rule("ips:show", READER, "List its addresses on a network.", "GET", "/servers/{server_id}/ips/{network_label}")
AGGREGATES_INDEX = _rule("os-aggregates:index", ADMIN, "List aggregates (there are none).", "GET", "/os-aggregates")
AGGREGATES_SHOW = _rule("os-aggregates:show", ADMIN, "Show an aggregate.", "GET", "/os-aggregates/{aggregate_id}")
INTERFACES_LIST = _rule(
    "os-attach-interfaces:list", READER, "List a server's interfaces.", "GET", "/servers/{server_id}/os-interface"
)
INTERFACES_SHOW = _rule(
    "os-attach-interfaces:show", READER, "Show a server's interface.", "GET", "/servers/{server_id}/os-interface/{port_id}"
)
_VOLUMES = "/servers/{server_id}/os-volume_attachments"
VOLUMES_INDEX = _rule("os-volumes-attachments:index", READER, "List a server's volumes.", "GET", _VOLUMES)
VOLUMES_SHOW = _rule("os-volumes-attachments:show", READER, "Show a server's volume.", "GET", _VOLUMES + "/{volume_id}")
VOLUMES_CREATE = _rule("os-volumes-attachments:create", MEMBER, "Attach a volume to a server.", "POST", _VOLUMES)
VOLUMES_UPDATE = _rule(
    "os-volumes-attachments:update", MEMBER, "Change whether a volume goes with its server.", "PUT", _VOLUMES + "/{volume_id}"
)
VOLUMES_DELETE = _rule("os-volumes-attachments:delete", MEMBER, "Detach a volume.", "DELETE", _VOLUMES + "/{volume_id}")
EXTERNAL_EVENTS = _rule(
    "os-server-external-events:create",
    "rule:service_or_admin",
    "Tell what happened to a server's network or volumes.",
    "POST",
    "/os-server-external-events",
)
SECURITY_GROUPS_GET = _rule("os-security-groups:get", READER, "List security groups.", "GET", "/os-security-groups")
SECURITY_GROUPS_SHOW = _rule("os-security-groups:show", READER, "Show one.", "GET", "/os-security-groups/{security_group_id}")
SECURITY_GROUPS_LIST = _rule(
    "os-security-groups:list", READER, "List a server's security groups.", "GET", "/servers/{server_id}/os-security-groups"
)
SECURITY_GROUPS_ADD = _rule("os-security-groups:add", MEMBER, "Put a server into a security group.", "POST", _ACTION)
SECURITY_GROUPS_REMOVE = _rule("os-security-groups:remove", MEMBER, "Take a server out of a security group.", "POST", _ACTION)
PREFLIGHT = _rule(
    "preflight",
    ADMIN,
    "See what a live migration of a server would meet, without migrating. The report names hosts, which Nova shows to "
    "administrators only; `rule:project_manager_or_admin` lets managers see it, too.",
    "GET",
    "/blockmigrate/v1/servers/{server_id}/preflight",
    prefix="blockmigrate:",
)
IMAGES_READ = _rule("images:read", ANYONE, "See the images of the embedded image source.", "GET", "/v2/images", prefix="embedded:")
NETWORKS_READ = _rule("networks:read", ANYONE, "See the embedded networks.", "GET", "/v2.0/networks", prefix="embedded:")


def list_rules() -> list[policy.RuleDefault]:
    """Entry point `oslo.policy.policies`."""
    return [*_BASE, *_rules]
