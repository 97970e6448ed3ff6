"""Guests that nobody but an administrator with `virsh` and `qemu-img` made, with disks of any layout."""

import json
import shlex
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.guest import Guest
from labkit.lab import Lab
from labkit.layout import IMAGES, guest_mac
from labkit.scenario import Client
from labkit.seed import IMAGE, manage

HOME = "/var/lib/libvirt/foreign"
"""Each host has a file system of its own there."""
_DISK = "<disk type='file' device='{device}'><driver name='qemu' type='{format}' discard='unmap'/>{source}{target}{more}</disk>"
_BUSES = {"vd": "virtio", "hd": "ide", "fd": "fdc", "sd": "sata"}


@dataclass(frozen=True)
class Disk:
    """A disk as the XML has it; without a path the drive is empty."""

    target: str
    path: str = ""
    format: str = "qcow2"
    device: str = "disk"
    more: str = ""

    @property
    def xml(self) -> str:
        source = f"<source file='{self.path}'/>" if self.path else ""
        target = f"<target dev='{self.target}' bus='{_BUSES[self.target[:2]]}'/>"
        return _DISK.format(device=self.device, format=self.format, source=source, target=target, more=self.more)


@dataclass(frozen=True)
class Foreign:
    """A guest of a host, and the folder where its files lie."""

    lab: Lab
    name: str
    number: int
    """The last byte of its address."""
    disks: Sequence[Disk]
    boot: str = ""
    """XML in <os>."""
    devices: str = ""
    """More XML in <devices>."""
    machine: str = "pc"
    interface: str = "<interface type='bridge'>{mac}<source bridge='br100'/>{model}</interface>"
    """What it is connected by."""
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def address(self) -> str:
        return f"{self.lab.layout.tenant_prefix}.{self.number}"

    @property
    def mac(self) -> str:
        return guest_mac(self.address)

    @property
    def guest(self) -> Guest:
        return Guest(self.address, self.lab.inside_network)

    @property
    def xml(self) -> str:
        serial = f"<serial type='file'><source path='{HOME}/{self.name}.log' append='on'/></serial>"
        interface = self.interface.format(mac=f"<mac address='{self.mac}'/>", model="<model type='virtio'/>")
        return (
            f"<domain type='qemu'><name>{self.name}</name><uuid>{self.uuid}</uuid><memory unit='MiB'>256</memory><vcpu>1</vcpu>"
            f"<os><type arch='x86_64' machine='{self.machine}'>hvm</type>{self.boot}</os><features><acpi/><apic/></features>"
            f"<devices>{''.join(disk.xml for disk in self.disks)}{interface}"
            f"{serial}<memballoon model='none'/>{self.devices}</devices></domain>"
        )

    def define(self, host: str, start: bool = True) -> None:
        shell(self.lab, host, f"mkdir -p {HOME}; cat > /run/{self.name}.xml; virsh define /run/{self.name}.xml", input=self.xml)
        if start:
            shell(self.lab, host, f"virsh start {self.name}")

    def remove(self, *hosts: str) -> None:
        """Whatever is left of it in libvirt."""
        for host in hosts:
            for command in (f"virsh destroy {self.uuid}", f"virsh undefine --nvram --snapshots-metadata {self.uuid}"):
                self.lab.run(host, shlex.split(command), check=False)


def shell(lab: Lab, host: str, script: str, **options: Any) -> str:
    """What a script prints on a host; CommandFailed when a line of it fails."""
    return lab.run(host, ["sh", "-ec", script], **options).stdout


def image_path(lab: Lab) -> str:
    """The file of the guest image, the same on all hosts."""
    images = json.loads(manage(lab.layout, "image", "list", "--json"))
    return f"{IMAGES}/{next(one['id'] for one in images if one['name'] == IMAGE)}"


def adopt(lab: Lab, host: str, *words: str, check: bool = True) -> list[dict[str, Any]]:
    """`nova-blockmigrate-manage adopt … --json`."""
    command = ["nova-blockmigrate-manage", "adopt", host, *words, "--json"]
    found: list[dict[str, Any]] = json.loads(lab.run("controller", command, check=check).stdout)
    return found


def files(lab: Lab, host: str, *folders: str) -> dict[str, tuple[int, int, int]]:
    """Inode, size and allocated KiB of every file below some folders."""
    listed = lab.run(host, ["find", *folders, "-type", "f", "-printf", "%i %s %k %p\n"], check=False).stdout.splitlines()
    rows = [line.split(" ", 3) for line in listed]
    return {path: (int(inode), int(size), int(kib)) for inode, size, kib, path in rows}


def host_of(client: Client, server_id: str) -> str:
    return str(client.server(server_id)["OS-EXT-SRV-ATTR:host"])
