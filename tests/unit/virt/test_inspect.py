"""What is read of a guest, a host and its certificates for the checks."""

from __future__ import annotations

import pathlib
import socket

import pytest
from lxml import etree

from nova_blockmigrate.virt.libvirt import inspect_guest, inspect_host, inspect_route

IMMOVABLE = [
    ("<devices><hostdev mode='subsystem' type='pci'><alias name='hostdev0'/></hostdev></devices>", "hostdev hostdev0"),
    ("<devices><interface type='hostdev'><alias name='net0'/></interface></devices>", "interface net0"),
    ("<devices><interface type='vdpa'/></devices>", "vDPA"),
    ("<devices><tpm><backend type='passthrough'/></tpm></devices>", "TPM"),
    ("<devices><filesystem type='mount'><target dir='share'/></filesystem></devices>", "filesystem share"),
    ("<devices><shmem name='x'/></devices>", "shmem x"),
    ("<devices><disk type='nvme'><target dev='vdb'/></disk></devices>", "disk vdb"),
    ("<devices><disk type='block' device='lun'><readonly/><target dev='sda'/></disk></devices>", "SCSI"),
    ("<devices><disk type='block' device='disk'><target dev='vdb'/></disk></devices>", "block device"),
    ("<devices><disk type='vhostuser'/></devices>", "process of the host"),
    ("<devices><memory model='nvdimm'/></devices>", "persistent memory"),
    ("<launchSecurity type='sev'/>", "encrypted"),
    ("<cpu><feature policy='require' name='invtsc'/></cpu>", "invtsc"),
]
MOVABLE = [
    "<devices><disk type='file' device='disk'><target dev='vda'/></disk></devices>",
    "<devices><tpm><backend type='emulator'/></tpm></devices>",
    "<devices><shmem name='x' role='master'/></devices>",
    "<devices><interface type='bridge'/></devices>",
    "<cpu><feature policy='disable' name='invtsc'/></cpu>",
]


@pytest.mark.parametrize(("xml", "words"), IMMOVABLE)
def test_a_device_that_cannot_move_is_named(xml: str, words: str) -> None:
    assert words in " ".join(inspect_guest.immovable(etree.fromstring(f"<domain>{xml}</domain>")))


@pytest.mark.parametrize("xml", MOVABLE)
def test_a_device_that_can_move_is_not(xml: str) -> None:
    assert inspect_guest.immovable(etree.fromstring(f"<domain>{xml}</domain>")) == ()


def test_ports_come_from_qemu_conf(tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "qemu.conf"
    assert inspect_host.migration_ports(conf) == (49152, 49215)
    conf.write_text("#migration_port_min = 1\nmigration_port_min = 50000\nmigration_port_max = 50009\n")
    assert inspect_host.migration_ports(conf) == (50000, 50009)


def test_the_port_listened_on_is_reached_and_a_closed_one_is_not() -> None:
    port, problem = inspect_host.listen("127.0.0.1")
    assert (problem, inspect_route.why_unreachable("127.0.0.1", port)) == ("", "")

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "refused" in inspect_route.why_unreachable("127.0.0.1", closed.getsockname()[1])


def test_a_directory_that_is_missing_cannot_be_written_to(tmp_path: pathlib.Path) -> None:
    assert inspect_host.why_not_writable(str(tmp_path)) == ""
    assert "No such file" in inspect_host.why_not_writable(str(tmp_path / "missing"))


def test_formats_of_base_files_are_those_that_qemu_was_told() -> None:
    chain = "<backingStore type='file'><format type='{}'/><source file='{}'/>{}</backingStore>"
    below = chain.format("qcow2", "/mid", chain.format("raw", "/base", "<backingStore/>"))
    tree = etree.fromstring(f"<domain><devices><disk type='file'><source file='/top'/>{below}</disk></devices></domain>")

    assert inspect_guest.base_formats(tree) == {"/mid": "qcow2", "/base": "raw"}
