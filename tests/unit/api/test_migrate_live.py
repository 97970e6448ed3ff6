"""os-migrateLive, and what can be done to a migration that runs."""

from __future__ import annotations

from typing import Any

import oslo_messaging
import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import actions, instances, migrations
from tests.unit.api.conftest import Api, make_migration, make_server, stored


def body(host: str | None = "compute2", **more: Any) -> dict[str, Any]:
    return {"os-migrateLive": {"host": host, "block_migration": "auto"} | more}


def set_state(server: Instance, **values: Any) -> None:
    with session.writer() as db:
        instances.update(db, server.uuid, **values)


def migration_of(server: Instance) -> models.Migration | None:
    with session.reader() as db:
        return migrations.in_progress(db, server.uuid)


def test_accepted_migration_is_recorded_and_told(api: Api, server: Instance) -> None:
    answer = api.act(server, body(block_migration=True))
    assert (answer.status_code, answer.content) == (202, b"")
    migration = migration_of(server)
    assert migration is not None
    assert (migration.status, migration.step, migration.requested_host, migration.block_migration) == (
        "accepted", "check", "compute2", "true",
    )  # fmt: skip
    assert (migration.source_compute, migration.user_id, migration.project_id) == ("compute1", "admin", "admin")
    assert migration.request_id == answer.headers["x-openstack-request-id"]
    assert stored(server).task_state == "migrating"
    with session.reader() as db:
        assert actions.get(db, server.uuid, migration.request_id).action == "live-migration"
    assert api.conductor.calls == [("live_migrate", migration.id)]
    assert api.get(f"/servers/{server.uuid}")["server"]["status"] == "MIGRATING"


def test_second_request_is_409(api: Api, server: Instance) -> None:
    assert api.act(server, body()).status_code == 202
    answer = api.act(server, body())
    assert answer.status_code == 409
    assert "task_state migrating" in answer.json["conflictingRequest"]["message"]
    assert len(api.conductor.calls) == 1


@pytest.mark.parametrize(
    ("host", "code", "words"),
    [("nowhere", 400, "Compute host nowhere could not be found."), ("compute1", 400, "Unable to migrate"), ("b@d", 400, "host")],
)
def test_impossible_host_changes_nothing(api: Api, server: Instance, host: str, code: int, words: str) -> None:
    answer = api.act(server, body(host))
    assert answer.status_code == code and words in answer.text
    assert stored(server).task_state is None and migration_of(server) is None and api.conductor.calls == []


@pytest.mark.parametrize("vm_state", ["stopped", "suspended", "error", "building"])
def test_server_that_does_not_run_is_409(api: Api, hosts: None, vm_state: str) -> None:
    server = make_server(vm_state=vm_state)
    answer = api.act(server, body())
    assert answer.status_code == 409 and f"vm_state {vm_state}" in answer.text


def test_paused_server_may_go(api: Api, hosts: None) -> None:
    assert api.act(make_server(vm_state="paused"), body()).status_code == 202


def test_lock_holds_managers_and_not_admins(api: Api, server: Instance) -> None:
    set_state(server, locked=True)
    answer = api.act(server, body(None), user="boss")
    assert answer.status_code == 409 and "is locked" in answer.text
    assert api.act(server, body(None)).status_code == 202


@pytest.mark.parametrize(
    ("user", "host", "code"),
    [("joe", None, 403), ("boss", None, 202), ("boss", "compute2", 403), ("eve", None, 404), ("reader", None, 403)],
)
def test_who_may(api: Api, server: Instance, user: str, host: str | None, code: int) -> None:
    assert api.act(server, body(host), user=user).status_code == code


@pytest.mark.parametrize(
    ("minor", "arguments", "code"),
    [
        (1, {"host": None, "block_migration": True, "disk_over_commit": "False"}, 202),
        (24, {"host": None, "block_migration": True}, 400),
        (24, {"host": None, "block_migration": "auto", "disk_over_commit": False}, 400),
        (25, {"host": None, "block_migration": "auto"}, 202),
        (25, {"host": None, "block_migration": "auto", "disk_over_commit": False}, 400),
        (25, {"block_migration": "auto"}, 400),
        (29, {"host": "compute2", "block_migration": "auto", "force": True}, 400),
        (30, {"host": "compute2", "block_migration": "auto", "force": True}, 202),
        (30, {"host": None, "block_migration": "auto", "force": True}, 400),
        (67, {"host": "compute2", "block_migration": False, "force": "no"}, 202),
        (68, {"host": "compute2", "block_migration": False, "force": False}, 400),
        (96, {"host": "compute2", "block_migration": "perhaps"}, 400),
        (96, {"host": "compute2", "block_migration": None}, 400),
        (96, {"host": "", "block_migration": "auto"}, 400),
    ],
)
def test_body_by_microversion(api: Api, server: Instance, minor: int, arguments: dict[str, Any], code: int) -> None:
    answer = api.act(server, {"os-migrateLive": arguments}, minor=minor)
    assert answer.status_code == code, answer.text
    expected = {True: "live_migrate_after_checks", False: "live_migrate"}[minor < 34]
    assert [call[0] for call in api.conductor.calls] == ([expected] if code == 202 else [])


def test_failed_check_is_the_answer_below_2_34(api: Api, server: Instance) -> None:
    api.conductor.error = exceptions.MigrationPreCheckError(reason="not enough memory")
    answer = api.act(server, body(), minor=30)
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (400, "Migration pre-check error: not enough memory")
    for_manager = api.act(make_server(), body(host=None), minor=30, user="boss")
    assert for_manager.status_code == 400 and "memory" not in for_manager.text


@pytest.mark.parametrize("minor", [30, 96])
def test_broker_that_is_away_only_delays(api: Api, server: Instance, minor: int) -> None:
    api.conductor.error = oslo_messaging.MessageDeliveryFailure("away")
    assert api.act(server, body(), minor=minor).status_code == 202
    assert migration_of(server) is not None and stored(server).task_state == "migrating"


def test_running_migrations_are_shown(api: Api, server: Instance) -> None:
    migration = make_migration(server, memory_total=100, memory_remaining=0)
    make_migration(server, "completed")
    found = api.get(f"/servers/{server.uuid}/migrations")["migrations"]
    assert [each["id"] for each in found] == [migration.id]
    assert api.get(f"/servers/{server.uuid}/migrations/{migration.id}")["migration"] == found[0]
    assert set(found[0]) == {
        "id", "status", "server_uuid", "source_compute", "source_node", "dest_compute", "dest_node", "dest_host", "created_at",
        "updated_at", "uuid", "user_id", "project_id", "memory_total_bytes", "memory_processed_bytes", "memory_remaining_bytes",
        "disk_total_bytes", "disk_processed_bytes", "disk_remaining_bytes",
    }  # fmt: skip
    old = api.get(f"/servers/{server.uuid}/migrations", minor=23)["migrations"][0]
    assert not {"uuid", "user_id", "project_id"} & set(old)
    assert api.request("GET", f"/servers/{server.uuid}/migrations", minor=22).status_code == 404


def test_managers_do_not_see_hosts(api: Api, server: Instance) -> None:
    make_migration(server)
    found = api.get(f"/servers/{server.uuid}/migrations", user="boss")["migrations"][0]
    assert [found[name] for name in ("source_compute", "source_node", "dest_compute", "dest_node", "dest_host")] == [None] * 5


@pytest.mark.parametrize("id", ["99", "x", "99999999999999999999", "-1"])
def test_unknown_migration_is_404(api: Api, server: Instance, id: str) -> None:
    for method in ("GET", "DELETE"):
        assert api.request(method, f"/servers/{server.uuid}/migrations/{id}").status_code == 404


def test_finished_migration_is_404_here_and_400_to_abort(api: Api, server: Instance) -> None:
    migration = make_migration(server, "failed")
    set_state(server, task_state="migrating")
    assert api.request("GET", f"/servers/{server.uuid}/migrations/{migration.id}").status_code == 404
    assert api.request("DELETE", f"/servers/{server.uuid}/migrations/{migration.id}").status_code == 400


@pytest.mark.parametrize(
    ("status", "minor", "code"),
    [
        ("running", 24, 202),
        ("queued", 64, 400),
        ("queued", 65, 202),
        ("preparing", 65, 202),
        ("accepted", 65, 202),
        ("post-migrating", 96, 400),
        ("running (post-copy)", 96, 400),
        ("running", 23, 404),
    ],
)
def test_abort_by_status_and_microversion(api: Api, server: Instance, status: str, minor: int, code: int) -> None:
    migration = make_migration(server, status)
    set_state(server, task_state="migrating")
    answer = api.request("DELETE", f"/servers/{server.uuid}/migrations/{migration.id}", minor=minor)
    assert answer.status_code == code, answer.text
    running = migration_of(server)
    assert running is not None and running.abort_requested is (code == 202)


def test_abort_is_kept_while_the_broker_is_away(api: Api, server: Instance) -> None:
    migration = make_migration(server)
    set_state(server, task_state="migrating")
    api.conductor.error = ConnectionRefusedError()
    assert api.request("DELETE", f"/servers/{server.uuid}/migrations/{migration.id}").status_code == 202
    assert migration_of(server).abort_requested  # type: ignore[union-attr]


def test_abort_of_server_that_does_not_migrate_is_409(api: Api, server: Instance) -> None:
    migration = make_migration(server)
    assert api.request("DELETE", f"/servers/{server.uuid}/migrations/{migration.id}").status_code == 409


@pytest.mark.parametrize(("status", "code"), [("running", 202), ("queued", 400), ("post-migrating", 400)])
def test_force_complete(api: Api, server: Instance, status: str, code: int) -> None:
    migration = make_migration(server, status)
    set_state(server, task_state="migrating")
    path = f"/servers/{server.uuid}/migrations/{migration.id}/action"
    assert api.request("POST", path, {"force_complete": "null"}).status_code == 400
    assert api.request("POST", path, {"force_complete": None}).status_code == code
    assert api.conductor.calls == ([("force_complete", migration.id)] if code == 202 else [])


def test_list_of_all_migrations(api: Api, server: Instance) -> None:
    first, second = make_migration(server, "completed"), make_migration(server, "running", project_id="other")
    found = api.get("/os-migrations")["migrations"]
    assert [each["id"] for each in found] == [second.id, first.id]
    assert "links" in found[0] and "links" not in found[1]
    assert set(found[1]) == {
        "id", "status", "instance_uuid", "old_instance_type_id", "new_instance_type_id", "source_compute", "source_node",
        "dest_compute", "dest_node", "dest_host", "created_at", "updated_at", "migration_type", "uuid", "user_id", "project_id",
    }  # fmt: skip
    assert [each["id"] for each in api.get("/os-migrations", user="boss")["migrations"]] == [first.id]
    assert [each["id"] for each in api.get("/os-migrations?status=running")["migrations"]] == [second.id]
    assert api.get("/os-migrations?host=nowhere")["migrations"] == []
    page = api.get("/os-migrations?limit=1")
    assert [each["id"] for each in page["migrations"]] == [second.id]
    link = page["migrations_links"][0]["href"].split("/v2.1", 1)[1]
    assert [each["id"] for each in api.get(link)["migrations"]] == [first.id]
    assert api.request("GET", "/os-migrations?colour=red").status_code == 400
    assert api.request("GET", "/os-migrations?colour=red", minor=58).status_code == 200
