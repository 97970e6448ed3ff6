"""What hosts have of volumes that os-brick connects, as their ledgers know it."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import VolumeConnection
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.volume_access import BRICK, MOUNT, VolumeAccess, brick_of

DATA = {"export": "s:/x", "name": "one", "auth_password": "hunter2", "format": "qcow2"}
ONE = VolumeConnection("6e783272-31b5-4fdc-8828-2b8892daab39", "a1", "here", "vdb", "nfs", DATA)
TWO = dataclasses.replace(ONE, volume_id="0d4b1a80-1111-4fdc-8828-2b8892daab39", data={**DATA, "name": "two"})


class FakeBrick:
    def __init__(self, folder: pathlib.Path) -> None:
        self.done: list[tuple[str, str]] = []
        self._folder = folder

    def connect(self, connection: VolumeConnection) -> str:
        self.done.append(("connect", connection.data["name"]))
        path = self._folder / connection.data["name"]
        path.touch()
        return str(path)

    def disconnect(self, protocol: str, data: dict[str, Any]) -> None:
        self.done.append(("disconnect", data["name"]))

    def unmount(self, protocol: str, export: str) -> None:
        self.done.append(("unmount", export))


@pytest.fixture
def brick(tmp_path: pathlib.Path) -> FakeBrick:
    return FakeBrick(tmp_path)


@pytest.fixture
def access(brick: FakeBrick) -> VolumeAccess:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    return VolumeAccess(conf, Host("test:///default", "here"), brick)  # type: ignore[arg-type]


@pytest.fixture
def records(tmp_path: pathlib.Path) -> Records:
    return Records(tmp_path / "ledger")


@pytest.fixture
def ledger(records: Records) -> HostRecord:
    return records.of_server("a")


def test_a_volume_is_listed_without_its_password_and_goes_exactly(
    access: VolumeAccess, brick: FakeBrick, ledger: HostRecord
) -> None:
    way = access.grant(ONE, ledger)
    assert (way.is_block, way.format, pathlib.Path(way.path).name) == (False, "qcow2", "one")
    assert [each.kind for each in ledger.artefacts()] == [MOUNT, BRICK]
    assert "hunter2" not in ledger.path.read_text()

    for _ in range(2):
        access.revoke(ONE, ledger)
    assert brick.done == [("connect", "one"), ("disconnect", "one"), ("unmount", "s:/x")]
    assert ledger.artefacts() == []


def test_a_file_system_stays_for_the_servers_other_volume_and_for_other_servers(
    access: VolumeAccess, brick: FakeBrick, records: Records, ledger: HostRecord
) -> None:
    access.grant(ONE, ledger)
    access.grant(TWO, ledger)
    other = records.of_server("b")
    access.grant(TWO, other)
    brick.done.clear()

    access.revoke(ONE, ledger)
    access.revoke(TWO, ledger)
    assert brick.done == [("disconnect", "one"), ("disconnect", "two")]
    access.revoke(TWO, other)
    assert brick.done[2:] == [("disconnect", "two"), ("unmount", "s:/x")]


def test_what_the_ledger_does_not_list_is_left_alone(access: VolumeAccess, brick: FakeBrick, ledger: HostRecord) -> None:
    access.revoke(ONE, ledger)
    assert brick.done == []


def test_one_that_cannot_be_connected_stays_listed(
    access: VolumeAccess, brick: FakeBrick, ledger: HostRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brick, "connect", lambda connection: "/nowhere")
    with pytest.raises(StorageError, match="nowhere"):
        access.grant(ONE, ledger)
    assert brick_of(ONE) in {each.name for each in ledger.artefacts()}
