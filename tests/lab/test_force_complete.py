"""A transfer that its user hurries, on real hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit import scenario
from labkit.commands import wait_until
from labkit.scenario import HOST
from tests.lab.copying import PAYLOAD_MIB, assert_unharmed, begin, speed_up, wait_until_any_pause_is_allowed
from tests.lab.worlds import DESTINATION, SOURCE

WRITES_MIB_S = 64
"""More than the network carries."""


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("paused", [False, pytest.param(True, marks=pytest.mark.long)], ids=["running", "paused"])
def test_a_guest_whose_move_is_forced_arrives_as_it_was(lab: Any, client: Any, boot: Callable[..., Any], paused: bool) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()
    if paused:
        lab.nova("pause", server.name)
        scenario.wait_for_status(client, server.id, "PAUSED", 30)
    migration = begin(lab, client, server, DESTINATION)

    lab.nova("live-migration-force-complete", server.name, str(migration["id"]))
    wait_until_any_pause_is_allowed(lab, server)
    speed_up(lab)

    assert scenario.wait_for_end(client, server.id, 60)["status"] == "completed"
    assert client.server(server.id)[HOST] == DESTINATION
    if paused:
        assert client.server(server.id)["status"] == "PAUSED"
        lab.nova("unpause", server.name)
        scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert server.guest.wait()["boot_id"] == before["boot_id"]
    assert server.guest.verify().is_whole


def force(lab: Any, client: Any, server: Any) -> dict[str, Any]:
    """Have a guest moved that writes to its disk faster than the network carries that, force it, and see it paused."""
    migration = begin(lab, client, server, DESTINATION)
    server.guest.command(f"disk {WRITES_MIB_S}")
    lab.nova("live-migration-force-complete", server.name, str(migration["id"]))
    wait_until(lambda: lab.run(SOURCE, ["virsh", "domstate", server.domain]).stdout.strip() == "paused", 30, "the guest is paused")
    return migration


@pytest.mark.long
@pytest.mark.usefixtures("slow")
def test_a_guest_that_writes_faster_than_the_network_arrives_when_it_is_forced(
    lab: Any, client: Any, boot: Callable[..., Any]
) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()

    force(lab, client, server)

    assert scenario.wait_for_end(client, server.id, 120)["status"] == "completed"
    assert client.server(server.id)[HOST] == DESTINATION
    assert server.guest.wait()["boot_id"] == before["boot_id"]
    server.guest.command("disk 0")
    assert server.guest.verify().is_whole


def abort(lab: Any, server: Any, migration: dict[str, Any]) -> None:
    lab.nova("live-migration-abort", server.name, str(migration["id"]))


def kill_what_arrives(lab: Any, server: Any, _migration: dict[str, Any]) -> None:
    pid = lab.run(DESTINATION, ["cat", f"/run/libvirt/qemu/{server.domain}.pid"]).stdout.strip()
    lab.run(DESTINATION, ["kill", "-9", pid])


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    ("ends", "status"),
    [(abort, "cancelled"), pytest.param(kill_what_arrives, "failed", marks=pytest.mark.long)],
    ids=["aborted", "failed"],
)
def test_a_guest_that_was_paused_for_a_forced_move_goes_on_when_that_comes_to_nothing(
    lab: Any, client: Any, boot: Callable[..., Any], ends: Callable[..., None], status: str
) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()
    migration = force(lab, client, server)

    ends(lab, server, migration)

    assert scenario.wait_for_end(client, server.id, 60)["status"] == status
    speed_up(lab)
    server.guest.wait()
    server.guest.command("disk 0")
    assert_unharmed(lab, client, server, before)
