"""Keystone says who is who: real tokens, by the real clients, with the roles that Nova's policies name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labkit import api, keystone, rest, scenario, seed
from labkit.commands import wait_until
from labkit.layout import API_PORT, VENV
from labkit.scenario import HOST

OPENSTACK = (str(VENV / "bin/python"), "-W", "ignore", str(VENV / "bin/openstack"))


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


def token(lab: Any, user: str, system: bool = False) -> str:
    project = "admin" if user == "admin" else keystone.USERS[user][0]
    return keystone.issue_token(lab.layout, lab.record.password, user, project, system)


def status_of(lab: Any, token: str, method: str, path: str, body: Any = None) -> int:
    """HTTP status of a request to our API."""
    return rest.status_of(lab.layout, API_PORT, method, f"/v2.1{path}", body, token)


def test_a_member_lists_the_servers_of_the_project(lab: Any, server: Any) -> None:
    listed = openstack(lab, "member", "server", "list", "-f", "value", "-c", "ID").stdout.split()
    assert listed == [server["id"]]


def test_nova_logs_in_too(lab: Any, server: Any) -> None:
    from labkit.lab import NOVA

    assert server["id"] in lab.run("controller", [*NOVA, "list"], env=variables(lab, "reader")).stdout


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


def test_a_token_that_keystone_never_made_is_refused(lab: Any) -> None:
    assert status_of(lab, "gAAAAABnonsense", "GET", "/servers") == 401
    assert status_of(lab, "", "GET", "/servers") == 401


def test_a_token_that_was_revoked_is_refused(lab: Any) -> None:
    gone = token(lab, "member")
    rest.revoke(lab.layout, keystone.PORT, gone)
    assert status_of(lab, gone, "GET", "/servers") == 401


def test_a_token_for_the_whole_system_opens_no_project(lab: Any) -> None:
    """Nova's policies are for projects since 2023; so are ours."""
    assert status_of(lab, token(lab, "admin", system=True), "GET", "/servers") == 403


def test_a_service_tells_of_events_and_users_do_not(lab: Any, server: Any) -> None:
    body = {"events": [{"name": "network-changed", "server_uuid": server["id"]}]}
    assert status_of(lab, token(lab, keystone.NEUTRON_USER), "POST", "/os-server-external-events", body) == 200
    assert status_of(lab, token(lab, "manager"), "POST", "/os-server-external-events", body) == 403
