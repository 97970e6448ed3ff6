"""Preparing and clearing up, cut off at every single file operation, then done again: the end is the same, and exact.

A real file system, qemu-img and ledger; a death is simulated by an exception that no operation after it survives.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nova_blockmigrate import processes
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.image.cache import BaseImages, completing
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.image.source import LocalDirectory
from nova_blockmigrate.objects import DiskLayer, GuestDescription, GuestDisk, MigrationPlan, PowerState, Server
from nova_blockmigrate.virt.libvirt import in_use
from nova_blockmigrate.virt.libvirt.bringing import Bringing
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.prepare import Preparation
from nova_blockmigrate.virt.libvirt.unmake import Site, unmake

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "by-hand", "by-hand", 256, 1, 1, None)
PLAN = MigrationPlan(1, "0b0a9b3e-5f0f-4a8e-8f0b-3d8f0e5a7c11", SERVER, "compute1", "compute2", True)
KIB = 1024


class Death(BaseException):
    """The process is gone."""


class NoPlumbing:
    """A guest without interfaces."""

    def plug(self, vifs: Any, ledger: Any) -> None: ...

    def note(self, vifs: Any, ledger: Any) -> None: ...


class Mortal:
    """Counts operations on files; dies at the one that is named, before it is done, half done or after it."""

    WATCHED = ("open", "write", "unlink", "rmdir", "mkdir", "replace", "truncate", "fsync")

    def __init__(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._dies_at, self._when, self._dead = str(tmp_path), 0, "", False
        self.operations: list[str] = []
        """Those of the last life, by name."""
        self._open: set[int] = set()
        for name in self.WATCHED:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        monkeypatch.setattr(os, "close", self._close(os.close))
        monkeypatch.setattr(builtins, "open", self._watched("open", builtins.open))
        monkeypatch.setattr(processes, "run", self._watched("run", processes.run))

    @contextlib.contextmanager
    def life(self, dies_at: int = 0, when: str = "") -> Iterator[None]:
        self.operations, self._dies_at, self._when, self._dead = [], dies_at, when, False
        try:
            yield
        finally:
            self._dies_at, self._dead = 0, False

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            if name != "run" and not self._is_ours(arguments[0]):
                return real(*arguments, **options)
            if self._dead:
                raise Death
            self.operations.append(name)
            dies = len(self.operations) == self._dies_at
            if dies and self._when == "before":
                self._die()
            if dies and self._when == "half" and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                self._die()
            result = real(*arguments, **options)
            if name == "open" and isinstance(result, int):
                self._open.add(result)
            if dies:
                self._die()
            return result

        return operation

    def _close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def close(descriptor: int) -> None:
            self._open.discard(descriptor)
            real(descriptor)

        return close

    def _die(self) -> None:
        self._dead = True
        raise Death

    def _is_ours(self, what: Any) -> bool:
        return what in self._open if isinstance(what, int) else str(what).startswith(self._root)


class Place:
    """The destination's file system below one folder, and what the source would send."""

    def __init__(self, tmp_path: pathlib.Path) -> None:
        self.root = tmp_path / "place"
        self.ledger_folder = tmp_path / "ledger"
        self.manifests = Manifests(str(tmp_path / "manifests"))
        self.contents = {str(self.root / "deep" / name): name.encode() * 100 for name in ("base", "mid", "cd.iso", "vars.fd")}
        self.guest = self._describe()

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
        Preparation("here", str(self.root / "instances"), files, NoPlumbing(), ledger).make(PLAN, self.guest, "", "")  # type: ignore[arg-type]

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
        unmake(Site(Host("test:///default", "here"), NoPlumbing(), SERVER, ledger))  # type: ignore[arg-type]

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
        xml = f"<domain type='qemu'><devices>{serial}</devices></domain>"
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


def every_death(mortal: Mortal, place: Place, before: Callable[[], None], work: Callable[[], None]) -> Iterator[str]:
    """Have `work` die at each of its operations, each time in a fresh place; yields where, after each death."""
    place.reset()
    before()
    with mortal.life():
        work()
    operations = len(mortal.operations)
    assert operations > 5
    for number, name in enumerate(list(mortal.operations), start=1):
        for when in ("before", "half", "after") if name == "write" else ("before", "after"):
            place.reset()
            before()
            with contextlib.suppress(Death), mortal.life(number, when):
                work()
            yield f"{when} operation {number} of {operations}"


def test_a_preparation_that_died_anywhere_ends_the_same_when_it_is_done_again(place: Place, mortal: Mortal) -> None:
    place.reset()
    place.prepare()
    expected, listed = place.snapshot(), place.listed()
    assert expected["deep/cd.iso"] == place.contents[str(place.root / "deep" / "cd.iso")]

    for where in every_death(mortal, place, lambda: None, place.prepare):
        place.prepare()
        assert place.snapshot() == expected, where
        assert place.listed() == listed, where


def test_a_preparation_that_died_anywhere_is_undone_without_a_trace(place: Place, mortal: Mortal) -> None:
    place.reset()
    untouched = place.snapshot()

    for where in every_death(mortal, place, lambda: None, place.prepare):
        place.release()
        assert place.snapshot() == untouched, where
        assert place.listed() == set(), where


def test_a_roll_back_that_died_anywhere_ends_the_same_when_it_is_done_again(place: Place, mortal: Mortal) -> None:
    place.reset()
    untouched = place.snapshot()

    for where in every_death(mortal, place, place.prepare, place.release):
        place.release()
        assert place.snapshot() == untouched, where
        assert place.listed() == set(), where


def test_a_clean_up_that_died_anywhere_ends_the_same_when_it_is_done_again(place: Place, mortal: Mortal) -> None:
    place.reset()
    untouched = place.snapshot()

    for where in every_death(mortal, place, place.prepare, place.arrive_and_leave):
        place.arrive_and_leave()
        assert place.snapshot() == untouched, where
        assert list(place.ledger_folder.rglob("*.jsonl")) == [], where
