"""What travels in Nova's list of disks: hashes of bases and whole config drives, or nothing to those who do not know it."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.nova_driver import luggage

DRIVE = bytes(range(256)) * 100


class Host:
    """A host's instances directory with a base, and an instance on it with a config drive."""

    def __init__(self, folder: pathlib.Path, base: bytes = b"base") -> None:
        self.directory = folder / "instances/uuid"
        self.directory.mkdir(parents=True)
        (folder / "instances/_base").mkdir()
        (folder / "instances/_base/abc").write_bytes(base)
        self.manifests = Manifests(str(folder / "manifests"))

    def disk_info(self) -> str:
        (self.directory / "disk.config").write_bytes(DRIVE)
        disk = {"type": "qcow2", "path": str(self.directory / "disk"), "backing_file": "abc", "virt_disk_size": 1}
        drive = {"type": "raw", "path": str(self.directory / "disk.config"), "backing_file": "", "virt_disk_size": len(DRIVE)}
        return json.dumps([disk, drive])


@pytest.fixture
def source(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path / "source")


def packed(source: Host) -> str:
    return luggage.pack(source.disk_info(), source.manifests, "a")


def unpack(disk_info: str, destination: Host) -> None:
    luggage.unpack(disk_info, str(destination.directory), destination.manifests, "b")


def test_config_drive_arrives_whole(source: Host, tmp_path: pathlib.Path) -> None:
    destination = Host(tmp_path / "destination")
    (destination.directory / "disk.config").write_bytes(bytes(len(DRIVE)))  # as Nova makes it

    unpack(packed(source), destination)

    assert (destination.directory / "disk.config").read_bytes() == DRIVE
    assert os.listdir(destination.directory) == ["disk.config"]


def test_base_with_other_bytes_is_refused(source: Host, tmp_path: pathlib.Path) -> None:
    with pytest.raises(StorageError, match="sha256"):
        unpack(packed(source), Host(tmp_path / "destination", base=b"another"))


def test_base_that_is_missing_is_refused(source: Host, tmp_path: pathlib.Path) -> None:
    destination = Host(tmp_path / "destination")
    (tmp_path / "destination/instances/_base/abc").unlink()
    with pytest.raises(StorageError, match="_base/abc"):
        unpack(packed(source), destination)


def test_damage_on_the_way_is_noticed(source: Host, tmp_path: pathlib.Path) -> None:
    disks = json.loads(packed(source))
    disks[1][luggage.KEY]["content_sha256"] = "0" * 64
    with pytest.raises(StorageError, match="damaged"):
        unpack(json.dumps(disks), Host(tmp_path / "destination"))


def test_list_of_another_driver_is_taken_as_it_is(source: Host, tmp_path: pathlib.Path) -> None:
    destination = Host(tmp_path / "destination")
    unpack(source.disk_info(), destination)
    assert os.listdir(destination.directory) == []


def test_what_nova_lists_stays(source: Host) -> None:
    before = json.loads(source.disk_info())
    after = [{key: value for key, value in disk.items() if key != luggage.KEY} for disk in json.loads(packed(source))]
    assert after == before


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "compute1"])
def test_source_tells_where_its_libvirt_is_also_without_disks(address: str) -> None:
    assert luggage.source_address(luggage.addressed("tmp1a2b", address)) == address


def test_another_driver_does_not_tell() -> None:
    assert luggage.source_address("tmp1a2b") is None


def test_no_list_is_fine(source: Host) -> None:
    luggage.unpack(None, str(source.directory), source.manifests, "b")


def test_drive_that_is_too_large_is_refused(source: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(luggage, "LARGEST_BYTES", 10)
    with pytest.raises(StorageError, match="larger"):
        packed(source)
