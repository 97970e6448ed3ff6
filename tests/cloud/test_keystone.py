"""Keystone says who is who: real tokens, by the real clients, with the roles that Nova's policies name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from labkit import api, keystone, rest, scenario, seed
from labkit.commands import wait_until
from labkit.lab import NOVA
from labkit.layout import API_PORT, VENV
from labkit.scenario import HOST
from tests.laboratory import HOSTS

OPENSTACK = (str(VENV / "bin/python"), "-W", "ignore", str(VENV / "bin/openstack"))
SLOW_MBIT_S = 16
"""So that even the memory of a guest that does nothing is under way for a while."""


@pytest.fixture(scope="module")
def server(lab: Any) -> Iterator[Any]:
    """A server of the project demo, made by its member."""
    from labkit import neutron

    network = neutron.ensure_network(lab.layout, seed.token_of(lab.layout))
    openstack(lab, "member", "server", "create", "--image", seed.IMAGE, "--flavor", "m1.tiny", "--network", network, "vm")
    client = scenario.Client(lab)
    server_id = api.server_id(lab.layout, seed.token_of(lab.layout), "vm")
    scenario.wait_for_status(client, server_id, "ACTIVE", 180)
    yield client.server(server_id)
    scenario.delete_all(lab, scenario.Client(lab))


def variables(lab: Any, user: str) -> dict[str, str]:
    project = "admin" if user == "admin" else keystone.USERS[user][0]
    return keystone.credential_variables(lab.record.password, user, project)


def openstack(lab: Any, user: str, *arguments: str, check: bool = True) -> Any:
    """`openstack` as a user who logs in with a password."""
    return lab.run("controller", [*OPENSTACK, *arguments], env=variables(lab, user), check=check)


def nova(lab: Any, user: str, *arguments: str) -> str:
    """What `nova` prints for a user who logs in with a password."""
    return str(lab.run("controller", [*NOVA, *arguments], env=variables(lab, user)).stdout)


def token(lab: Any, user: str, scope: Mapping[str, Any] | None = None) -> str:
    project = "admin" if user == "admin" else keystone.USERS[user][0]
    return keystone.issue_token(lab.layout, lab.record.password, user, project, scope)


def status_of(lab: Any, token: str, method: str, path: str, body: Any = None) -> int:
    """HTTP status of a request to our API."""
    return rest.status_of(lab.layout, API_PORT, method, f"/v2.1{path}", body, token)


def test_a_member_lists_the_servers_of_the_project(lab: Any, server: Any) -> None:
    listed = openstack(lab, "member", "server", "list", "-f", "value", "-c", "ID").stdout.split()
    assert listed == [server["id"]]


def test_nova_logs_in_too(lab: Any, server: Any) -> None:
    assert server["id"] in nova(lab, "reader", "list")


def test_others_see_nothing_of_it(lab: Any, server: Any) -> None:
    assert openstack(lab, "stranger", "server", "list", "-f", "value").stdout.strip() == ""
    assert status_of(lab, token(lab, "stranger"), "GET", f"/servers/{server['id']}") == 404


def test_a_reader_may_look_and_nothing_else(lab: Any, server: Any) -> None:
    reader = token(lab, "reader")
    assert status_of(lab, reader, "GET", f"/servers/{server['id']}") == 200
    assert status_of(lab, reader, "POST", f"/servers/{server['id']}/action", {"pause": None}) == 403


@pytest.mark.parametrize("user", ["member", "reader"])
def test_only_managers_and_administrators_migrate(lab: Any, server: Any, user: str) -> None:
    refused = openstack(lab, user, "server", "migrate", "--live-migration", server["id"], check=False)
    assert refused.returncode != 0
    assert "403" in refused.stderr


def test_a_manager_may_not_name_the_host(lab: Any, server: Any) -> None:
    body = {"os-migrateLive": {"host": "compute2", "block_migration": True, "disk_over_commit": False}}
    assert status_of(lab, token(lab, "manager"), "POST", f"/servers/{server['id']}/action", body) == 403


def test_an_administrator_migrates_to_a_named_host_and_a_manager_to_any(lab: Any, client: Any, server: Any) -> None:
    there = "compute2" if client.server(server["id"])[HOST] == "compute1" else "compute1"
    version = ["--os-compute-api-version", "2.30"]
    openstack(lab, "admin", *version, "server", "migrate", "--live-migration", "--host", there, "--block-migration", server["id"])
    assert scenario.wait_for_end(client, server["id"], 180)["status"] == "completed"
    assert client.server(server["id"])[HOST] == there

    openstack(lab, "manager", "server", "migrate", "--live-migration", "--block-migration", server["id"])
    wait_until(lambda: client.server(server["id"])[HOST] != there, 180, "the manager has moved it away")
    assert scenario.wait_for_end(client, server["id"], 180)["status"] == "completed"


def test_a_manager_hurries_a_move(lab: Any, client: Any, server: Any) -> None:
    def moving() -> bool:
        return any(one["status"] == "running" for one in client.running_migrations(server["id"]))

    before = client.server(server["id"])[HOST]
    for host in HOSTS:
        lab.limit_rate(host, SLOW_MBIT_S)
    try:
        nova(lab, "manager", "live-migration", "--block-migrate", server["id"])
        wait_until(moving, 120, "the guest is under way")
        migration = client.running_migrations(server["id"])[0]
        assert str(migration["id"]) in nova(lab, "manager", "server-migration-list", server["id"])
        nova(lab, "manager", "live-migration-force-complete", server["id"], str(migration["id"]))
    finally:
        for host in HOSTS:
            lab.limit_rate(host, None)

    over = scenario.wait_for_end(client, server["id"], 180)
    assert (over["id"], over["status"]) == (migration["id"], "completed")
    assert client.server(server["id"])[HOST] != before
    done = client.request("GET", f"/servers/{server['id']}/os-instance-actions")["instanceActions"]
    assert done[0]["action"] == "live_migration_force_complete"
    assert done[0]["user_id"] != client.server(server["id"])["user_id"]


def test_a_token_that_keystone_never_made_is_refused(lab: Any) -> None:
    assert status_of(lab, "gAAAAABnonsense", "GET", "/servers") == 401
    assert status_of(lab, "", "GET", "/servers") == 401


def test_a_token_that_was_revoked_is_refused(lab: Any) -> None:
    gone = token(lab, "member")
    rest.revoke(lab.layout, keystone.PORT, gone)
    assert status_of(lab, gone, "GET", "/servers") == 401


def test_a_token_for_the_whole_system_opens_no_project(lab: Any) -> None:
    """Nova's policies are for projects since 2023; so are ours."""
    assert status_of(lab, token(lab, "admin", keystone.SYSTEM), "GET", "/servers") == 403


@pytest.mark.parametrize("path", ["/servers", "/servers/detail", "/limits", "/os-services", "/os-keypairs"])
@pytest.mark.parametrize("user", ["admin", "member"])
def test_a_token_for_a_domain_opens_no_project(lab: Any, domain_wide: Callable[[str], str], user: str, path: str) -> None:
    """Such a token names no project at all."""
    assert status_of(lab, domain_wide(user), "GET", path) == 403


def test_a_token_for_a_domain_changes_nothing(lab: Any, server: Any, domain_wide: Callable[[str], str]) -> None:
    """Not even an administrator's."""
    body = {"os-migrateLive": {"host": None, "block_migration": True, "disk_over_commit": False}}
    made = {"server": {"name": "no", "flavorRef": "no", "imageRef": server["image"]["id"]}}
    for user in ("admin", "member"):
        token = domain_wide(user)
        assert status_of(lab, token, "POST", f"/servers/{server['id']}/action", body) in (403, 404)
        assert status_of(lab, token, "DELETE", f"/servers/{server['id']}") in (403, 404)
        assert status_of(lab, token, "POST", "/servers", made) == 403


@pytest.fixture(scope="module")
def domain_wide(lab: Any) -> Callable[[str], str]:
    """A token for the whole default domain: of its administrator, or of one of its members."""
    administrator = seed.token_of(lab.layout)

    def issue(user: str) -> str:
        user_id = keystone.user_id(lab.layout, administrator, user)
        keystone.give_role(lab.layout, administrator, f"domains/{keystone.DOMAIN}", user_id, user)
        return token(lab, user, {"domain": {"id": keystone.DOMAIN}})

    return issue


def test_namesakes_of_another_domain_see_only_their_own(lab: Any, server: Any) -> None:
    """User, project and server are called the same as those of the first domain."""
    administrator, password = seed.token_of(lab.layout), lab.record.password
    domain = keystone.ensure_domain(lab.layout, administrator, "second")
    _, project = keystone.ensure_user(lab.layout, administrator, password, "member", "demo", ["member"], domain)
    variables = keystone.credential_variables(password, "member", "demo", domain)

    def namesake(*arguments: str) -> list[str]:
        ran = lab.run("controller", [*OPENSTACK, *arguments], env=variables)
        return str(ran.stdout).split()

    servers = ("server", "list", "-f", "value", "-c", "ID")
    assert namesake(*servers) == []
    created = ("server", "create", "--image", seed.IMAGE, "--flavor", "m1.tiny", "--no-network", "--wait", "vm")
    (theirs,) = namesake("--os-compute-api-version", "2.37", *created, "-f", "value", "-c", "id")
    assert namesake(*servers) == [theirs]
    assert namesake("server", "show", "vm", "-f", "value", "-c", "project_id") == [project]
    assert openstack(lab, "member", *servers).stdout.split() == [server["id"]]

    their_token = keystone.issue_token(lab.layout, password, "member", "demo", domain=domain)
    assert status_of(lab, their_token, "GET", f"/servers/{server['id']}") == 404
    assert status_of(lab, their_token, "DELETE", f"/servers/{server['id']}") == 404
    assert status_of(lab, token(lab, "member"), "GET", f"/servers/{theirs}") == 404
    namesake("server", "delete", "--wait", "vm")


FOR_ALL = ("/limits", "/extensions", "/flavors", "/os-availability-zone", "/os-keypairs")
"""What everybody with a project may read."""
NOT_FOR_SERVICES = (
    *("/servers", "/servers/detail", "/os-migrations", "/os-server-groups", "/os-services", "/os-hypervisors"),
    *("/os-aggregates", "/os-availability-zone/detail", "/os-simple-tenant-usage", "/os-quota-class-sets/default"),
)


def test_a_mere_service_may_tell_of_events_and_nothing_else(lab: Any, server: Any) -> None:
    administrator, password = seed.token_of(lab.layout), lab.record.password
    keystone.ensure_user(lab.layout, administrator, password, "mere", "service", ["service"])
    mere = keystone.issue_token(lab.layout, password, "mere", "service")
    events = {"events": [{"name": "network-changed", "server_uuid": server["id"]}]}
    assert status_of(lab, mere, "POST", "/os-server-external-events", events) == 200
    assert {path: status_of(lab, mere, "GET", path) for path in FOR_ALL} == dict.fromkeys(FOR_ALL, 200)
    assert {path: status_of(lab, mere, "GET", path) for path in NOT_FOR_SERVICES} == dict.fromkeys(NOT_FOR_SERVICES, 403)
    body = {"os-migrateLive": {"host": None, "block_migration": True, "disk_over_commit": False}}
    assert status_of(lab, mere, "GET", f"/servers/{server['id']}") == 404
    assert status_of(lab, mere, "POST", f"/servers/{server['id']}/action", body) == 404


def test_a_service_tells_of_events_and_users_do_not(lab: Any, server: Any) -> None:
    body = {"events": [{"name": "network-changed", "server_uuid": server["id"]}]}
    assert status_of(lab, token(lab, keystone.NEUTRON_USER), "POST", "/os-server-external-events", body) == 200
    assert status_of(lab, token(lab, "manager"), "POST", "/os-server-external-events", body) == 403
