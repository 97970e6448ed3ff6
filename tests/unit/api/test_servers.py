"""Servers: list, show, create, change, delete, and what is done to them."""

from __future__ import annotations

import datetime
from typing import Any

import oslo_messaging
import pytest

from nova_blockmigrate.api.handlers.server_create import host_name
from nova_blockmigrate.api.views.servers import states_of, status
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.models import Flavor, Image, Instance
from nova_blockmigrate.db.queries import actions, instances, networks
from nova_blockmigrate.objects import TaskState, VmState
from tests.unit.api.conftest import Api, make_migration, make_server, stored, task


def names(answer: dict[str, Any]) -> list[str]:
    return [server["name"] for server in answer["servers"]]


def new(flavor: Flavor, image: Image, **more: Any) -> dict[str, Any]:
    return {"server": {"name": "web", "flavorRef": flavor.flavorid, "imageRef": image.id, "networks": "none"} | more}


def test_status_and_its_inverse_agree() -> None:
    for vm_state in VmState:
        for task_state in (None, *TaskState):
            shown = status(vm_state, task_state)
            matching = [
                vm for vm, needed, excluded in states_of(shown)
                if vm == vm_state and (not needed or task_state in needed) and task_state not in excluded
            ]  # fmt: skip
            assert matching == [vm_state], (vm_state, task_state)


@pytest.mark.parametrize(
    ("minor", "present", "absent"),
    [
        (1, {"OS-EXT-SRV-ATTR:host"}, {"locked", "description", "tags", "OS-EXT-SRV-ATTR:hostname", "host_status"}),
        (3, {"OS-EXT-SRV-ATTR:hostname", "OS-EXT-SRV-ATTR:user_data"}, {"locked"}),
        (19, {"locked", "host_status", "description"}, {"tags"}),
        (63, {"tags", "trusted_image_certificates"}, {"server_groups", "locked_reason"}),
        (96, {"server_groups", "locked_reason", "pinned_availability_zone"}, set()),
    ],
)
def test_fields_by_microversion(api: Api, server: Instance, minor: int, present: set[str], absent: set[str]) -> None:
    shown = set(api.get(f"/servers/{server.uuid}", minor=minor)["server"])
    assert present <= shown and not absent & shown


def test_flavor_is_a_link_below_2_47(api: Api, server: Instance) -> None:
    assert set(api.get(f"/servers/{server.uuid}", minor=46)["server"]["flavor"]) == {"id", "links"}
    assert api.get(f"/servers/{server.uuid}", minor=47)["server"]["flavor"]["original_name"] == "m1.tiny"


def test_users_do_not_see_hosts(api: Api, server: Instance) -> None:
    shown = api.get(f"/servers/{server.uuid}", user="joe")["server"]
    assert not {"OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:instance_name", "host_status"} & set(shown)
    assert shown["OS-EXT-SRV-ATTR:hostname"] == "vm" and len(shown["hostId"]) == 56


def test_other_projects_servers_do_not_exist(api: Api, server: Instance) -> None:
    answer = api.request("GET", f"/servers/{server.uuid}", user="eve")
    assert answer.status_code == 404
    assert answer.json == {"itemNotFound": {"code": 404, "message": f"Instance {server.uuid} could not be found."}}
    assert api.get("/servers", user="eve")["servers"] == []


def test_lists_are_filtered(api: Api, hosts: None) -> None:
    make_server(display_name="web-1")
    make_server(display_name="web-2", task_state="migrating")
    make_server(display_name="db", vm_state="stopped", host="compute2")
    every = "/servers/detail?all_tenants=1"
    assert names(api.get(every)) == ["db", "web-2", "web-1"]
    assert names(api.get(every + "&name=^web")) == ["web-2", "web-1"]
    assert names(api.get(every + "&status=MIGRATING")) == ["web-2"]
    assert names(api.get(every + "&status=ACTIVE")) == ["web-1"]
    assert names(api.get(every + "&status=active&status=shutoff")) == ["db", "web-1"]
    assert names(api.get(every + "&status=nonsense", minor=37)) == []
    assert names(api.get(every + "&host=compute2")) == ["db"]
    assert names(api.get("/servers/detail?host=compute2", user="joe")) == ["db", "web-2", "web-1"]  # not theirs to filter by
    assert names(api.get(every + "&sort_key=display_name&sort_dir=asc")) == ["db", "web-1", "web-2"]
    assert api.request("GET", every, user="joe").status_code == 403
    assert api.request("GET", "/servers?name=[").status_code == 400
    assert api.request("GET", "/servers?sort_key=nonsense").status_code == 400
    assert api.request("GET", "/servers?nonsense=1").status_code == 400
    assert api.request("GET", "/servers?nonsense=1", minor=74).status_code == 200
    assert api.request("GET", "/servers?limit=-1").status_code == 400
    assert api.request("GET", "/servers?marker=nobody").status_code == 400


def test_lists_come_in_pages(api: Api, hosts: None) -> None:
    for number in range(5):
        make_server(display_name=f"vm{number}")
    path, seen = "/servers?limit=2", []
    while path:
        answer = api.get(path, user="joe")
        seen += names(answer)
        path = answer["servers_links"][0]["href"].split("/v2.1", 1)[1] if "servers_links" in answer else ""
    assert seen == ["vm4", "vm3", "vm2", "vm1", "vm0"]


def test_changes_since_shows_deleted_ones(api: Api, server: Instance) -> None:
    with session.writer() as db:
        instances.mark_deleted(db, server.uuid)
    assert names(api.get("/servers?all_tenants=1")) == []
    since = (models.utcnow() - datetime.timedelta(hours=1)).isoformat() + "Z"
    assert names(api.get(f"/servers?all_tenants=1&changes-since={since}")) == ["vm"]
    assert api.request("GET", "/servers?changes-since=yesterday").status_code == 400
    assert api.request("GET", f"/servers/{server.uuid}").status_code == 404


def test_create_makes_a_row_and_tells_the_conductor(api: Api, hosts: None, flavor: Flavor, image: Image) -> None:
    answer = api.request("POST", "/servers", new(flavor, image, availability_zone="nova:compute2"))
    assert answer.status_code == 202, answer.text
    assert set(answer.json["server"]) == {"id", "links", "adminPass", "OS-DCF:diskConfig", "security_groups"}
    with session.reader() as db:
        made = instances.get(db, answer.json["server"]["id"])
    assert (made.vm_state, made.task_state, made.requested_host, made.image_format) == (
        "building",
        "scheduling",
        "compute2",
        "qcow2",
    )
    assert made.flavor["name"] == "m1.tiny"
    assert api.conductor.calls == [("run_server_task", made.uuid)]
    assert answer.headers["Location"].endswith(made.uuid)
    assert api.get(f"/servers/{made.uuid}")["server"]["status"] == "BUILD"


def test_create_takes_an_address_of_the_network(api: Api, flavor: Flavor, image: Image) -> None:
    with session.writer() as db:
        network = networks.create(db, "private", "br0", "10.0.0.0/29", "10.0.0.1")
    for wanted in ([{"uuid": network.id}], "auto"):
        assert api.request("POST", "/servers", new(flavor, image, networks=wanted)).status_code == 202
    shown = api.get("/servers/detail")["servers"]
    assert sorted(each["addresses"]["private"][0]["addr"] for each in shown) == ["10.0.0.2", "10.0.0.3"]
    assert shown[0]["addresses"]["private"][0]["OS-EXT-IPS-MAC:mac_addr"].startswith("fa:16:3e:00:00:")
    with session.writer() as db:
        networks.create(db, "second", "br1", "10.1.0.0/29", "10.1.0.1")
    assert api.request("POST", "/servers", new(flavor, image, networks="auto")).status_code == 409


def test_several_are_created_at_once(api: Api, flavor: Flavor, image: Image) -> None:
    answer = api.request("POST", "/servers", new(flavor, image, min_count=2, max_count="3", return_reservation_id=True))
    assert answer.json["reservation_id"].startswith("r-")
    assert sorted(names(api.get("/servers"))) == ["web-1", "web-2", "web-3"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"flavorRef": "9"}, 400),
        ({"imageRef": "00000000-0000-0000-0000-000000000000"}, 400),
        ({"imageRef": ""}, 400),
        ({"networks": [{"uuid": "00000000-0000-0000-0000-000000000000"}]}, 400),
        ({"networks": "auto"}, 400),
        ({"name": ""}, 400),
        ({"name": " web"}, 400),
        ({"name": "x" * 256}, 400),
        ({"colour": "red"}, 400),
        ({"min_count": 2, "max_count": 1}, 400),
        ({"availability_zone": "moon"}, 400),
        ({"availability_zone": "nova:nowhere"}, 400),
        ({"key_name": "k"}, 400),
        ({"config_drive": True}, 400),
    ],
)
def test_bad_creation_changes_nothing(api: Api, flavor: Flavor, image: Image, change: dict[str, Any], code: int) -> None:
    answer = api.request("POST", "/servers", new(flavor, image, **change))
    assert answer.status_code == code, answer.text
    assert api.get("/servers")["servers"] == [] and api.conductor.calls == []


def test_networks_are_needed_from_2_37(api: Api, flavor: Flavor, image: Image) -> None:
    body = new(flavor, image)
    del body["server"]["networks"]
    assert api.request("POST", "/servers", body).status_code == 400
    assert api.request("POST", "/servers", body, minor=36).status_code == 202


def test_only_admins_name_a_host(api: Api, hosts: None, flavor: Flavor, image: Image) -> None:
    assert api.request("POST", "/servers", new(flavor, image, availability_zone="nova:compute1"), user="joe").status_code == 403
    assert api.request("POST", "/servers", new(flavor, image, availability_zone="nova"), user="joe").status_code == 202
    assert api.request("POST", "/servers", new(flavor, image), user="reader").status_code == 403


def test_server_that_no_conductor_hears_of_says_why(api: Api, flavor: Flavor, image: Image) -> None:
    api.conductor.error = oslo_messaging.MessageDeliveryFailure("away")
    uuid = api.request("POST", "/servers", new(flavor, image)).json["server"]["id"]
    shown = api.get(f"/servers/{uuid}")["server"]
    assert shown["status"] == "ERROR" and "conductor" in shown["fault"]["message"]


@pytest.mark.parametrize(("name", "expected"), [("Web Server 1", "web-server-1"), ("ünï", "n"), ("  ", "server-u")])
def test_host_name_of_a_name(name: str, expected: str) -> None:
    assert host_name(name, "u") == expected


def test_rename(api: Api, server: Instance) -> None:
    answer = api.request("PUT", f"/servers/{server.uuid}", {"server": {"name": "new", "description": "d"}}, user="joe")
    assert answer.status_code == 200
    assert (stored(server).display_name, stored(server).description) == ("new", "d")
    assert "OS-EXT-STS:vm_state" in answer.json["server"]
    assert (
        "OS-EXT-STS:vm_state"
        not in api.request("PUT", f"/servers/{server.uuid}", {"server": {"name": "n"}}, minor=74).json["server"]
    )


def test_delete(api: Api, server: Instance) -> None:
    assert api.request("DELETE", f"/servers/{server.uuid}", user="joe").status_code == 204
    assert stored(server).task_state == "deleting"
    assert api.request("DELETE", f"/servers/{server.uuid}").status_code == 204
    assert api.conductor.calls == [("run_server_task", server.uuid)] * 2


def test_server_in_migration_is_not_deleted(api: Api, hosts: None) -> None:
    server = make_server(task_state="migrating")
    assert api.request("DELETE", f"/servers/{server.uuid}").status_code == 409


@pytest.mark.parametrize(
    ("key", "vm_state", "task_state", "call"),
    [
        ("os-start", "stopped", "powering-on", "start"),
        ("os-stop", "active", "powering-off", "stop"),
        ("pause", "active", "pausing", "pause"),
        ("unpause", "paused", "unpausing", "unpause"),
        ("suspend", "active", "suspending", "suspend"),
        ("resume", "suspended", "resuming", "resume"),
    ],
)
def test_actions_take_the_server_once(api: Api, hosts: None, key: str, vm_state: str, task_state: str, call: str) -> None:
    server = make_server(vm_state=vm_state)
    assert api.act(server, {key: None}, user="joe").status_code == 202
    assert api.act(server, {key: None}, user="joe").status_code == 409
    assert stored(server).task_state == task_state
    assert api.conductor.calls == [("run_server_task", server.uuid)]
    assert task(server) == (call, {})
    wrong = make_server(vm_state="stopped" if vm_state != "stopped" else "active")
    assert api.act(wrong, {key: None}).status_code == 409
    assert api.act(server, {key: None}, user="reader").status_code == 403


def test_action_that_cannot_be_sent_is_taken_back(api: Api, server: Instance) -> None:
    api.conductor.error = oslo_messaging.MessageDeliveryFailure("away")
    answer = api.act(server, {"os-stop": None})
    assert answer.status_code == 503 and "conductor" in answer.json["serviceUnavailable"]["message"]
    assert stored(server).task_state is None and task(server) is None
    with session.reader() as db:
        assert actions.get(db, server.uuid, answer.headers["x-openstack-request-id"]).message is not None


def test_reboot(api: Api, hosts: None) -> None:
    stopped = make_server(vm_state="stopped")
    assert api.act(stopped, {"reboot": {"type": "SOFT"}}).status_code == 409
    assert api.act(stopped, {"reboot": {"type": "HARD"}}).status_code == 202
    assert api.conductor.calls == [("run_server_task", stopped.uuid)]
    assert task(stopped) == ("reboot", {"hard": True})
    assert api.act(stopped, {"reboot": {"type": "WARM"}}).status_code == 400


def test_lock(api: Api, server: Instance) -> None:
    assert api.act(server, {"lock": {"locked_reason": "mine"}}, user="joe").status_code == 202
    assert api.get(f"/servers/{server.uuid}")["server"]["locked_reason"] == "mine"
    assert api.act(server, {"os-stop": None}, user="joe").status_code == 409
    assert api.act(server, {"unlock": None}, user="joe").status_code == 202
    assert api.act(server, {"os-stop": None}, user="joe").status_code == 202


def test_reset_state(api: Api, server: Instance) -> None:
    assert api.act(server, {"os-resetState": {"state": "error"}}, user="joe").status_code == 403
    assert api.act(server, {"os-resetState": {"state": "error"}}).status_code == 202
    assert stored(server).vm_state == "error"
    make_migration(server)
    assert api.act(server, {"os-resetState": {"state": "active"}}).status_code == 409


@pytest.mark.parametrize(
    ("length", "expected"),
    [(None, "line 1\nline 2\nline 3"), (2, "line 2\nline 3"), ("1", "line 3"), (0, ""), (-1, "line 1\nline 2\nline 3")],
)
def test_console_output(api: Api, server: Instance, length: Any, expected: str) -> None:
    answer = api.act(server, {"os-getConsoleOutput": {"length": length}}, user="joe")
    assert (answer.status_code, answer.json) == (200, {"output": expected})


def test_history_of_a_server(api: Api, server: Instance) -> None:
    request_id = api.act(server, {"os-stop": None}, user="joe").headers["x-openstack-request-id"]
    with session.writer() as db:
        actions.start_event(db, server.uuid, request_id, "compute_stop_instance", "compute1")
        actions.end_open_events(db, server.uuid, request_id, "Error", "no answer")
    path = f"/servers/{server.uuid}/os-instance-actions"
    listed = api.get(path, user="joe")["instanceActions"][0]
    assert set(listed) == {"action", "instance_uuid", "request_id", "user_id", "project_id", "start_time", "message", "updated_at"}
    shown = api.get(f"{path}/{request_id}")["instanceAction"]["events"][0]
    assert (shown["event"], shown["result"], shown["host"], shown["details"]) == (
        "compute_stop_instance", "Error", "compute1", "no answer",
    )  # fmt: skip
    assert "events" not in api.get(f"{path}/{request_id}", user="joe", minor=50)["instanceAction"]
    assert not {"host", "traceback"} & set(api.get(f"{path}/{request_id}", user="joe")["instanceAction"]["events"][0])
    assert api.request("GET", f"{path}/req-unknown").status_code == 404
    with session.writer() as db:
        instances.mark_deleted(db, server.uuid)
    assert len(api.get(path)["instanceActions"]) == 1
    assert api.request("GET", path, minor=20).status_code == 404


def test_why_an_action_failed_is_told_to_those_who_may_know_its_hosts(api: Api, server: Instance) -> None:
    request_id = api.act(server, {"os-stop": None}, user="joe").headers["x-openstack-request-id"]
    reason = "compute2 has 12 MiB of memory free"
    fault = {"code": 500, "created": "2026-01-01T00:00:00Z", "message": reason}
    with session.writer() as db:
        actions.start_event(db, server.uuid, request_id, "compute_stop_instance", "compute1")
        actions.end_open_events(db, server.uuid, request_id, "Error", reason)
        actions.finish(db, server.uuid, request_id, reason)
        instances.update(db, server.uuid, vm_state="error", fault=fault)
    path = f"/servers/{server.uuid}"
    asked = (path, "/servers/detail", f"{path}/os-instance-actions", f"{path}/os-instance-actions/{request_id}")
    for user in ("reader", "joe", "boss"):
        answers = [api.request("GET", each, user=user).text for each in asked]
        assert not [text for text in answers if "compute2" in text or "12 MiB" in text]
        assert api.get(asked[3], user=user)["instanceAction"]["message"] == "Error"
    assert all(reason in api.request("GET", each).text for each in (path, *asked[2:]))
    with session.writer() as db:
        actions.finish(db, server.uuid, request_id)
        instances.update(db, server.uuid, fault=fault | {"code": 503, "message": "No conductor."})
    assert api.get(asked[3], user="reader")["instanceAction"]["message"] is None
    assert api.get(path, user="reader")["server"]["fault"]["message"] == "No conductor."
