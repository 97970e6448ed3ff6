"""Which disks can be moved, from the XML and from what qemu-img says of their files."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from nova_blockmigrate.virt.libvirt import disks, layouts
from nova_blockmigrate.virt.libvirt.domain_xml import DomainDisk, DomainFacts

DISK = DomainDisk("vda", "disk", "file", readonly=False, path="/d/disk", format="qcow2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shareable": True}, "other guests"),
        ({"transient": True}, "thrown away"),
        ({"encrypted": True}, "encrypted"),
        ({"source_type": "volume"}, "storage pool"),
        ({"source_type": "dir"}, "directory"),
    ],
)
def test_disks_that_cannot_be_carried(change: dict[str, Any], said: str) -> None:
    assert said in layouts.problem_of_source(dataclasses.replace(DISK, **change))


@pytest.mark.parametrize("change", [{}, {"shareable": True, "readonly": True}, {"source_type": "network"}])
def test_disks_with_nothing_against_them(change: dict[str, Any]) -> None:
    assert layouts.problem_of_source(dataclasses.replace(DISK, **change)) == ""


def info(*layers: dict[str, Any]) -> str:
    plain = {"filename": "/d/disk", "format": "qcow2", "virtual-size": 1}
    return json.dumps([plain | layer for layer in layers])


def qcow2(**data: Any) -> dict[str, Any]:
    return {"format-specific": {"type": "qcow2", "data": data}}


@pytest.mark.parametrize(
    ("layers", "readonly", "said"),
    [
        (({"filename": "json:{}"},), False, "not a file"),
        (({}, {"filename": "nbd://elsewhere"}), False, "not a file"),
        (({}, {"filename": "/dev/loop0"}), False, "not a file"),
        ((qcow2(**{"data-file": "/d/data"}),), False, "/d/data"),
        (({"format": "luks"},), True, "encrypted"),
        (({"encrypted": True},), False, "encrypted"),
        ((qcow2(corrupt=True),), False, "corrupt"),
        (({"format": "vmdk"},), False, "vmdk"),
        (({"snapshots": [{"name": "s"}]},), False, "internal snapshots"),
    ],
)
def test_chains_that_cannot_be_carried(layers: tuple[dict[str, Any], ...], readonly: bool, said: str) -> None:
    assert said in layouts.problem_of_chain(info(*layers), readonly, lambda path: path.startswith("/d/"))


@pytest.mark.parametrize(
    ("layers", "readonly"),
    [
        (({}, {"filename": "/d/mid"}, {"filename": "/d/base", "format": "raw"}), False),
        (({}, {"filename": "/d/base", "format": "vmdk"}), False),
        (({"format": "vmdk"},), True),
        (({}, {"filename": "/d/base", "snapshots": [{"name": "s"}]}), False),
    ],
)
def test_chains_that_can(layers: tuple[dict[str, Any], ...], readonly: bool) -> None:
    assert layouts.problem_of_chain(info(*layers), readonly, lambda path: path.startswith("/d/")) == ""


def test_an_equal_file_is_created_with_the_features_of_its_model() -> None:
    data = {"compat": "1.1", "lazy-refcounts": True, "extended-l2": True, "refcount-bits": 8, "compression-type": "zstd"}
    (layer,) = disks.parse_chain(info(qcow2(**data) | {"cluster-size": 131072, "virtual-size": 4096}))
    options = "cluster_size=131072,compat=1.1,lazy_refcounts=on,extended_l2=on,refcount_bits=8,compression_type=zstd"
    assert disks.creation_command("/n", layer, None) == [
        *("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "/n", "4096"),
    ]


def test_what_a_domain_reads_writes_and_hangs_on() -> None:
    facts = DomainFacts(
        """<domain type='kvm'><os><kernel>/k</kernel><initrd>/i</initrd><dtb>/t</dtb>
        <nvram template='/v.fd'>/n/vars.fd</nvram></os><devices>
        <disk type='network' device='disk'><source protocol='iscsi' name='iqn/1'/><target dev='vdb'/></disk>
        <disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='hda'/></disk>
        <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
        <interface type='direct'><mac address='52:54:00:00:00:02'/><source dev='eth7' mode='bridge'/></interface>
        <interface type='user'/>
        <serial type='pty'><log file='/l/serial.log'/></serial>
        <channel type='unix'><source mode='bind' path='/s/agent.sock'/></channel>
        <channel type='unix'><source mode='connect' path='/s/other.sock'/></channel>
        <console type='file'><source path='/l/console.log'/></console></devices></domain>"""
    )
    assert facts.boot_files == ("/k", "/i", "/t")
    assert facts.nvram == ("/n/vars.fd", "raw")
    assert facts.character_files == ("/l/serial.log", "/s/agent.sock", "/l/console.log")
    assert facts.libvirt_networks == ("default",)
    assert facts.host_devices == ("/sys/class/net/eth7", "/dev/sr0")
    assert facts.interfaces == ("52:54:00:00:00:01 network default", "52:54:00:00:00:02 direct eth7", "user")
    assert facts.volumes == ("vdb: iscsi iqn/1",)
