"""The shared connection to libvirt."""

from __future__ import annotations

import pytest

from nova_blockmigrate.virt.libvirt import host


class Connection:
    def __init__(self) -> None:
        self.alive, self.closed = True, False

    def isAlive(self) -> int:
        return int(self.alive)

    def close(self) -> None:
        self.closed = True


def test_a_lost_connection_is_let_go_and_not_closed_below_a_call_of_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "open_connection", lambda *_: Connection())
    shared = host.Host("qemu:///system", "compute1")
    first = shared.connection()
    assert shared.connection() is first

    first.alive = False
    second = shared.connection()
    shared.close()

    assert second is not first and shared.connection() is not second
    assert not first.closed and not second.closed
