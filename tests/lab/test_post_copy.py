"""Guests that move by post-copy on real hosts: forced to, cut off, and with their source's service killed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import guest, scenario
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.scenario import HOST
from tests.lab.copying import speed_up
from tests.lab.worlds import DESTINATION, SOURCE, configured

SLOW_MBIT_S = 40
"""So the memory takes some twenty seconds."""
POST_COPY = "running (post-copy)"


@pytest.fixture(scope="module", autouse=True)
def permitted(lab: Any) -> Iterator[None]:
    with configured(lab, SOURCE, "compute", {"libvirt.live_migration_permit_post_copy": "true"}):
        yield


@pytest.fixture
def half_moved(lab: Any, client: Any, boot: Callable[..., Any]) -> Iterator[tuple[Any, dict[str, Any], int]]:
    """A server that runs on its destination while its memory follows, what its guest said before, and the migration's id."""
    server = boot()
    before = server.guest.status()
    for host in (SOURCE, DESTINATION):
        lab.limit_rate(host, SLOW_MBIT_S)
    lab.nova("live-migration", "--block-migrate", server.name, DESTINATION)
    wait_until(lambda: _status(client, server) == "running", 60, "the transfer runs")
    id = client.running_migrations(server.id)[0]["id"]
    lab.nova("live-migration-force-complete", server.name, str(id))
    wait_until(lambda: _status(client, server) == POST_COPY, 60, "the memory follows the guest")
    yield server, before, id
    lab.rejoin(SOURCE)
    speed_up(lab)


def _status(client: Any, server: Any) -> str:
    found = client.running_migrations(server.id)
    return str(found[0]["status"]) if found else ""


def _domain(lab: Any, host: str, server: Any) -> str:
    return str(lab.run(host, ["virsh", "domstate", "--reason", server.domain], check=False).stdout.strip())


def assert_moved_whole(lab: Any, client: Any, server: Any, before: dict[str, Any]) -> None:
    """It went on, in one copy, and all that it wrote is there."""
    speed_up(lab)
    assert scenario.wait_for_end(client, server.id, 90)["status"] == "completed"
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert client.server(server.id)[HOST] == DESTINATION
    assert _domain(lab, DESTINATION, server) == "running (migrated)"
    after = server.guest.wait()
    server.guest.wait_for_record(after["record"] + 20)
    assert guest.uptime_went_on(before, server.guest.status())
    assert server.guest.verify().is_whole
    assert scenario.leftovers(lab, SOURCE, server) == []


def test_a_guest_that_is_forced_moves_at_once_and_cannot_be_called_back(lab: Any, client: Any, half_moved: Any) -> None:
    server, before, id = half_moved
    assert (_domain(lab, SOURCE, server), _domain(lab, DESTINATION, server)) == ("paused (post-copy)", "running (post-copy)")
    with pytest.raises(LabError, match="400"):
        client.request("DELETE", f"/servers/{server.id}/migrations/{id}")

    assert_moved_whole(lab, client, server, before)


@pytest.mark.long
def test_a_guest_that_was_cut_off_from_its_memory_goes_on_when_the_network_is_back(lab: Any, client: Any, half_moved: Any) -> None:
    server, before, _ = half_moved
    lab.separate(SOURCE, DESTINATION)
    wait_until(lambda: _domain(lab, SOURCE, server) == "paused (post-copy failed)", 60, "libvirt has given the transfer up")
    lab.rejoin(SOURCE)

    assert_moved_whole(lab, client, server, before)


@pytest.mark.long
def test_a_guest_arrives_though_its_sources_service_was_killed(lab: Any, client: Any, half_moved: Any) -> None:
    server, before, _ = half_moved
    lab.kill(SOURCE, "compute", signal.SIGKILL)
    lab.start(SOURCE, "compute")

    assert_moved_whole(lab, client, server, before)


@pytest.mark.long
@pytest.mark.parametrize("dead", [SOURCE, DESTINATION])
def test_a_guest_with_one_half_dead_has_ended_where_its_disks_are(lab: Any, client: Any, half_moved: Any, dead: str) -> None:
    server, before, _ = half_moved
    lab.run(dead, ["sh", "-c", 'kill -9 "$(cat "/run/libvirt/qemu/$1.pid")"', "sh", server.domain])
    speed_up(lab)

    assert scenario.wait_for_end(client, server.id, 90)["status"] == "completed"
    scenario.wait_for_status(client, server.id, "SHUTOFF", 30)
    assert client.server(server.id)[HOST] == DESTINATION
    assert scenario.leftovers(lab, SOURCE, server) == []
    lab.nova("start", server.name)
    scenario.wait_for_status(client, server.id, "ACTIVE", 60)
    assert server.guest.wait()["boot_id"] != before["boot_id"]
    assert server.guest.verify().is_whole


@pytest.mark.long
def test_a_guest_that_nobody_forces_is_switched_in_pre_copy(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    before = server.guest.status()
    lab.nova("live-migration", "--block-migrate", server.name, DESTINATION)

    assert_moved_whole(lab, client, server, before)
