"""Volumes in domain XML."""

from __future__ import annotations

import dataclasses

import pytest
from lxml import etree

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import VolumeConnection
from nova_blockmigrate.virt.libvirt import volumes

DATA = {"target_iqn": "iqn.t:v1", "target_portal": "192.0.2.9:3260", "target_lun": 1}
HERE = VolumeConnection("6e783272-31b5-4fdc-8828-2b8892daab39", "a1", "compute1", "vdb", "iscsi", DATA)
THERE = dataclasses.replace(HERE, attachment_id="a2", host="compute2", data={**DATA, "target_portal": "[2001:db8::9]:3261"})
LOCAL = "<disk type='file' device='disk'><source file='/i/disk'/><target dev='vda' bus='virtio'/></disk>"


def domain() -> str:
    address = "<address type='pci' slot='0x07'/>"
    disk = volumes.disk_xml(HERE, "iqn.x:compute1").replace("</disk>", f"{address}</disk>")
    return f"<domain><name>n</name><devices>{LOCAL}{disk}</devices></domain>"


def test_the_disk_says_where_the_volume_is_and_who_asks() -> None:
    disk = etree.fromstring(volumes.disk_xml(HERE, "iqn.x:compute1"))
    assert disk.find("source").attrib == {"protocol": "iscsi", "name": "iqn.t:v1/1"}
    assert dict(disk.find("source/host").attrib) == {"name": "192.0.2.9", "port": "3260"}
    assert disk.find("source/initiator/iqn").get("name") == "iqn.x:compute1"
    assert (disk.find("target").get("dev"), disk.findtext("serial")) == ("vdb", HERE.volume_id)
    assert disk.find("driver").get("cache") == "none"


def test_on_another_host_only_the_way_to_the_volume_is_another() -> None:
    before, after = etree.fromstring(domain()), etree.fromstring(volumes.with_volumes(domain(), [THERE], "iqn.x:compute2"))
    disk = after.findall("devices/disk")[1]
    assert disk.find("source/initiator/iqn").get("name") == "iqn.x:compute2"
    assert dict(disk.find("source/host").attrib) == {"name": "2001:db8::9", "port": "3261"}
    for tree in (before, after):
        for source in tree.findall("devices/disk/source[@protocol]"):
            source.getparent().remove(source)
    assert etree.tostring(before) == etree.tostring(after)


def test_a_guest_that_lacks_one_of_its_volumes_is_not_prepared() -> None:
    with pytest.raises(StorageError, match="no disk of that serial number"):
        volumes.with_volumes(f"<domain><devices>{LOCAL}</devices></domain>", [THERE], "iqn.x:compute2")


@pytest.mark.parametrize("change", [{"protocol": "rbd"}, {"data": {"target_iqn": "iqn.t:v1"}}])
def test_what_qemu_cannot_reach_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="speaks iscsi only"):
        volumes.disk_xml(dataclasses.replace(HERE, **change), "iqn.x:compute1")  # type: ignore[arg-type]


def test_an_encrypted_volume_is_not_given_as_ciphertext() -> None:
    with pytest.raises(StorageError, match="encrypted"):
        volumes.disk_xml(dataclasses.replace(HERE, data={**DATA, "encrypted": True}), "iqn.x:compute1")


@pytest.mark.parametrize("mode, expected", [("ro", True), ("rw", False), (None, False)])
def test_what_may_only_be_read_stays_so_on_another_host(mode: str | None, expected: bool) -> None:
    disk = volumes.disk_xml(dataclasses.replace(HERE, data={**DATA, "access_mode": mode}), "iqn.x:compute1")
    # (while two hosts have it, Cinder says of the second one "rw")
    there = dataclasses.replace(THERE, data={**THERE.data, "access_mode": "rw"})
    moved = volumes.with_volumes(f"<domain><devices>{disk}</devices></domain>", [there], "iqn.x:compute2")
    assert ("<readonly/>" in disk, "<readonly/>" in moved) == (expected, expected)


def test_a_password_is_a_secret_of_the_host_and_not_in_the_xml() -> None:
    data = {**DATA, "auth_username": "joe", "auth_password": "hunter2"}
    here, there = dataclasses.replace(HERE, data=data), dataclasses.replace(THERE, data=data)
    disks = [volumes.disk_xml(each, "iqn.x:any") for each in (here, here, there)]
    auths = [etree.fromstring(disk).find("source/auth") for disk in disks]
    assert [auth.get("username") for auth in auths] == ["joe"] * 3
    uuids = [auth.find("secret").get("uuid") for auth in auths]
    assert uuids[0] == uuids[1] != uuids[2]
    assert not any("hunter2" in disk for disk in disks)
