"""Servers that boot from a volume: what is asked for, what is refused, and what the server keeps."""

from __future__ import annotations

import uuid as uuids
from typing import Any

import oslo_messaging
import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import instances
from tests.unit.api.conftest import Api

VOLUME = str(uuids.uuid4())


@pytest.fixture
def said(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the conductor says of the volume; a test may change it."""
    said: list[Any] = [""]

    def volume_problem(context: Any, volume_id: str) -> str:
        if isinstance(said[0], Exception):
            raise said[0]
        return str(said[0])

    monkeypatch.setattr(api.conductor, "volume_problem", volume_problem, raising=False)
    return said


def create(api: Api, flavor: models.Flavor, **changes: Any) -> Any:
    disk = {"uuid": VOLUME, "source_type": "volume", "destination_type": "volume", "boot_index": "0", "delete_on_termination": True}
    body = {"name": "one", "imageRef": "", "flavorRef": flavor.flavorid, "networks": "none", "block_device_mapping_v2": [disk]}
    return api.request("POST", "/servers", {"server": body | changes}, user="joe")


def test_the_volume_is_the_servers_first_disk_and_there_is_no_image(api: Api, flavor: models.Flavor, said: list[Any]) -> None:
    answer = create(api, flavor)
    assert answer.status_code == 202, answer.text
    uuid = answer.json["server"]["id"]
    with session.reader() as db:
        server = instances.get(db, uuid)
        (mapping,) = server.volumes
    assert (mapping.volume_id, mapping.device_name, mapping.state) == (VOLUME, "/dev/vda", "attached")
    assert mapping.delete_on_termination
    assert (server.image_id, server.root_gib) == (None, 0)
    shown = api.get(f"/servers/{uuid}", user="joe")["server"]
    assert shown["image"] == ""
    assert shown["os-extended-volumes:volumes_attached"] == [{"id": VOLUME, "delete_on_termination": True}]


def test_it_cannot_be_taken_from_the_server(api: Api, flavor: models.Flavor, said: list[Any]) -> None:
    uuid = create(api, flavor).json["server"]["id"]
    with session.writer() as db:
        instances.update(db, uuid, vm_state="active", task_state=None)
    answer = api.request("DELETE", f"/servers/{uuid}/os-volume_attachments/{VOLUME}", user="joe")
    assert (answer.status_code, "boots from it" in answer.text) == (403, True)
    with session.reader() as db:
        assert instances.get(db, uuid).task_state is None


@pytest.mark.parametrize(
    "problem, status", [("its status is error", 400), (exceptions.VolumeNotFound(volume_id=VOLUME), 400),
                        (oslo_messaging.MessagingTimeout("none"), 503)]
)  # fmt: skip
def test_one_that_cannot_be_had_makes_no_server(
    api: Api, flavor: models.Flavor, said: list[Any], problem: Any, status: int
) -> None:
    said[0] = problem
    assert create(api, flavor).status_code == status
    assert api.get("/servers", user="joe")["servers"] == []


def test_one_volume_is_for_one_server(api: Api, flavor: models.Flavor, said: list[Any]) -> None:
    assert create(api, flavor, max_count=2).status_code == 400
    assert create(api, flavor).status_code == 202
    again = create(api, flavor)
    assert (again.status_code, "attached to a server" in again.text) == (400, True)


def test_an_image_and_a_volume_are_one_too_many(api: Api, flavor: models.Flavor, image: models.Image, said: list[Any]) -> None:
    assert create(api, flavor, imageRef=image.id).status_code == 400
