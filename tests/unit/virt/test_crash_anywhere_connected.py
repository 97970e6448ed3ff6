"""Networks, secrets of volumes and places of ports, made and unmade, cut off at every operation, then done again: no trace.

What decides is real: ledger, plumbing, the book of bridges, the order of steps. The edges (kernel, os-vif, nft, libvirt,
Neutron) are files below one folder, so that each thing that they have is one operation, at which the service dies.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import libvirt
import pytest
from lxml import etree
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.compute.ports import BelongingsOnly, Ports
from nova_blockmigrate.image.cache import BaseImages
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import LocalDirectory
from nova_blockmigrate.network import links, plumbing
from nova_blockmigrate.network.backend import BoundVif, Embedded
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import (
    GuestDescription,
    MigrationPlan,
    PowerState,
    Segment,
    SegmentKind,
    Server,
    Vif,
    VolumeConnection,
)
from nova_blockmigrate.virt.libvirt.bringing import Bringing
from nova_blockmigrate.virt.libvirt.prepare import Preparation
from nova_blockmigrate.virt.libvirt.unmake import Site, unmake
from nova_blockmigrate.virt.libvirt.volume_access import VolumeAccess
from tests.unit.virt.mortality import Mortal, every_death

HERE = "compute2"
VXLAN = Segment(SegmentKind.VXLAN, 5000)
VIFS = (
    Vif("11111111-port", "fa:16:3e:00:00:01", "br-vx", "tap11111111-po", mtu=1450, segment=VXLAN),
    Vif("22222222-port", "fa:16:3e:00:00:02", "br-there", "tap22222222-po"),
)
SERVED = {"target_portal": "10.0.0.9:3260", "target_iqn": "iqn:volume", "auth_username": "u", "auth_password": "p"}
VOLUMES = tuple(VolumeConnection("volume", f"attachment-{host}", host, "vdb", "iscsi", SERVED) for host in ("compute1", HERE))
SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "connected", "connected", 256, 1, 1, None, VIFS, VOLUMES)
PLAN = MigrationPlan(1, "0b0a9b3e-5f0f-4a8e-8f0b-3d8f0e5a7c11", SERVER, "compute1", HERE, True)
LEAVING = MigrationPlan(2, "1c1b9b3e-5f0f-4a8e-8f0b-3d8f0e5a7c22", SERVER, HERE, "compute3", True)


def write(path: pathlib.Path, text: str = "") -> None:
    with open(path, "w") as file:
        file.write(text)


class Kernel:
    """Network devices and rules, below a folder."""

    def __init__(self, root: pathlib.Path) -> None:
        self.net, self.rules, self._gone = root / "net", root / "rules", root.parent / "gone"
        self._numbers = itertools.count()

    def plug(self, vif: Vif, uplink: str) -> None:
        """As os-vif does."""
        bridge = self.net / vif.bridge
        if not bridge.exists():
            made = self._gone / str(next(self._numbers))
            for folder in (made, made / "bridge", made / "brif"):
                os.mkdir(folder)
            os.rename(made, bridge)
        if uplink and not (bridge / "brif" / uplink).exists():
            write(bridge / "brif" / uplink)

    def change(self, host: str, action: str, commands: Sequence[Sequence[str]]) -> None:
        """As `ip` does: each device is there or not."""
        for command in commands:
            match command:
                case ("ip", "link", "del", "dev", name):
                    os.rename(self.net / name, self._gone / str(next(self._numbers)))
                case ("ip", "link", "add", *rest):
                    os.mkdir(self.net / rest[rest.index("vxlan-5000")])
                case ("ip", "link", "set", "dev", name, "mtu", mtu):
                    write(self.net / name / "mtu", mtu)

    def device_with(self, address: str) -> str:
        return "br-there"

    def mtu(self, name: str) -> int:
        path = self.net / name / "mtu"
        return int(path.read_text() or 0) if path.exists() else 1500

    def details(self, name: str) -> dict[str, Any]:
        return {"linkinfo": {"info_kind": "vxlan", "info_data": {"id": 5000}}}

    def bridge_of(self, name: str) -> str:
        found = self.net.glob(f"*/brif/{name}") if (self.net / name).exists() else ()
        return next((path.parent.parent.name for path in found), "")

    def guard(self, vifs: Sequence[Vif]) -> None:
        for vif in vifs:
            write(self.rules / vif.tap)

    def leave(self, vifs: Sequence[Vif]) -> None: ...

    def release(self, tap: str, others: Collection[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.rules / tap)


class NoSecret(libvirt.libvirtError):  # type: ignore[misc]
    def get_error_code(self) -> int:
        return int(libvirt.VIR_ERR_NO_SECRET)


class Secret:
    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def setValue(self, value: bytes) -> None:
        write(self._path, value.decode())

    def undefine(self) -> None:
        os.unlink(self._path)


class Libvirt:
    """A host that has secrets, and is its own connection."""

    name = HERE

    def __init__(self, root: pathlib.Path) -> None:
        self._secrets = root / "secrets"

    def connection(self) -> Libvirt:
        return self

    def errors(self, action: str, domain: str = "") -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def secretDefineXML(self, xml: str) -> Secret:
        path = self._secrets / str(etree.fromstring(xml).findtext("uuid"))
        write(path)
        return Secret(path)

    def secretLookupByUUIDString(self, uuid: str) -> Secret:
        if not (self._secrets / uuid).exists():
            raise NoSecret("no such secret")
        return Secret(self._secrets / uuid)


class Network(Embedded):
    """A network service that has files where ports are bound."""

    owns_ports = True

    def __init__(self, conf: cfg.ConfigOpts, root: pathlib.Path) -> None:
        super().__init__(conf)
        self._places = root / "bindings"

    def bind(self, vif: Vif, host: str) -> BoundVif:
        write(self._places / f"{vif.port_id} {host}")
        return BoundVif(vif, awaited=False)

    def activate(self, port_id: str, host: str) -> None:
        write(self._places / f"{port_id} {host}", "active")

    def unbind(self, port_id: str, host: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._places / f"{port_id} {host}")


class Destination:
    """The host, as a service that has just started finds it."""

    def __init__(self, tmp_path: pathlib.Path, conf: cfg.ConfigOpts, monkeypatch: pytest.MonkeyPatch) -> None:
        self._tmp_path = tmp_path
        self.root, self.ledger = tmp_path / "host", tmp_path / "ledger"
        self._kernel, self._libvirt = Kernel(self.root), Libvirt(self.root)
        self._access = VolumeAccess(conf, self._libvirt, None)  # type: ignore[arg-type]
        self._ports = Ports(conf, Network(conf, self.root))
        monkeypatch.setattr(links, "CLASS_NET", str(self._kernel.net))
        for name in ("change", "details", "bridge_of", "device_with", "mtu"):
            monkeypatch.setattr(links, name, getattr(self._kernel, name))
        monkeypatch.setattr(plumbing, "OsVif", lambda host: self._kernel)
        monkeypatch.setattr(plumbing, "Firewall", lambda settings: self._kernel)

    def reset(self) -> None:
        for name in ("host", "ledger", "instances", "gone"):
            shutil.rmtree(self._tmp_path / name, ignore_errors=True)
        (self._tmp_path / "gone").mkdir()
        for name in ("net/br-there/bridge", "net/br-there/brif", "rules", "secrets", "bindings", "book"):
            (self.root / name).mkdir(parents=True)
        for vif in VIFS:
            (self.root / "bindings" / f"{vif.port_id} compute1").write_text("active")

    def prepare(self) -> None:
        """In the order of `compute.migration`."""
        record = Records(self.ledger).open(PLAN, "destination")
        plan = self._ports.prepare(PLAN, record).in_plan(PLAN)
        manifests = Manifests(str(self._tmp_path / "manifests"))
        images = BaseImages(str(self._tmp_path), LocalDirectory("/nowhere", manifests, HERE), manifests, True, HERE)
        files = Bringing(HERE, images, manifests, record, lambda *_: 0)
        disk = "<disk type='network'><source/><target dev='vdb'/><serial>volume</serial></disk>"
        xml = f"<domain><devices>{disk}</devices></domain>"
        guest = GuestDescription(SERVER.uuid, SERVER.domain_name, PowerState.RUNNING, 256, 1, (), persistent=True, xml=xml)
        Preparation(HERE, str(self._tmp_path / "instances"), files, self._plumbing(), record).make(plan, guest, "", self._access)

    def release(self) -> None:
        records = Records(self.ledger)
        record = records.get(PLAN.migration_uuid)
        if record is not None:
            self._unmake(BelongingsOnly(record))
            self._ports.release(PLAN, record)
            records.close(PLAN.migration_uuid)

    def arrive(self) -> None:
        records = Records(self.ledger)
        self._ports.arrive(PLAN, records.get(PLAN.migration_uuid))
        records.settle(PLAN)

    def leave(self) -> None:
        records = Records(self.ledger)
        belongings = records.of_server(SERVER.uuid)
        self._plumbing().note(SERVER.vifs, belongings)
        self._unmake(belongings)
        self._ports.leave(LEAVING)
        records.close_server(SERVER.uuid)

    def snapshot(self) -> dict[str, str]:
        """All that the host has: devices, rules, secrets, bindings, notes."""
        files = [path for path in sorted(self.root.rglob("*")) if path.is_file()]
        found = {str(path.relative_to(self.root)): path.read_text() for path in files}
        return found | {str(path.relative_to(self.root)): "" for path in self.root.rglob("*") if path.is_dir()}

    def traces(self) -> dict[str, str]:
        """Without the book, which stays and must name nothing, and one that was not finished."""
        found = self.snapshot()
        found.pop("book/book.new", "")
        book = found.pop("book/book.json", '"bridges": {}')
        assert '"bridges": {}' in book, book
        return found

    def listed(self) -> set[tuple[str, str]]:
        record = Records(self.ledger).get(PLAN.migration_uuid)
        return {(artefact.kind, artefact.name) for artefact in record.artefacts()} if record else set()

    def _plumbing(self) -> plumbing.Plumbing:
        settings = NetworkSettings(HERE, str(self.root / "book/book.json"), vxlan_remotes=("10.0.0.2",), vxlan_local_ip="10.0.0.1")
        return plumbing.Plumbing(settings)

    def _unmake(self, ledger: HostRecord | BelongingsOnly) -> None:
        unmake(Site(self._libvirt, self._plumbing(), SERVER, ledger, self._access))  # type: ignore[arg-type]


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Destination:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    return Destination(tmp_path, conf, monkeypatch)


@pytest.fixture
def mortal(here: Destination, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mortal]:
    with monkeypatch.context() as patched:
        yield Mortal(tmp_path, patched)


def test_a_preparation_that_died_anywhere_ends_the_same_when_it_is_done_again(here: Destination, mortal: Mortal) -> None:
    here.reset()
    here.prepare()
    expected, listed = here.snapshot(), here.listed()
    assert {kind for kind, _ in listed} >= {"vif", "secret", "port-binding", "domain", "directory"}
    assert {"net/vxlan-5000/mtu", "net/br-vx/brif/vxlan-5000", f"rules/{VIFS[0].tap}"} <= expected.keys()

    for where in every_death(mortal, here.reset, lambda: None, here.prepare):
        here.prepare()
        assert here.snapshot() == expected, where
        assert here.listed() == listed, where


def test_a_preparation_that_died_anywhere_is_undone_without_a_trace(here: Destination, mortal: Mortal) -> None:
    here.reset()
    untouched = here.traces()

    for where in every_death(mortal, here.reset, lambda: None, here.prepare):
        here.release()
        assert here.traces() == untouched, where
        assert here.listed() == set(), where


def test_a_roll_back_that_died_anywhere_ends_the_same_when_it_is_done_again(here: Destination, mortal: Mortal) -> None:
    here.reset()
    untouched = here.traces()

    for where in every_death(mortal, here.reset, here.prepare, here.release):
        here.release()
        assert here.traces() == untouched, where
        assert here.listed() == set(), where


def test_an_arrival_and_a_departure_that_died_anywhere_end_the_same(here: Destination, mortal: Mortal) -> None:
    def arrive_and_leave() -> None:
        here.arrive()
        here.leave()

    here.reset()
    untouched = here.traces()

    for where in every_death(mortal, here.reset, here.prepare, arrive_and_leave):
        arrive_and_leave()
        assert here.traces() == untouched, where
        assert list(here.ledger.rglob("*.jsonl")) == [], where
