"""Answers to odd questions that are Nova's: which of them are refused, with what, and what a list then holds."""

from __future__ import annotations

import pytest
from oslo_config import cfg

from nova_blockmigrate.api import auth
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import compute_nodes, instances, migrations, services
from tests.unit.api.conftest import Api, make_host, make_migration, make_server

NOBODY = "00000000-0000-4000-8000-000000000000"


def status(api: Api, path: str, minor: int = 96, user: str = "admin") -> int:
    return api.request("GET", path, minor=minor, user=user).status_code


@pytest.mark.parametrize("place", ["source_compute", "dest_compute", "requested_host"])
def test_service_of_a_host_in_a_migration_stays(api: Api, hosts: None, place: str) -> None:
    server = make_server(host="elsewhere")
    migration = make_migration(server, **({"source_compute": "a", "dest_compute": "b"} | {place: "compute2"}))
    service = next(each for each in api.get("/os-services")["services"] if each["host"] == "compute2")
    answer = api.request("DELETE", f"/os-services/{service['id']}")
    assert answer.status_code == 409 and "migrations" in answer.text
    with session.writer() as db:
        migrations.update(db, migration.id, status="completed")
    assert api.request("DELETE", f"/os-services/{service['id']}").status_code == 204


def test_deleted_servers_are_for_administrators_and_for_who_asks_what_changed(api: Api, hosts: None) -> None:
    gone, here = make_server(), make_server()
    with session.writer() as db:
        instances.mark_deleted(db, gone.uuid)

    def listed(query: str, user: str = "admin") -> set[str]:
        return {server["id"] for server in api.get(f"/servers?{query}", user=user)["servers"]}

    assert listed("all_tenants=1&status=DELETED") == listed("all_tenants=1&status=deleted") == {gone.uuid}
    assert status(api, "/servers?status=DELETED", user="joe") == 403
    assert listed("status=ACTIVE", user="joe") == {here.uuid}
    for query in ("changes-before=2999-01-01", "changes-since=2000-01-01"):
        assert listed(query, user="joe") == {gone.uuid, here.uuid}


@pytest.mark.parametrize(
    ("path", "minor", "code"),
    [
        ("/os-migrations?changes-since=2026-01-02&changes-before=2026-01-01", 96, 400),
        ("/os-migrations?changes-since=2026-01-01&changes-before=2026-01-01", 96, 200),
        ("/os-migrations?changes-since=2026-01-02&changes-before=2026-01-01", 58, 200),
        ("/servers/SERVER/os-instance-actions?changes-since=2026-01-02&changes-before=2026-01-01", 96, 400),
        ("/servers/SERVER/os-instance-actions?changes-since=2026-01-01&changes-before=2026-01-02", 96, 200),
        ("/os-hypervisors?hypervisor_hostname_pattern=compute&limit=1", 96, 400),
        (f"/os-hypervisors?hypervisor_hostname_pattern=compute&marker={NOBODY}", 96, 400),
        ("/os-hypervisors?hypervisor_hostname_pattern=compute", 96, 200),
        ("/os-hypervisors/1", 53, 404),
        ("/os-hypervisors/compute1", 96, 404),
        ("/os-hypervisors/compute1", 52, 404),
        (f"/os-hypervisors/{NOBODY}", 96, 404),
        ("/servers?sort_key=config_drive", 96, 200),
        ("/servers?sort_key=instance_type_id&sort_dir=asc", 96, 200),
        ("/servers?sort_key=surprise", 96, 400),
        ("/servers?info_cache=1", 96, 400),
        ("/servers?metadata=1", 1, 400),
    ],
)
def test_code_of_a_list(api: Api, hosts: None, path: str, minor: int, code: int) -> None:
    assert status(api, path.replace("SERVER", make_server().uuid), minor) == code


def test_filters_of_administrators_are_passed_over_for_others_even_if_wrong(api: Api, hosts: None) -> None:
    assert status(api, "/servers?info_cache=1", user="joe") == 200


def test_direction_alone_turns_the_usual_order(api: Api, hosts: None) -> None:
    made = [make_server().uuid for _ in range(3)]
    for query, expected in (("", made[::-1]), ("?sort_dir=asc", made), ("?sort_dir=desc", made[::-1])):
        assert [server["id"] for server in api.get(f"/servers{query}", user="joe")["servers"]] == expected


def test_services_that_cannot_be_changed_so(api: Api, hosts: None) -> None:
    with session.writer() as db:
        services.report(db, "controller", "nova-conductor", models.utcnow())
    conductor = next(each for each in api.get("/os-services")["services"] if each["binary"] == "nova-conductor")
    named = {"host": "compute1", "binary": "nova-compute"}
    assert api.request("PUT", "/os-services/disable-log-reason", named, minor=52).status_code == 400
    assert api.request("PUT", "/os-services/disable", named, minor=52).status_code == 200
    assert api.request("PUT", "/os-services/disable", named | {"binary": "nova-conductor"}, minor=52).status_code == 400
    assert api.request("PUT", f"/os-services/{conductor['id']}", {"status": "disabled"}).status_code == 400
    for method in ("PUT", "DELETE"):
        body = {"status": "disabled"} if method == "PUT" else None
        assert api.request(method, "/os-services/1", body).status_code == 400
        assert api.request(method, f"/os-services/{NOBODY}", body).status_code == 404


def test_servers_of_other_projects_are_no_markers(api: Api, hosts: None) -> None:
    mine, theirs = make_server(), make_server(project_id="other", launched_at=models.utcnow())
    migration = make_migration(theirs, project_id="other")
    for user, code in (("joe", 400), ("eve", 200)):
        assert status(api, f"/servers?marker={theirs.uuid}", user=user) == code
        project = "demo" if user == "joe" else "other"
        assert status(api, f"/os-simple-tenant-usage/{project}?marker={theirs.uuid}", user=user) == code
    assert status(api, f"/os-simple-tenant-usage?marker={theirs.uuid}") == 200
    assert status(api, f"/servers?all_tenants=1&marker={theirs.uuid}") == 200
    assert status(api, f"/servers?marker={mine.uuid}", user="joe") == 200
    assert status(api, f"/os-migrations?marker={migration.uuid}") == 200
    assert status(api, f"/os-migrations?marker={migration.uuid}&project_id=demo") == 400


def test_caller_without_a_project_sees_servers_of_its_own(conf: cfg.ConfigOpts, api: Api, hosts: None) -> None:
    """With enforce_scope off a token for a domain, say, gets as far as the list."""
    mine = make_server(user_id="admin", project_id="p1")
    others = make_server(user_id="joe", project_id="p2")
    api.tokens["homeless"] = auth.TokenFile(conf.api.token_file).add("admin", "", ("admin",), "homeless", "")
    assert [server["id"] for server in api.get("/servers", user="homeless")["servers"]] == [mine.uuid]
    assert status(api, f"/servers?marker={others.uuid}", user="homeless") == 400


def test_hypervisor_with_its_servers_and_no_others(api: Api, hosts: None) -> None:
    make_host("compute3")
    here, there = make_server(host="compute1"), make_server(host="compute2")
    with session.reader() as db:
        node = compute_nodes.get_by_host(db, "compute1")
    shown = api.get(f"/os-hypervisors/{node.uuid}?with_servers=true")["hypervisor"]
    assert [server["uuid"] for server in shown["servers"]] == [here.uuid]
    assert api.get(f"/os-hypervisors/{node.id}", minor=40)["hypervisor"]["id"] == node.id
    listed = api.get("/os-hypervisors?with_servers=true")["hypervisors"]
    assert [[server["uuid"] for server in each.get("servers", [])] for each in listed] == [[here.uuid], [there.uuid], []]
