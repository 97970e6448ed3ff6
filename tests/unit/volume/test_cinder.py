"""The Cinder backend, with a Block Storage proxy that remembers what it was asked."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import openstack.exceptions
import pytest
from keystoneauth1 import loading
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.volume import api
from nova_blockmigrate.volume.api import Connector
from nova_blockmigrate.volume.cinder import CinderBackend

HERE = Connector("compute1", "10.0.0.1", "iqn.x:compute1")
SERVER, VOLUME = "6e783272-31b5-4fdc-8828-2b8892daab39", "0d4b1a80-1111-4fdc-8828-2b8892daab39"
INFO = {"driver_volume_type": "iscsi", "target_iqn": "iqn.t:v", "target_portal": "192.0.2.9:3260", "target_lun": 1}


class Answer:
    """As requests' response."""

    def __init__(self, status_code: int, body: Any) -> None:
        self.status_code, self._body = status_code, body
        self.headers = {"content-type": "application/json"}
        self.reason, self.url, self.text, self.content = "", "http://cinder", "", b""
        self.request = types.SimpleNamespace(url="http://cinder", method="POST")

    def json(self) -> Any:
        return self._body


class Storage:
    """As the proxy; `listed` are the attachments that there are, `trouble` what each call raises."""

    def __init__(self) -> None:
        self.listed: list[Any] = []
        self.deleted: list[str] = []
        self.posted: list[Any] = []
        self.trouble: Exception | None = None
        self.status = "available"
        self.project_id: str | None = "demo"
        self.is_encrypted = False
        self.answer = Answer(200, {"attachment": {"id": "at-1", "connection_info": INFO}})

    def get_volume(self, id: str) -> Any:
        self._come()
        return types.SimpleNamespace(id=id, name="data", size=1, status=self.status, project_id=self.project_id,
                                     is_encrypted=self.is_encrypted)  # fmt: skip

    def post(self, path: str, json: Any, microversion: str) -> Answer:
        self._come()
        self.posted.append((path, json["attachment"], microversion))
        return self.answer

    def attachments(self, **query: Any) -> list[Any]:
        self._come()
        assert (query["volume_id"], query["instance_id"]) == (VOLUME, SERVER)
        return self.listed

    def delete_attachment(self, id: str, ignore_missing: bool) -> None:
        assert ignore_missing
        self._come()
        self.deleted.append(id)

    def _come(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("backend", "cinder", group="volume")
    return conf


@pytest.fixture
def made(conf: cfg.ConfigOpts) -> tuple[CinderBackend, Storage]:
    loading.register_auth_conf_options(conf, "cinder")
    conf.set_override("auth_type", "none", group="cinder")
    backend, storage = api.load_backend(conf), Storage()
    assert isinstance(backend, CinderBackend)
    backend._cloud = types.SimpleNamespace(block_storage=storage)
    return backend, storage


def attachment(id: str) -> Any:
    return types.SimpleNamespace(id=id, instance=SERVER)


def test_an_attachment_is_made_for_the_server_and_the_host(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    given = backend.create_attachment(VOLUME, SERVER, HERE, ())
    assert (given.id, given.protocol, given.data["target_iqn"]) == ("at-1", "iscsi", "iqn.t:v")
    ((path, wanted, microversion),) = storage.posted
    assert (path, microversion, wanted["volume_uuid"], wanted["instance_uuid"]) == ("/attachments", "3.44", VOLUME, SERVER)
    assert (wanted["connector"]["host"], wanted["connector"]["initiator"]) == ("compute1", "iqn.x:compute1")


def test_cinder_is_told_all_that_os_brick_knows_of_the_host(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    assert backend.needs_properties
    here = dataclasses.replace(HERE, properties={"nqn": "nqn.x", "multipath": True, "initiator": "iqn.of-the-kernel"})
    backend.create_attachment(VOLUME, SERVER, here, ())
    sent = storage.posted[0][1]["connector"]
    assert (sent["nqn"], sent["multipath"], sent["initiator"]) == ("nqn.x", True, HERE.initiator)


def test_what_a_crash_left_is_deleted_before_another_is_made(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    storage.listed = [attachment("source"), attachment("lost")]
    backend.create_attachment(VOLUME, SERVER, HERE, ["source"])
    assert storage.deleted == ["lost"]


def test_one_is_ended_by_its_id_and_without_an_id_those_on_no_record(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    storage.listed = [attachment("source"), attachment("lost")]
    backend.delete_attachment(VOLUME, SERVER, "compute2", "there", ["source", "there"])
    backend.delete_attachment(VOLUME, SERVER, "compute2", None, ["source"])
    assert storage.deleted == ["there", "lost"]


@pytest.mark.parametrize(
    "call",
    [
        lambda backend: backend.get(VOLUME),
        lambda backend: backend.create_attachment(VOLUME, SERVER, HERE, ()),
        lambda backend: backend.delete_attachment(VOLUME, SERVER, "compute1", "at-1", ()),
    ],
)
def test_a_cinder_that_does_not_work_is_said_so(
    made: tuple[CinderBackend, Storage], call: Callable[[CinderBackend], object]
) -> None:
    backend, storage = made
    storage.trouble = openstack.exceptions.SDKException("it is away")
    with pytest.raises(exceptions.VolumeBackendError, match="it is away"):
        call(backend)


def test_a_refused_attachment_is_an_error(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    storage.answer = Answer(400, {"badRequest": {"message": "Volume is in use"}})
    with pytest.raises(exceptions.VolumeBackendError):
        backend.create_attachment(VOLUME, SERVER, HERE, ())


def test_a_volume_says_why_it_cannot_be_had(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    assert backend.get(VOLUME).problem == ""
    storage.status = "error"
    assert "error" in backend.get(VOLUME).problem
    storage.trouble = openstack.exceptions.NotFoundException("no such volume")
    with pytest.raises(exceptions.VolumeNotFound):
        backend.get(VOLUME)


def test_an_encrypted_volume_cannot_be_had(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    storage.is_encrypted = True
    assert "encrypted" in backend.get(VOLUME).problem


def test_a_volume_says_whose_it_is(made: tuple[CinderBackend, Storage]) -> None:
    backend, storage = made
    assert backend.get(VOLUME).belongs_to("demo")
    storage.project_id = None  # (Cinder's policy may hide it)
    assert [backend.get(VOLUME).belongs_to(project) for project in ("demo", "", None)] == [False] * 3


def test_without_credentials_the_service_does_not_start(conf: cfg.ConfigOpts) -> None:
    with pytest.raises(exceptions.ConfigurationError, match="auth_type"):
        api.load_backend(conf)
