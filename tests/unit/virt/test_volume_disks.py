"""Volumes in domain XML."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from lxml import etree

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import Server, VolumeConnection
from nova_blockmigrate.virt.libvirt import inspect_guest, volumes
from nova_blockmigrate.virt.libvirt.volume_access import Way

DATA = {"target_iqn": "iqn.t:v1", "target_portal": "192.0.2.9:3260", "target_lun": 1}
HERE = VolumeConnection("6e783272-31b5-4fdc-8828-2b8892daab39", "a1", "compute1", "vdb", "iscsi", DATA)
THERE = dataclasses.replace(HERE, attachment_id="a2", host="compute2", data={**DATA, "target_portal": "[2001:db8::9]:3261"})
ONE, TWO = Way(initiator="iqn.x:compute1"), Way(initiator="iqn.x:compute2")
LOCAL = "<disk type='file' device='disk'><source file='/i/disk'/><target dev='vda' bus='virtio'/></disk>"


def domain() -> str:
    address = "<address type='pci' slot='0x07'/>"
    disk = volumes.disk_xml(HERE, ONE).replace("</disk>", f"{address}</disk>")
    return f"<domain><name>n</name><devices>{LOCAL}{disk}</devices></domain>"


def test_the_disk_says_where_the_volume_is_and_who_asks() -> None:
    disk = etree.fromstring(volumes.disk_xml(HERE, ONE))
    assert disk.find("source").attrib == {"protocol": "iscsi", "name": "iqn.t:v1/1"}
    assert dict(disk.find("source/host").attrib) == {"name": "192.0.2.9", "port": "3260"}
    assert disk.find("source/initiator/iqn").get("name") == "iqn.x:compute1"
    assert (disk.find("target").get("dev"), disk.findtext("serial")) == ("vdb", HERE.volume_id)
    assert disk.find("driver").get("cache") == "none"


def test_on_another_host_only_the_way_to_the_volume_is_another() -> None:
    before, after = etree.fromstring(domain()), etree.fromstring(volumes.with_volumes(domain(), [(THERE, TWO)]))
    disk = after.findall("devices/disk")[1]
    assert disk.find("source/initiator/iqn").get("name") == "iqn.x:compute2"
    assert dict(disk.find("source/host").attrib) == {"name": "2001:db8::9", "port": "3261"}
    for tree in (before, after):
        for source in tree.findall("devices/disk/source[@protocol]"):
            source.getparent().remove(source)
    assert etree.tostring(before) == etree.tostring(after)


def test_a_guest_that_lacks_one_of_its_volumes_is_not_prepared() -> None:
    with pytest.raises(StorageError, match="no disk of that serial number"):
        volumes.with_volumes(f"<domain><devices>{LOCAL}</devices></domain>", [(THERE, TWO)])


def test_a_volume_that_os_brick_connected_is_a_device_or_a_file() -> None:
    block = etree.fromstring(volumes.disk_xml(HERE, Way(path="/dev/dm-3", is_block=True)))
    assert (block.get("type"), block.find("source").attrib) == ("block", {"dev": "/dev/dm-3"})
    file = etree.fromstring(volumes.disk_xml(HERE, Way(path="/mnt/x/v", format="qcow2")))
    assert (file.get("type"), file.find("source").attrib, file.find("driver").get("type")) == (
        "file",
        {"file": "/mnt/x/v"},
        "qcow2",
    )


def test_on_another_host_a_device_may_have_another_name_and_a_network_disk_may_become_one() -> None:
    chain = "<backingStore type='file'><source file='/there/only'/></backingStore></disk>"
    for before in (Way(path="/dev/sdb", is_block=True), ONE):
        disk = volumes.disk_xml(HERE, before).replace("</disk>", chain)
        after = volumes.with_volumes(f"<domain><devices>{disk}</devices></domain>", [(THERE, Way(path="/dev/sdc", is_block=True))])
        moved = etree.fromstring(after).find("devices/disk")
        assert (moved.get("type"), moved.find("source").attrib, moved.find("backingStore")) == ("block", {"dev": "/dev/sdc"}, None)
        assert moved.findtext("serial") == HERE.volume_id
        assert volumes.path_of(after, THERE) == "/dev/sdc"
    assert volumes.path_of(domain(), HERE) == ""


class OneDomain:
    """A host with one guest, as libvirt keeps it."""

    name = "compute1"

    def __init__(self, xml: str) -> None:
        self.xml, self.defined = xml, 0

    def find_domain(self, uuid: str) -> Any:
        return self

    def connection(self) -> Any:
        return self

    def errors(self, *words: str) -> Any:
        return contextlib.nullcontext()

    def XMLDesc(self, flags: int) -> str:
        return self.xml

    def defineXML(self, xml: str) -> None:
        self.xml, self.defined = xml, self.defined + 1


def test_before_a_guest_starts_its_devices_are_connected_anew_and_found_under_their_new_names() -> None:
    server = Server("6e783272-0000-4fdc-8828-2b8892daab39", "n", "n", 64, 1, 1, None, volumes=(HERE,))
    disk = volumes.disk_xml(HERE, Way(path="/dev/sdb", is_block=True))
    host = OneDomain(f"<domain><devices>{LOCAL}{disk}</devices></domain>")
    for path, defined in (("/dev/sdb", 0), ("/dev/sdc", 1)):
        volumes.reconnect(host, server, lambda connection, path=path: Way(path=path, is_block=True))  # type: ignore[arg-type, misc]
        assert (volumes.path_of(host.xml, HERE), host.defined) == (path, defined)


def test_a_volume_that_qemu_opens_is_not_connected_by_the_host() -> None:
    server = Server("6e783272-0000-4fdc-8828-2b8892daab39", "n", "n", 64, 1, 1, None, volumes=(HERE,))
    host = OneDomain(domain())
    volumes.reconnect(host, server, lambda connection: pytest.fail("nobody asked for it"))  # type: ignore[arg-type]
    assert host.defined == 0


def test_what_belongs_to_the_host_is_looked_for_without_volumes() -> None:
    server = Server("6e783272-0000-4fdc-8828-2b8892daab39", "n", "n", 64, 1, 1, None, volumes=(HERE,))
    disk = volumes.disk_xml(HERE, Way(path="/dev/sdb", is_block=True))
    tree = etree.fromstring(f"<domain><devices>{LOCAL}{disk}</devices></domain>")
    assert inspect_guest.immovable(tree) != ()
    rest = volumes.without_volumes(tree, server)
    assert (inspect_guest.immovable(rest), len(rest.findall("devices/disk"))) == ((), 1)
    assert len(tree.findall("devices/disk")) == 2


@pytest.mark.parametrize("change", [{"protocol": "rbd"}, {"data": {"target_iqn": "iqn.t:v1"}}])
def test_what_qemu_cannot_reach_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="speaks iscsi only"):
        volumes.disk_xml(dataclasses.replace(HERE, **change), ONE)  # type: ignore[arg-type]


def test_an_encrypted_volume_is_not_given_as_ciphertext() -> None:
    with pytest.raises(StorageError, match="encrypted"):
        volumes.disk_xml(dataclasses.replace(HERE, data={**DATA, "encrypted": True}), ONE)


@pytest.mark.parametrize("mode, expected", [("ro", True), ("rw", False), (None, False)])
def test_what_may_only_be_read_stays_so_on_another_host(mode: str | None, expected: bool) -> None:
    disk = volumes.disk_xml(dataclasses.replace(HERE, data={**DATA, "access_mode": mode}), ONE)
    # (while two hosts have it, Cinder says of the second one "rw")
    there = dataclasses.replace(THERE, data={**THERE.data, "access_mode": "rw"})
    moved = volumes.with_volumes(f"<domain><devices>{disk}</devices></domain>", [(there, TWO)])
    assert ("<readonly/>" in disk, "<readonly/>" in moved) == (expected, expected)


def test_a_password_is_a_secret_of_the_host_and_not_in_the_xml() -> None:
    data = {**DATA, "auth_username": "joe", "auth_password": "hunter2"}
    here, there = dataclasses.replace(HERE, data=data), dataclasses.replace(THERE, data=data)
    disks = [volumes.disk_xml(each, ONE) for each in (here, here, there)]
    auths = [etree.fromstring(disk).find("source/auth") for disk in disks]
    assert [auth.get("username") for auth in auths] == ["joe"] * 3
    uuids = [auth.find("secret").get("uuid") for auth in auths]
    assert uuids[0] == uuids[1] != uuids[2]
    assert not any("hunter2" in disk for disk in disks)
