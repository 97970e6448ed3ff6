"""Preparing and clearing up, cut off at every single file operation, then done again: the end is the same, and exact.

A real file system, qemu-img and ledger (`mortality`); networks, secrets and port bindings: `test_crash_anywhere_connected`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.image.cache import BaseImages, completing
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import LocalDirectory
from nova_blockmigrate.objects import (
    DiskLayer,
    GuestDescription,
    GuestDisk,
    MigrationPlan,
    PowerState,
    Server,
    VolumeConnection,
)
from nova_blockmigrate.virt.libvirt import in_use, volumes
from nova_blockmigrate.virt.libvirt.bringing import Bringing
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.prepare import Preparation
from nova_blockmigrate.virt.libvirt.unmake import Site, unmake
from nova_blockmigrate.virt.libvirt.volume_access import VolumeAccess, Way
from tests.unit.virt.mortality import Mortal, every_death

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
VOLUME = VolumeConnection("0d4b1a80-1111-4fdc-8828-2b8892daab39", "a1", "here", "vdd", "nfs", {"export": "s:/x", "name": "v"})
SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "by-hand", "by-hand", 256, 1, 1, None, volumes=(VOLUME,))
PLAN = MigrationPlan(1, "0b0a9b3e-5f0f-4a8e-8f0b-3d8f0e5a7c11", SERVER, "compute1", "compute2", True)
KIB = 1024


class NoPlumbing:
    """A guest without interfaces."""

    def plug(self, vifs: Any, ledger: Any) -> None: ...

    def note(self, vifs: Any, ledger: Any) -> None: ...


class FileBrick:
    """os-brick, whose mounts are directories and whose volumes are files, so that what it left can be seen."""

    def __init__(self, root: pathlib.Path) -> None:
        self._mount = root / "mounted"

    def connect(self, connection: VolumeConnection) -> str:
        path = self._mount / connection.data["name"]
        if not self._mount.exists():
            os.mkdir(self._mount)
        os.close(os.open(path, os.O_CREAT))
        return str(path)

    def disconnect(self, protocol: str, data: dict[str, Any]) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._mount / data["name"])

    def unmount(self, protocol: str, export: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self._mount)


class Place:
    """The destination's file system below one folder, and what the source would send."""

    def __init__(self, tmp_path: pathlib.Path) -> None:
        self.root = tmp_path / "place"
        self.ledger_folder = tmp_path / "ledger"
        self.manifests = Manifests(str(tmp_path / "manifests"))
        self.contents = {str(self.root / "deep" / name): name.encode() * 100 for name in ("base", "mid", "cd.iso", "vars.fd")}
        self.guest = self._describe()
        conf = cfg.ConfigOpts()
        configuration.register(conf)
        conf([], default_config_files=[])
        self.access = VolumeAccess(conf, Host("test:///default", "here"), FileBrick(self.root))  # type: ignore[arg-type]

    def reset(self) -> None:
        for folder in (self.root, self.ledger_folder):
            shutil.rmtree(folder, ignore_errors=True)
        (self.root / "foreign").mkdir(parents=True)
        (self.root / "foreign" / "notes").write_text("somebody's")

    def records(self) -> Records:
        """As a service that starts reads them."""
        return Records(self.ledger_folder)

    def prepare(self) -> None:
        ledger = self.records().open(PLAN, "destination")
        images = BaseImages(str(self.root), LocalDirectory("/nowhere", self.manifests, "here"), self.manifests, True, "here")
        files = Bringing("here", images, self.manifests, ledger, self._fetch)
        Preparation("here", str(self.root / "instances"), files, NoPlumbing(), ledger).make(PLAN, self.guest, "", self.access)  # type: ignore[arg-type]

    def release(self) -> None:
        records = self.records()
        ledger = records.get(PLAN.migration_uuid)
        if ledger is not None:
            self._unmake(ledger)
            records.close(PLAN.migration_uuid)

    def arrive_and_leave(self) -> None:
        """What finishing a migration here does, and cleaning up when the server has moved on."""
        records = self.records()
        records.settle(PLAN)
        self._unmake(records.of_server(SERVER.uuid))
        records.close_server(SERVER.uuid)

    def _unmake(self, ledger: HostRecord) -> None:
        unmake(Site(Host("test:///default", "here"), NoPlumbing(), SERVER, ledger, self.access))  # type: ignore[arg-type]

    def snapshot(self) -> dict[str, bytes | None]:
        """Every file with its bytes, every directory."""
        paths = sorted(self.root.rglob("*"))
        return {str(path.relative_to(self.root)): None if path.is_dir() else path.read_bytes() for path in paths}

    def listed(self) -> set[tuple[str, str]]:
        ledger = self.records().get(PLAN.migration_uuid)
        return {(artefact.kind, artefact.name) for artefact in ledger.artefacts()} if ledger else set()

    def _fetch(self, source: str, sha256: str, path: str) -> int:
        with completing(path) as part, open(part, "wb") as file:
            file.write(self.contents[source])
        return len(self.contents[source])

    def _describe(self) -> GuestDescription:
        base, mid, medium, nvram = (self._layer(path) for path in self.contents)
        top = DiskLayer(str(self.root / "foreign" / "top"), "qcow2", 64 * KIB, 0, 65536, "1.1", features=("lazy_refcounts=on",))
        second = DiskLayer(str(self.root / "instances" / SERVER.uuid / "disk"), "raw", 64 * KIB, 0)
        disks = (
            GuestDisk("vda", "disk", "file", readonly=False, layers=(top, mid, base)),
            GuestDisk("vdb", "disk", "file", readonly=False, layers=(second,)),
            GuestDisk("vdc", "disk", "file", readonly=True, layers=(base,)),
            GuestDisk("hda", "cdrom", "file", readonly=True, layers=(medium,)),
        )
        serial = f"<serial type='file'><source path='{self.root}/logs/serial.log'/></serial>"
        volume = volumes.disk_xml(VOLUME, Way(path="/as/the/source/has/it"))
        xml = f"<domain type='qemu'><devices>{serial}{volume}</devices></domain>"
        return GuestDescription(
            SERVER.uuid, SERVER.domain_name, PowerState.RUNNING, 256, 1, disks, persistent=True, xml=xml, nvram=nvram
        )

    def _layer(self, path: str) -> DiskLayer:
        content = self.contents[path]
        return DiskLayer(path, "raw", 64 * KIB, len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def mortal(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Mortal:
    monkeypatch.setattr(in_use, "users_of", lambda host, path, but: "")  # (libvirt has no other guests)
    return Mortal(tmp_path, monkeypatch)


def test_a_preparation_that_died_anywhere_ends_the_same_when_it_is_done_again(place: Place, mortal: Mortal) -> None:
    place.reset()
    place.prepare()
    expected, listed = place.snapshot(), place.listed()
    assert "mounted/v" in expected
    assert expected["deep/cd.iso"] == place.contents[str(place.root / "deep" / "cd.iso")]

    for where in every_death(mortal, place.reset, lambda: None, place.prepare):
        place.prepare()
        assert place.snapshot() == expected, where
        assert place.listed() == listed, where


def test_a_preparation_that_died_anywhere_is_undone_without_a_trace(place: Place, mortal: Mortal) -> None:
    place.reset()
    untouched = place.snapshot()

    for where in every_death(mortal, place.reset, lambda: None, place.prepare):
        place.release()
        assert place.snapshot() == untouched, where
        assert place.listed() == set(), where


def test_a_roll_back_that_died_anywhere_ends_the_same_when_it_is_done_again(place: Place, mortal: Mortal) -> None:
    place.reset()
    untouched = place.snapshot()

    for where in every_death(mortal, place.reset, place.prepare, place.release):
        place.release()
        assert place.snapshot() == untouched, where
        assert place.listed() == set(), where


def test_a_clean_up_that_died_anywhere_ends_the_same_when_it_is_done_again(place: Place, mortal: Mortal) -> None:
    place.reset()
    untouched = place.snapshot()

    for where in every_death(mortal, place.reset, place.prepare, place.arrive_and_leave):
        place.arrive_and_leave()
        assert place.snapshot() == untouched, where
        assert list(place.ledger_folder.rglob("*.jsonl")) == [], where
