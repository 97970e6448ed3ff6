"""Volumes of servers: shapes, refusals, and what is left when no conductor can be told."""

from __future__ import annotations

import uuid as uuids
from typing import Any

import oslo_messaging
import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import BlockDeviceMapping, Instance
from nova_blockmigrate.db.queries import instances, volumes
from tests.unit.api.conftest import Api, make_server, stored

VOLUME, OTHER = str(uuids.uuid4()), str(uuids.uuid4())


@pytest.fixture
def conductor(api: Api, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the conductor says of a volume; a test may change it."""
    said: dict[str, Any] = {"problem": "", "disks": ["vda"]}

    def look(context: Any, server_uuid: str, volume_id: str) -> dict[str, Any]:
        if "error" in said:
            raise said["error"]
        return said

    monkeypatch.setattr(api.conductor, "look_at_volume", look, raising=False)
    return said


def path(server: Instance, volume_id: str = "") -> str:
    return f"/servers/{server.uuid}/os-volume_attachments{'/' if volume_id else ''}{volume_id}"


def attach(api: Api, server: Instance, volume_id: str = VOLUME, minor: int = 96, **fields: Any) -> Any:
    return api.request("POST", path(server), {"volumeAttachment": {"volumeId": volume_id, **fields}}, minor=minor, user="joe")


def map_one(server: Instance, volume_id: str = VOLUME, **values: Any) -> BlockDeviceMapping:
    """A volume that is attached already."""
    with session.writer() as db:
        mapping = volumes.map_volume(db, instances.get(db, server.uuid), volume_id, values.pop("device_name", "/dev/vdb"))
        given = volumes.add_attachment(db, mapping.id, "compute1")
        volumes.update_attachment(db, given.id, attachment_id="at-1", protocol="iscsi", connection={})
        volumes.update(db, mapping.id, **({"state": "attached"} | values))
        return mapping


def test_attaching_names_the_disk_and_tells_the_conductor(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    answer = attach(api, server)
    assert (answer.status_code, answer.json) == (
        200,
        {
            "volumeAttachment": {
                "id": VOLUME,
                "volumeId": VOLUME,
                "serverId": server.uuid,
                "device": "/dev/vdb",
                "tag": None,
                "delete_on_termination": False,
            }
        },
    )
    (mapping,) = stored(server).volumes
    assert api.conductor.calls == [("attach_volume", server.uuid, mapping.id)]
    assert (stored(server).task_state, mapping.state, mapping.attachments) == ("attaching-volume", "attaching", [])


@pytest.mark.usefixtures("conductor")
def test_the_ids_of_the_request_are_kept_for_who_may_have_to_finish_it(api: Api, server: Instance) -> None:
    """First of the one that attaches the volume, then of the one that detaches it."""
    first, second = (f"req-{uuids.uuid4()}" for _ in range(2))
    body = {"volumeAttachment": {"volumeId": VOLUME}}
    answer = api.request("POST", path(server), body, headers={"X-Openstack-Request-Id": first})
    assert (stored(server).volumes[0].request_id, stored(server).volumes[0].global_request_id) == (
        answer.headers["x-openstack-request-id"],
        first,
    )
    with session.writer() as db:
        instances.update(db, server.uuid, task_state=None)
        volumes.update(db, stored(server).volumes[0].id, state="attached")
    api.request("DELETE", path(server, VOLUME), headers={"X-Openstack-Request-Id": second})
    assert stored(server).volumes[0].global_request_id == second


@pytest.mark.parametrize(
    ("minor", "keys"),
    [
        (1, {"id", "volumeId", "serverId", "device"}),
        (70, {"id", "volumeId", "serverId", "device", "tag"}),
        (79, {"id", "volumeId", "serverId", "device", "tag", "delete_on_termination"}),
        (89, {"volumeId", "serverId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid"}),
    ],
)
def test_what_is_shown_grows_with_microversions(api: Api, server: Instance, minor: int, keys: set[str]) -> None:
    map_one(server)
    (listed,) = api.get(path(server), minor=minor, user="reader")["volumeAttachments"]
    assert set(listed) == keys
    assert api.get(path(server, VOLUME), minor=minor, user="reader")["volumeAttachment"] == listed


def test_a_server_shows_its_volumes(api: Api, server: Instance) -> None:
    map_one(server)
    shown = {minor: api.get(f"/servers/{server.uuid}", minor=minor)["server"] for minor in (1, 3)}
    assert shown[1]["os-extended-volumes:volumes_attached"] == [{"id": VOLUME}]
    assert shown[3]["os-extended-volumes:volumes_attached"] == [{"id": VOLUME, "delete_on_termination": False}]


def test_a_list_in_pages(api: Api, server: Instance) -> None:
    for letter in "bcd":
        map_one(server, str(uuids.uuid4()), device_name=f"/dev/vd{letter}")
    listed = api.get(path(server) + "?limit=1&offset=1")["volumeAttachments"]
    assert [each["device"] for each in listed] == ["/dev/vdc"]


def test_of_another_projects_volume_nothing_is_told_not_even_that_it_is_attached(
    api: Api, server: Instance, conductor: dict[str, Any]
) -> None:
    map_one(make_server(project_id="other"))
    conductor["error"] = exceptions.VolumeNotFound(volume_id=VOLUME)
    assert attach(api, server).status_code == 404


def test_the_first_free_name_is_taken(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    conductor["disks"] = ["vda", "vdb"]
    map_one(server, OTHER, device_name="/dev/vdc")
    assert attach(api, server).json["volumeAttachment"]["device"] == "/dev/vdd"


def test_a_wanted_name_must_be_free(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    assert attach(api, server, device="/dev/vda").status_code == 400
    assert attach(api, server, device="/dev/vdx").json["volumeAttachment"]["device"] == "/dev/vdx"


def test_tag_and_delete_on_termination_are_kept(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    assert attach(api, server, tag="db", delete_on_termination=True).status_code == 200
    (mapping,) = stored(server).volumes
    assert (mapping.tag, mapping.delete_on_termination) == ("db", True)


@pytest.mark.parametrize(
    ("minor", "fields"),
    [(48, {"tag": "db"}), (78, {"delete_on_termination": True}), (96, {"colour": "red"}), (96, {"device": "/dev/../etc"})],
)
def test_what_a_microversion_does_not_know_is_refused(
    api: Api, server: Instance, conductor: dict[str, Any], minor: int, fields: dict[str, Any]
) -> None:
    assert attach(api, server, minor=minor, **fields).status_code == 400
    assert stored(server).task_state is None


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"task_state": "migrating"}, 409),
        ({"task_state": "detaching-volume"}, 409),
        ({"vm_state": "suspended"}, 409),
        ({"vm_state": "error"}, 409),
        ({"locked": True}, 409),
        ({"vm_state": "stopped"}, 200),
        ({"vm_state": "paused"}, 200),
    ],
)
@pytest.mark.usefixtures("hosts")
def test_disks_change_only_while_nothing_else_is_done(
    api: Api, conductor: dict[str, Any], state: dict[str, Any], code: int
) -> None:
    server = make_server(**state)
    assert attach(api, server).status_code == code
    map_one(server, OTHER)
    with session.writer() as db:
        instances.update(db, server.uuid, **({"task_state": None} | state))
    assert api.request("DELETE", path(server, OTHER), user="joe").status_code == (202 if code == 200 else code)


def test_a_volume_belongs_to_one_server(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    map_one(make_server(display_name="other"))
    answer = attach(api, server)
    assert (answer.status_code, "is attached" in answer.text) == (400, True)


def test_a_volume_that_its_backend_refuses(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    conductor["problem"] = "its status is error"
    assert "its status is error" in attach(api, server).text
    conductor["error"] = exceptions.VolumeNotFound(volume_id=VOLUME)
    assert attach(api, server).status_code == 404
    assert (stored(server).task_state, stored(server).volumes) == (None, [])


def test_without_a_conductor_nothing_has_changed(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    api.conductor.error = oslo_messaging.MessageDeliveryFailure("no broker")
    assert attach(api, server).status_code == 503
    assert (stored(server).task_state, stored(server).volumes) == (None, [])
    map_one(server)
    assert api.request("DELETE", path(server, VOLUME)).status_code == 503
    assert (stored(server).task_state, stored(server).volumes[0].state) == (None, "attached")


def test_detaching_tells_the_conductor(api: Api, server: Instance) -> None:
    mapping = map_one(server)
    answer = api.request("DELETE", path(server, VOLUME), user="joe")
    assert (answer.status_code, answer.text) == (202, "")
    assert api.conductor.calls == [("detach_volume", server.uuid, mapping.id)]
    assert (stored(server).task_state, stored(server).volumes[0].state) == ("detaching-volume", "detaching")


def test_a_volume_that_is_being_detached_is_not_detached_twice(api: Api, server: Instance) -> None:
    map_one(server, state="detaching")
    assert api.request("DELETE", path(server, VOLUME)).status_code == 400
    assert stored(server).task_state is None


def test_what_the_server_does_not_have_is_not_found(api: Api, server: Instance) -> None:
    map_one(make_server(display_name="other"))
    for method in ("GET", "DELETE"):
        assert api.request(method, path(server, VOLUME)).status_code == 404


def test_others_may_not(api: Api, server: Instance, conductor: dict[str, Any]) -> None:
    body = {"volumeAttachment": {"volumeId": VOLUME}}
    assert api.request("POST", path(server), body, user="reader").status_code == 403
    assert api.request("POST", path(server), body, user="eve").status_code == 404


def test_a_swap_is_refused_and_delete_on_termination_changed(api: Api, server: Instance) -> None:
    map_one(server)
    for minor, fields in ((1, {"volumeId": OTHER}), (96, {"volumeId": OTHER, "delete_on_termination": True})):
        answer = api.request("PUT", path(server, VOLUME), {"volumeAttachment": fields}, minor=minor)
        assert (answer.status_code, "detach" in answer.text) == (400, True)
    same = {"volumeId": VOLUME, "delete_on_termination": True}
    assert api.request("PUT", path(server, VOLUME), {"volumeAttachment": same}).status_code == 202
    assert stored(server).volumes[0].delete_on_termination is True
