"""Every route and every role: who gets what. A route that is not in the table fails the test, so that nobody forgets one."""

from __future__ import annotations

import pathlib
import uuid as uuids
from collections.abc import Iterator
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate.api import application, auth, routes
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import actions, key_pairs, security_groups, server_groups, volumes
from tests.unit.api.conftest import Api, RecordingConductor, make_migration, make_server

ROLES = ("admin", "manager", "member", "reader", "service", "other", "none")
"""Of project demo: admin, manager, member, reader; `service` and `other` (a member) are of projects of their own."""
OK = 0

KINDS: dict[str, tuple[int, ...]] = {
    # who may; for servers, those of other projects do not exist
    "public": (OK, OK, OK, OK, OK, OK, OK),
    "all": (OK, OK, OK, OK, OK, OK, 401),
    "admin": (OK, 403, 403, 403, 403, 403, 401),
    "service": (OK, 403, 403, 403, OK, 403, 401),
    "manage": (OK, OK, 403, 403, 403, 403, 401),
    "write": (OK, OK, OK, 403, 403, OK, 401),
    "read": (OK, OK, OK, OK, 403, OK, 401),
    "read demo": (OK, OK, OK, OK, 403, 403, 401),
    "server admin": (OK, 403, 403, 403, 404, 404, 401),
    "server manage": (OK, OK, 403, 403, 404, 404, 401),
    "server write": (OK, OK, OK, 403, 404, 404, 401),
    "server read": (OK, OK, OK, OK, 404, 404, 401),
    "group write": (OK, OK, OK, 403, 403, 404, 401),
    "group read": (OK, OK, OK, OK, 403, 404, 401),
}
SERVER = "/servers/{server_id}"
TABLE: dict[str, str] = {
    "GET /": "public",
    "GET /v2.1": "public",
    "GET /blockmigrate/v1/openapi.json": "public",
    "GET /extensions": "all",
    "GET /extensions/os-keypairs": "all",
    "GET /limits": "all",
    "GET /os-availability-zone": "all",
    "GET /os-availability-zone/detail": "admin",
    "GET /v2/images": "all",
    "GET /v2/images/{image_id}": "all",
    "GET /v2/schemas/image": "all",
    "GET /v2.0/networks": "all",
    "GET /v2.0/networks/{network_id}": "all 404",
    "GET /os-aggregates": "admin",
    "GET /os-aggregates/7": "admin 404",
    "GET /os-hypervisors": "admin",
    "GET /os-hypervisors/detail": "admin",
    "GET /os-hypervisors/statistics": "admin",
    "GET /os-hypervisors/1": "admin",
    "GET /os-hypervisors/1/uptime": "admin",
    "GET /os-hypervisors/compute/search": "admin",
    "GET /os-hypervisors/compute/servers": "admin",
    "GET /os-services": "admin",
    "PUT /os-services/enable": "admin",
    "DELETE /os-services/9999": "admin 404",
    "GET /flavors": "all",
    "GET /flavors/detail": "all",
    "GET /flavors/{flavor_id}": "all",
    "POST /flavors": "admin",
    "PUT /flavors/{flavor_id}": "admin",
    "DELETE /flavors/none": "admin 404",
    "GET /flavors/{flavor_id}/os-extra_specs": "read",
    "GET /flavors/{flavor_id}/os-extra_specs/a": "read",
    "POST /flavors/{flavor_id}/os-extra_specs": "admin",
    "PUT /flavors/{flavor_id}/os-extra_specs/a": "admin",
    "DELETE /flavors/{flavor_id}/os-extra_specs/none": "admin 404",
    "GET /flavors/{flavor_id}/os-flavor-access": "admin 404",
    "POST /flavors/{flavor_id}/action addTenantAccess": "admin 409",
    "POST /flavors/{flavor_id}/action removeTenantAccess": "admin 404",
    "GET /os-keypairs": "all",
    "GET /os-keypairs/k": "all",
    "POST /os-keypairs": "all 400",
    "DELETE /os-keypairs/k": "all",
    "GET /os-server-groups": "read",
    "GET /os-server-groups/{group_id}": "group read",
    "POST /os-server-groups": "write",
    "DELETE /os-server-groups/{group_id}": "group write",
    "GET /os-quota-sets/demo": "read demo",
    "GET /os-quota-sets/demo/detail": "read demo",
    "GET /os-quota-sets/demo/defaults": "all",
    "PUT /os-quota-sets/demo": "admin",
    "DELETE /os-quota-sets/demo": "admin",
    "GET /os-quota-class-sets/default": "admin",
    "PUT /os-quota-class-sets/default": "admin",
    "GET /os-simple-tenant-usage": "admin",
    "GET /os-simple-tenant-usage/demo": "read demo",
    "GET /os-migrations": "manage",
    "GET /os-security-groups": "read",
    "GET /os-security-groups/{security_group_id}": "group read",
    "POST /os-server-external-events": "service",
    "GET /servers": "read",
    "GET /servers/detail": "read",
    "POST /servers": "write 400",
    f"GET {SERVER}": "server read",
    f"PUT {SERVER}": "server write",
    f"DELETE {SERVER}": "server write",
    f"GET {SERVER}/ips": "server read",
    f"GET {SERVER}/ips/none": "server read 404",
    f"GET {SERVER}/os-interface": "server read",
    f"GET {SERVER}/os-interface/none": "server read 404",
    f"GET {SERVER}/os-security-groups": "server read",
    f"GET {SERVER}/metadata": "server read",
    f"GET {SERVER}/metadata/k": "server read",
    f"POST {SERVER}/metadata": "server write",
    f"PUT {SERVER}/metadata": "server write",
    f"PUT {SERVER}/metadata/k": "server write",
    f"DELETE {SERVER}/metadata/k": "server write",
    f"GET {SERVER}/tags": "server read",
    f"GET {SERVER}/tags/red": "server read",
    f"PUT {SERVER}/tags": "server write",
    f"PUT {SERVER}/tags/blue": "server write",
    f"DELETE {SERVER}/tags": "server write",
    f"DELETE {SERVER}/tags/red": "server write",
    f"GET {SERVER}/os-instance-actions": "server read",
    f"GET {SERVER}/os-instance-actions/req-1": "server read",
    f"GET {SERVER}/migrations": "server manage",
    f"GET {SERVER}/migrations/{{migration_id}}": "server admin",
    f"DELETE {SERVER}/migrations/{{migration_id}}": "server manage",
    f"POST {SERVER}/migrations/{{migration_id}}/action force_complete": "server manage",
    f"GET {SERVER}/os-volume_attachments": "server read",
    f"GET {SERVER}/os-volume_attachments/{{volume_id}}": "server read",
    f"POST {SERVER}/os-volume_attachments": "server write 409",
    f"PUT {SERVER}/os-volume_attachments/{{volume_id}}": "server write",
    f"DELETE {SERVER}/os-volume_attachments/{{volume_id}}": "server write",
    f"POST {SERVER}/action os-migrateLive": "server manage",
    f"POST {SERVER}/action addSecurityGroup": "server write 404",
    f"POST {SERVER}/action removeSecurityGroup": "server write 404",
    f"POST {SERVER}/action os-resetState": "server admin",
    **{
        f"POST {SERVER}/action {name}": "server write"
        for name in (
            *("os-start", "os-stop", "reboot", "pause", "unpause", "suspend", "resume", "lock", "unlock"),
            "os-getConsoleOutput",
        )
    },
    f"GET /blockmigrate/v1{SERVER}/preflight": "server admin",
}
BODIES: dict[str, Any] = {
    "PUT /os-services": {"host": "compute1", "binary": "nova-compute"},
    "POST /flavors/{flavor_id}/os-extra_specs": {"extra_specs": {"b": "1"}},
    "PUT /flavors/{flavor_id}/os-extra_specs": {"a": "2"},
    "POST /flavors": {"flavor": {"name": "new", "ram": 1, "vcpus": 1, "disk": 1}},
    "PUT /flavors": {"flavor": {"description": "x"}},
    "POST /os-keypairs": {"keypair": {"name": "n", "public_key": "nonsense"}},
    "POST /os-server-groups": {"server_group": {"name": "g", "policy": "affinity"}},
    "PUT /os-quota-sets": {"quota_set": {"cores": -1}},
    "PUT /os-quota-class-sets": {"quota_class_set": {"cores": -1}},
    "POST /servers/{server_id}/metadata": {"metadata": {"b": "1"}},
    "PUT /servers/{server_id}/metadata/k": {"meta": {"k": "1"}},
    "PUT /servers/{server_id}/metadata": {"metadata": {"b": "1"}},
    "PUT /servers/{server_id}/tags/": None,
    "PUT /servers/{server_id}/tags": {"tags": ["x"]},
    "PUT /servers/{server_id}/os-volume_attachments": {
        "volumeAttachment": {"volumeId": "{volume_id}", "delete_on_termination": True}
    },
    "POST /servers/{server_id}/os-volume_attachments": {"volumeAttachment": {"volumeId": "{volume_id}"}},
    "PUT /servers": {"server": {"name": "renamed"}},
    "POST /servers": {"server": {"name": "vm", "flavorRef": "none", "imageRef": str(uuids.uuid4()), "networks": "none"}},
    "POST /os-server-external-events": {"events": [{"name": "network-changed", "server_uuid": "{server_id}"}]},
}
ARGUMENTS: dict[str, Any] = {
    "addTenantAccess": {"tenant": "x"},
    "removeTenantAccess": {"tenant": "x"},
    "os-migrateLive": {"host": None, "block_migration": "auto"},
    "addSecurityGroup": {"name": "none"},
    "removeSecurityGroup": {"name": "none"},
    "os-resetState": {"state": "active"},
    "reboot": {"type": "HARD"},
    "os-getConsoleOutput": {},
}
OLD = ("GET /os-hypervisors/1", "GET /os-hypervisors/compute", "PUT /os-services", "DELETE /os-services")
"""Lines with ids of the old kind."""
STATES: dict[str, dict[str, Any]] = {
    "os-start": {"vm_state": "stopped"},
    "unpause": {"vm_state": "paused"},
    "resume": {"vm_state": "suspended"},
    "migrations/": {"task_state": "migrating"},
    "POST /servers/{server_id}/os-volume_attachments": {"vm_state": "building"},
}


class _Conductor(RecordingConductor):
    def preflight(self, *arguments: Any) -> dict[str, Any]:
        return {"hosts": []}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, empty_state: pathlib.Path) -> Iterator[dict[str, Any]]:
    """One API for the whole table, with something of everything in it."""
    from tests.unit.api import conftest

    making = conftest.conf.__wrapped__(tmp_path_factory.mktemp("policy"), empty_state)  # type: ignore[attr-defined]
    conf: cfg.ConfigOpts = next(making)
    conf.set_override("server_groups", -1, group="quota")
    file = auth.TokenFile(conf.api.token_file)
    projects = {"service": "services", "other": "other"}
    roles = {"other": "member"}
    tokens = {
        role: file.add(role, projects.get(role, "demo"), (roles.get(role, role),), role, "") for role in ROLES if role != "none"
    }
    conductor = _Conductor()
    for name in ("compute1", "compute2"):
        conftest.make_host(name)
    with session.writer() as db:
        conftest.flavors.create(db, flavorid="1", name="f", memory_mib=64, vcpus=1, root_gib=1, extra_specs={"a": "1"})
        image = conftest.images.create(db, name="i", disk_format="qcow2", size_bytes=2**20, sha256="0" * 64)
        guard = security_groups.get(db, "demo", security_groups.DEFAULT)
    yield {
        "api": Api(application.build(conf, conductor), conductor, tokens),  # type: ignore[arg-type]
        "image_id": image.id,
        "security_group_id": guard.id,
    }
    next(making, None)


def fresh(world: dict[str, Any], line: str) -> dict[str, str]:
    """Ids for the path: things of project demo that nothing was done to yet."""
    state = next((values for key, values in STATES.items() if key in line), {})
    server = make_server(server_metadata={"k": "v"}, tags=["red"], **state)
    volume = str(uuids.uuid4())
    with session.writer() as db:
        mapping = volumes.map_volume(
            db, server, volume, "/dev/vdb", tag=None, delete_on_termination=False, busy_until=None, request_id="r"
        )
        volumes.update(db, mapping.id, state="attached")
        actions.start(db, server.uuid, "create", "req-1", "member", "demo")
        group = server_groups.create(db, project_id="demo", user_id="member", name="g", policy="affinity", rules={})
        for role in ROLES:
            if not any(pair.name == "k" for pair in key_pairs.search(db, role)):
                key_pairs.create(db, user_id=role, name="k", type="ssh", fingerprint="f", public_key="p")
    migration = make_migration(server) if "migration_id" in line else None
    return {
        "server_id": server.uuid,
        "volume_id": volume,
        "group_id": group.id,
        "migration_id": str(migration.id) if migration else "",
        "flavor_id": "1",
        "network_id": "none",
        "image_id": world["image_id"],
        "security_group_id": world["security_group_id"],
    }


@pytest.mark.parametrize("line", TABLE, ids=str)
def test_who_may(world: dict[str, Any], line: str) -> None:
    api: Api = world["api"]
    api.conductor.calls.clear()
    method, path, *rest = line.split()
    route = route_of(method, path, rest[0] if rest else None)
    kind, code = TABLE[line], route.status
    if kind.rpartition(" ")[2].isdigit():
        kind, _, text = kind.rpartition(" ")
        code = int(text)
    found = {role: ask(api, world, line, role, route) for role in ROLES}
    wanted = {role: code if answer == OK else answer for role, answer in zip(ROLES, KINDS[kind], strict=True)}
    assert found == wanted


def test_a_token_for_a_domain_breaks_nothing_where_no_rule_stops_it(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It names no project. Rules are for projects; what anybody may read, as in Nova, has none."""
    roles = ["admin", "manager", "member", "reader"]
    monkeypatch.setattr(
        auth.TokenFileAuthenticator,
        "authenticate",
        lambda self, environ: RequestContext(user_id="admin", domain_id="default", roles=roles),
    )
    found = {}
    for line in TABLE:
        method, path, *rest = line.split()
        route = route_of(method, path, rest[0] if rest else None)
        if route.policy is None and route.authenticated:
            found[line] = ask(world["api"], world, line, "admin", route)
    assert found and set(found.values()) == {200}


def ask(api: Api, world: dict[str, Any], line: str, role: str, route: routes.Route) -> int:
    method, path, *rest = line.split()
    ids = fresh(world, line)
    body = body_of(line, rest[0] if rest else None, ids)
    minor = (
        1 if line.startswith(("GET /os-hypervisors/1", "GET /os-hypervisors/c", "PUT /os-services", "DELETE /os-services")) else 96
    )
    minor = min(minor, route.maximum)
    user = role if role != "none" else ""
    if path.startswith("/blockmigrate"):
        api.conductor.error = None
    answer = api.request(method, path.format(**ids), body, minor=minor, user=user)
    assert answer.status_code < 500, answer.text
    return answer.status_code


def body_of(line: str, action: str | None, ids: dict[str, str]) -> Any:
    if action:
        return {action: ARGUMENTS.get(action)}
    found = max((key for key in BODIES if line.startswith(key)), key=len, default=None)
    if found is None:
        return None
    filled = BODIES[found]

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        return value.format(**ids) if isinstance(value, str) else value

    return fill(filled)


def route_of(method: str, path: str, action: str | None) -> routes.Route:
    """The declared route that a line of the table is about."""
    asked = path if path.startswith(("/v2", "/blockmigrate")) or path == "/" else "/v2.1" + path
    matching = [one for one in routes.declared if (one.method, one.action) == (method, action) and fits(one.path, asked)]
    return max(matching, key=lambda one: sum(not part.startswith("{") for part in one.path.split("/")))


def fits(template: str, path: str) -> bool:
    here, there = template.split("/"), path.split("/")
    return len(here) == len(there) and all(a == b or a.startswith("{") for a, b in zip(here, there, strict=True))


def test_no_route_is_forgotten(world: dict[str, Any]) -> None:
    known = []
    for line in TABLE:
        method, path, *rest = line.split()
        known.append(route_of(method, path, rest[0] if rest else None))
    assert [f"{one.method} {one.path} {one.action or ''}" for one in routes.declared if one not in known] == []


def test_a_policy_may_open_servers_of_others(api: Api, server: models.Instance, conf: cfg.ConfigOpts, tmp_path: Any) -> None:
    (tmp_path / "policy.yaml").write_text('"os_compute_api:servers:show": "role:member"\n')
    conf.set_override("policy_file", str(tmp_path / "policy.yaml"), group="oslo_policy")
    opened = Api(application.build(conf, api.conductor), api.conductor, api.tokens)  # type: ignore[arg-type]
    assert opened.request("GET", f"/servers/{server.uuid}", user="eve").status_code == 200
    assert opened.request("DELETE", f"/servers/{server.uuid}", user="eve").status_code == 404


def test_hosts_are_shown_to_administrators_only(api: Api, server: models.Instance) -> None:
    make_migration(server)
    hidden = {"OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname", "OS-EXT-SRV-ATTR:instance_name", "host_status"}
    assert hidden <= set(api.get(f"/servers/{server.uuid}")["server"])
    for user in ("boss", "joe", "reader"):
        shown = api.get(f"/servers/{server.uuid}", user=user)["server"]
        assert not hidden & set(shown) and "compute1" not in str(shown) and shown["hostId"]
        assert "compute1" not in str(api.get("/servers/detail", user=user))
    for path in (f"/servers/{server.uuid}/migrations", "/os-migrations"):
        assert "compute" not in str(api.get(path, user="boss")["migrations"][0]["source_compute"])
        assert api.get(path)["migrations"][0]["source_compute"] == "compute1"
    assert api.get("/os-migrations", user="boss")["migrations"] != [] and "compute" not in str(
        api.get("/os-availability-zone", user="joe")
    )


@pytest.mark.parametrize("rule", ["os_compute_api:os-services:list", "os_compute_api:servers:index", "os_compute_api:limits"])
def test_tokens_for_the_system_or_a_domain_are_refused_as_by_nova(conf: cfg.ConfigOpts, rule: str) -> None:
    enforcer = application.enforcer(conf)
    target = {"project_id": "demo", "user_id": "u"}
    roles = ["admin", "manager", "member", "reader"]
    assert enforcer.authorize(rule, target, RequestContext(user_id="u", project_id="demo", roles=roles))
    assert not enforcer.authorize(rule, target, RequestContext(user_id="u", system_scope="all", roles=roles))
    assert not enforcer.authorize(rule, target, RequestContext(user_id="u", domain_id="default", roles=roles))
