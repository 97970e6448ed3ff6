"""Adoption: a guest is listed whole, or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.exceptions import HypervisorError
from nova_blockmigrate.objects import Server
from nova_blockmigrate.virt.libvirt import adoption, in_use

SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "by-hand", "by-hand", 256, 1, 0, None)
DISK = "<disk type='file' device='disk'><driver type='raw'/><source file='{}'/><target dev='{}'/></disk>"
XML = f"<domain><os/><devices>{DISK.format('/srv/a', 'vda')}{DISK.format('/srv/b', 'vdb')}</devices></domain>"


class Host:
    """Also its only domain."""

    def domain(self, uuid: str, name: str) -> Host:
        return self

    def XMLDesc(self, flags: int) -> str:
        return XML

    def errors(self, action: str, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def test_an_adoption_that_fails_leaves_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def users_of(host: object, path: str, but: str) -> str:
        if path == "/srv/b":
            raise HypervisorError(action="list domains", reason="libvirt has gone")
        return ""

    monkeypatch.setattr(in_use, "users_of", users_of)

    with pytest.raises(HypervisorError):
        adoption.adopt(Host(), SERVER, Records(tmp_path).of_server(SERVER.uuid))  # type: ignore[arg-type]

    assert list(tmp_path.rglob("*.jsonl")) == []


def test_what_another_guest_uses_is_told_and_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_use, "users_of", lambda host, path, but: "domain other uses it" if path == "/srv/b" else "")
    ledger = Records(tmp_path).of_server(SERVER.uuid)

    (words,) = adoption.adopt(Host(), SERVER, ledger)  # type: ignore[arg-type]

    assert "/srv/b" in words and "other" in words
    assert [(artefact.kind, artefact.name) for artefact in ledger.artefacts()] == [("adopted", "/srv/a"), ("domain", SERVER.uuid)]
