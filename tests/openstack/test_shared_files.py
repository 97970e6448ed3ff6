"""Volumes that os-brick connects: files on a real GlusterFS, which hosts mount while they need them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from labkit import gluster, scenario
from labkit.commands import wait_until
from labkit.scenario import HOST
from tests.lab.copying import PAYLOAD_MIB, begin, speed_up
from tests.lab.test_volumes import assert_whole
from tests.openstack.test_cinder import TIME_LIMIT

pytestmark = TIME_LIMIT


@pytest.fixture
def volume(lab: Any, cinder: Any) -> str:
    made: str = cinder.create_volume(lab, "shared", volume_type="shared")
    return made


@pytest.fixture
def server(lab: Any, client: Any, volume: str, boot: Callable[..., Any]) -> Any:
    """A server on compute1 that writes to its own disk and to the volume."""
    booted = boot()
    scenario.attach_volume(lab, client, booted, volume)
    return booted


def source_of(lab: Any, host: str, server: Any) -> str:
    """Where a guest's second disk is on a host, as libvirt says."""
    listed = lab.run(host, ["virsh", "domblklist", server.domain]).stdout.split()
    return str(listed[listed.index("vdb") + 1])


def connected(lab: Any, host: str, server: Any) -> list[str]:
    """What os-brick has made for a server, as the host's ledger has it."""
    path = f"/var/lib/nova-blockmigrate/ledger/{host}/servers/{server.id}.jsonl"
    kinds: list[str] = []
    for line in map(json.loads, lab.run(host, ["cat", path], check=False).stdout.splitlines()):
        if "made" in line:
            kinds.append(line["made"]["kind"])
        elif "gone" in line:
            kinds.remove(line["gone"]["kind"])
    return sorted(kind for kind in kinds if kind in ("brick", "mount"))


def test_a_volume_on_a_file_system_of_the_network_goes_along_and_is_not_copied(
    lab: Any, client: Any, cinder: Any, server: Any, volume: str
) -> None:
    before = source_of(lab, "compute1", server)
    assert (before.endswith(f"volume-{volume}"), connected(lab, "compute1", server)) == (True, ["brick", "mount"])
    assert (len(gluster.mounted(lab, "compute1")), gluster.mounted(lab, "compute2")) == (1, [])
    seen: set[int] = set()

    lab.nova("live-migration", "--block-migrate", server.name, "compute2")
    migration = scenario.wait_for_end(client, server.id, 120, lambda running: seen.add(running["disk_total_bytes"] or 0))

    assert (migration["status"], client.server(server.id)[HOST]) == ("completed", "compute2"), scenario.reasons(client, server.id)
    assert max(seen) < 2 * 1024**3, "of two disks with 1 GiB each, one is copied"
    assert source_of(lab, "compute2", server) == before
    assert (connected(lab, "compute1", server), connected(lab, "compute2", server)) == ([], ["brick", "mount"])
    assert (gluster.mounted(lab, "compute1"), len(gluster.mounted(lab, "compute2"))) == ([], 1)
    assert scenario.leftovers(lab, "compute1", server) == []
    assert len(cinder.attachments(lab, volume)) == 1
    assert_whole(server)

    lab.kill("compute2", "compute", signal.SIGKILL)
    lab.start("compute2", "compute")
    assert_whole(server)

    lab.nova("volume-detach", server.name, volume)
    wait_until(lambda: cinder.volume(lab, volume)["status"] == "available", 90, "Cinder has the volume back")
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert (connected(lab, "compute2", server), gluster.mounted(lab, "compute2")) == ([], [])


@pytest.mark.usefixtures("slow")
def test_a_roll_back_in_mid_copy_ends_the_destinations_mount(lab: Any, client: Any, cinder: Any, server: Any, volume: str) -> None:
    server.guest.write_payload(PAYLOAD_MIB)
    (before,) = cinder.attachments(lab, volume)

    begin(lab, client, server, "compute2")
    assert len(gluster.mounted(lab, "compute2")) == 1
    lab.run("compute2", ["sh", "-c", f"kill -9 $(cat /run/libvirt/qemu/{server.domain}.pid)"])
    speed_up(lab)
    migration = scenario.wait_for_end(client, server.id, 60)

    assert migration["status"] == "failed"
    assert [one["id"] for one in cinder.attachments(lab, volume)] == [before["id"]]
    assert (connected(lab, "compute1", server), connected(lab, "compute2", server)) == (["brick", "mount"], [])
    assert (len(gluster.mounted(lab, "compute1")), gluster.mounted(lab, "compute2")) == (1, [])
    assert scenario.leftovers(lab, "compute2", server) == []
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert_whole(server)
