"""Unmaking what a ledger lists: exactly that, newest first, whatever else lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.exceptions import HypervisorError, StorageError
from nova_blockmigrate.network.plumbing import Plumbing
from nova_blockmigrate.network.settings import NetworkSettings
from nova_blockmigrate.objects import Artefact, Server
from nova_blockmigrate.virt.libvirt import unmake
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.unmake import DIRECTORY, FILE, Site

SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "instance-00000001", "lm001", 256, 1, 1, None)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    plumbing = Plumbing(NetworkSettings("here", str(tmp_path / "book")))
    return Site(Host("test:///default", "here"), plumbing, SERVER, Records(tmp_path / "ledger").of_server(SERVER.uuid))


def make(site: Site, *paths: Path) -> None:
    """Directories (without a suffix) and files, listed."""
    for path in paths:
        with site.ledger.entry(FILE if path.suffix else DIRECTORY, str(path)):
            path.write_text("x") if path.suffix else path.mkdir()


def test_all_that_is_listed_goes_and_nothing_else(site: Site, tmp_path: Path) -> None:
    (tmp_path / "other.img").write_text("somebody's")
    make(site, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/disk.img", tmp_path / "a/disk.img")

    assert unmake.unmake(site) == ()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "other.img"]
    assert site.ledger.artefacts() == []


def test_a_directory_with_a_foreign_file_stays_and_that_is_told(site: Site, tmp_path: Path) -> None:
    make(site, tmp_path / "a", tmp_path / "a/disk.img")
    (tmp_path / "a/notes.txt").write_text("somebody's")

    (words,) = unmake.unmake(site)

    assert "notes.txt" in words and str(tmp_path / "a") in words
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["notes.txt"]
    assert site.ledger.artefacts() == []


def test_what_is_gone_already_is_fine(site: Site, tmp_path: Path) -> None:
    make(site, tmp_path / "a", tmp_path / "a/disk.img")
    (tmp_path / "a/disk.img").unlink()
    (tmp_path / "a").rmdir()

    assert unmake.unmake(site) == ()


def test_one_that_cannot_be_removed_stays_listed_and_hides_no_other(site: Site, tmp_path: Path) -> None:
    make(site, tmp_path / "a", tmp_path / "a/disk.img")
    stubborn = tmp_path / "stubborn.img"
    with site.ledger.entry(FILE, str(stubborn)):
        stubborn.mkdir()  # (a directory cannot be unlinked)

    with pytest.raises(StorageError, match=r"stubborn\.img"):
        unmake.unmake(site)

    assert not (tmp_path / "a").exists()
    assert site.ledger.artefacts() == [Artefact(FILE, str(stubborn))]


def test_a_remover_of_another_kind_is_asked_with_what_it_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def remove(site: Site, name: str) -> str:
        asked.append((site.server.uuid, name))
        if len(asked) == 1:
            raise HypervisorError(action="unplug", reason="busy")
        return "something stays"

    monkeypatch.setitem(unmake.REMOVERS, "tap", remove)
    with site.ledger.entry("tap", "tap0"):
        pass

    with pytest.raises(HypervisorError):
        unmake.unmake(site)
    assert unmake.unmake(site) == ("something stays",)
    assert asked == [(SERVER.uuid, "tap0")] * 2
