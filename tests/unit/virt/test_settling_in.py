"""On the destination after the handover: the network is told of every interface, whoever has made it."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from typing import Any

import libvirt
import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.objects import MigrationPlan, Server, Vif
from nova_blockmigrate.virt.libvirt import arrival

OURS = Vif("port", "fa:16:3e:00:00:01", "br100", "tapport")
SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "by-hand", "by-hand", 256, 1, 1, None, (OURS,))
PLAN = MigrationPlan(1, "0b0a9b3e-5f0f-4a8e-8f0b-3d8f0e5a7c11", SERVER, "compute1", "compute2", True)
XML = """<domain><os/><devices>
<interface type='bridge'><mac address='FA:16:3E:00:00:01'/><source bridge='br100'/><target dev='tapport'/></interface>
<interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/><target dev='vnet3'/></interface>
<interface type='direct'><mac address='52:54:00:00:00:03'/><source dev='eth1'/><target dev='macvtap0'/></interface>
</devices></domain>"""


class Domain:
    def isPersistent(self) -> bool:
        return True

    def XMLDesc(self, flags: int) -> str:
        return XML

    def jobStats(self, flags: int) -> dict[str, Any]:
        raise libvirt.libvirtError("none")


class Host:
    name = "compute2"

    def domain(self, uuid: str, name: str) -> Domain:
        return Domain()

    def errors(self, action: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Plumbing:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def announce(self, vifs: Any) -> None:
        self.told += vifs

    def announce_foreign(self, *interface: str) -> None:
        self.told.append(interface)

    def refresh(self, vifs: Any) -> None: ...


def test_interfaces_that_an_administrator_made_are_announced_like_ours() -> None:
    plumbing = Plumbing()

    arrival.settle_in(Host(), plumbing, PLAN, autostart=False)  # type: ignore[arg-type]

    assert plumbing.told == [
        OURS,
        ("52:54:00:00:00:02", "vnet3", "br0", ""),
        ("52:54:00:00:00:03", "macvtap0", "", "eth1"),
    ]


def test_a_disk_that_lost_writes_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    xml = f"<domain><os/><devices><disk type='file'><source file='{disk}'/><target dev='vda'/></disk></devices></domain>"
    monkeypatch.setattr(Domain, "XMLDesc", lambda *_: xml)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(exceptions.WritesLost, match=f"compute2 could not bring {disk} to its disk: Input/output error"):
        arrival.settle_in(Host(), Plumbing(), PLAN, autostart=False)  # type: ignore[arg-type]
