"""Passwords of tgtd's targets: never an argument, and never a gap between a target's users, which would be tgtd's end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_blockmigrate import exceptions
from nova_blockmigrate.concurrency import run_native
from nova_blockmigrate.volume import tgt_accounts
from nova_blockmigrate.volume.tgt import Tgtd

IQN = "iqn.2026-11.x:v1"
ONE, TWO = {"v1-a": "secretsecret1"}, {"v1-b": "secretsecret2"}


class FakeTgtadm:
    """Keeps users as tgtd does: in places, of which one that was emptied is filled again first."""

    def __init__(self, *bound: str) -> None:
        self.places: list[str | None] = list(bound)
        self.known = {"v1-old", *bound}
        self.told: list[str] = []

    def __call__(self, operation: str, mode: str, *arguments: str) -> str:
        user = arguments[-1] if arguments else ""
        self.told.append(f"{operation} {user}".strip())
        if operation == "bind":
            free = self.places.index(None) if None in self.places else len(self.places)
            self.places[free : free + 1] = [user]
        elif operation == "unbind":
            self.places[self.places.index(user)] = None
            while self.places and self.places[-1] is None:
                self.places.pop()
        elif operation == "delete":
            self.known.discard(user)
        assert None not in self.places, "tgtd crashes at the next look"
        return "Account list:\n" + "".join(f"    {user}\n" for user in sorted(self.known))


def test_a_user_who_came_first_goes_without_leaving_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    tgtadm = FakeTgtadm("v1-a", "v1-b")
    monkeypatch.setattr(tgt_accounts, "create", lambda *_: pytest.fail("it is known"))
    tgt_accounts.keep(tgtadm, 0, 1000, ("v1-a", "v1-b"), TWO, "v1-")
    assert tgtadm.places == ["v1-b"]
    assert tgtadm.known == {"v1-b"}
    assert tgtadm.told[1:4] == ["unbind v1-b", "unbind v1-a", "bind v1-b"]


def test_a_second_user_takes_nothing_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tgtadm, made = FakeTgtadm("v1-a"), []
    monkeypatch.setattr(tgt_accounts, "create", lambda port, user, password: made.append((user, password)))
    tgt_accounts.keep(tgtadm, 0, 1000, ("v1-a",), ONE | TWO, "v1-")
    assert made == [("v1-b", "secretsecret2")]
    assert tgtadm.told == ["show", "bind v1-b", "delete v1-old"]


def test_users_of_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    tgtadm = FakeTgtadm("v1-a")
    tgtadm.known.add("administrators")
    tgt_accounts.keep(tgtadm, 0, 1000, ("v1-a",), {}, "v1-")
    assert tgtadm.known == {"administrators"}


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A socket that answers as tgtd does; what it was sent."""
    monkeypatch.setenv("TGT_IPC_SOCKET", str(tmp_path / "socket"))
    listener, got = socket.socket(socket.AF_UNIX), []
    listener.bind(str(tmp_path / "socket.3"))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            got.append(connection.recv(4096))
            error = b"\x11\0\0\0" if b"taken" in got[0] else b"\0\0\0\0"
            connection.sendall(error + b"\x08\0\0\0")

    thread = threading.Thread(target=serve)
    thread.start()
    yield got
    thread.join()
    listener.close()


def test_the_request_is_tgtadms(answering: list[bytes]) -> None:
    """As tgtadm 1.0.85 sends `--op new --mode account --user alice --password secretsecret`."""
    run_native(tgt_accounts.create, 3, "alice", "secretsecret")
    head = b"\7\0\0\0" + bytes(4) + b"iscsi".ljust(64, b"\0") + b"\x99\0\0\0" + b"\xff" * 4 + bytes(8) + b"\xff" * 8 + bytes(24)
    assert answering == [head + b"user=alice,password=secretsecret\0"]


def test_a_refusal_is_an_error_that_does_not_tell_the_password(answering: list[bytes]) -> None:
    with pytest.raises(exceptions.VolumeBackendError, match="error 17") as caught:
        run_native(tgt_accounts.create, 3, "taken", "secretsecret")
    assert "secretsecret" not in str(caught.value)


def test_a_tgtd_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGT_IPC_SOCKET", str(tmp_path / "socket"))
    with pytest.raises(exceptions.VolumeBackendError, match="Does tgtd run"):
        tgt_accounts.create(3, "alice", "secretsecret")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("tgtd"), reason="needs root and tgtd")
class TestWithTgtd:
    @pytest.fixture
    def portal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            portal = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("TGT_IPC_SOCKET", str(tmp_path / "socket"))
        control = free_control_port()
        process = subprocess.Popen(["tgtd", "-f", "-C", str(control), "--iscsi", f"portal={portal}"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (tmp_path / f"socket.{control}").exists():
            assert process.poll() is None and time.monotonic() < deadline
        yield f"{control} {portal}"
        process.kill()
        process.wait()

    def test_only_the_right_user_with_the_right_password_gets_in(
        self, portal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        control, address = portal.split()
        # (programs of `processes` have the environment that this module was loaded with)
        monkeypatch.setitem(tgtadm_environment(), "TGT_IPC_SOCKET", str(tmp_path / "socket"))
        tgtd = Tgtd(int(control))
        (tmp_path / "disk").write_bytes(bytes(10**6))
        target = tgtd.serve(IQN, str(tmp_path / "disk"))
        tgtd.require(target, ONE | TWO, "v1-")
        tgtd.allow(tgtd.targets()[IQN], ["iqn.me"])
        assert [login(address, *who) for who in (("v1-a", "secretsecret1"), ("v1-b", "secretsecret2"))] == [True, True]
        assert [login(address, *who) for who in (("v1-a", "secretsecret2"), ("", ""))] == [False, False]

        tgtd.require(tgtd.targets()[IQN], TWO, "v1-")
        assert [login(address, *who) for who in (("v1-a", "secretsecret1"), ("v1-b", "secretsecret2"))] == [False, True]
        assert tgtd.targets()[IQN].accounts == ("v1-b",)

        tgtd.stop_serving(IQN)
        tgtd.forget_accounts("v1-")
        assert tgtd.targets() == {}


def tgtadm_environment() -> dict[str, str]:
    from nova_blockmigrate import processes

    return processes._ENVIRONMENT


def free_control_port() -> int:
    """One that no tgtd of this machine has: it locks a file of that name, wherever its socket is."""
    return 10_000 + os.getpid() % 20_000


def login(portal: str, user: str, password: str) -> bool:
    """Whether QEMU's initiator gets in."""
    options = f"driver=iscsi,transport=tcp,portal={portal},target={IQN},lun=1,initiator-name=iqn.me"
    options += f",user={user},password-secret=s" if user else ""
    command = ["qemu-img", "info", "--object", f"secret,id=s,data={password or 'none'}", "--image-opts", options]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
