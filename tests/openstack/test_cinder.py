"""Volumes of a real Cinder: attached with CHAP, taken along in a migration, left alone by a roll back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from labkit import keystone, rest, scenario, seed
from labkit.commands import wait_until
from labkit.layout import API_PORT
from labkit.scenario import HOST
from tests.lab.copying import PAYLOAD_MIB, begin
from tests.lab.test_roll_back import no_place_for_bases
from tests.lab.test_volumes import assert_whole

TIME_LIMIT = pytest.mark.timeout(600, func_only=True)
"""Bringing the laboratory and Cinder up takes minutes on a busy machine, and is waited for with limits of its own."""
pytestmark = TIME_LIMIT


@pytest.fixture
def volume(lab: Any, cinder: Any) -> str:
    made: str = cinder.create_volume(lab, "data")
    return made


@pytest.fixture
def server(lab: Any, client: Any, volume: str, boot: Callable[..., Any]) -> Any:
    """A server on compute1 that writes to its own disk and to the volume."""
    booted = boot()
    scenario.attach_volume(lab, client, booted, volume)
    return booted


def secrets(lab: Any, host: str) -> list[str]:
    """UUIDs of the secrets that libvirt has on a host."""
    return [line.split()[0] for line in lab.run(host, ["virsh", "secret-list"]).stdout.splitlines()[2:] if line.strip()]


def test_a_volume_of_cinder_goes_along(lab: Any, client: Any, cinder: Any, server: Any, volume: str) -> None:
    (before,) = cinder.attachments(lab, volume)
    assert (before["status"], before["instance"], cinder.volume(lab, volume)["status"]) == ("attached", server.id, "in-use")
    assert before["connection_info"]["auth_method"] == "CHAP"
    seen: set[str] = set()

    lab.nova("live-migration", "--block-migrate", server.name, "compute2")
    migration = scenario.wait_for_end(
        client, server.id, 120, lambda running: seen.update(one["id"] for one in cinder.attachments(lab, volume))
    )

    assert (migration["status"], client.server(server.id)[HOST]) == ("completed", "compute2")
    (after,) = cinder.attachments(lab, volume)
    assert (after["status"], after["id"] != before["id"]) == ("attached", True)
    assert seen <= {before["id"], after["id"]}
    assert (secrets(lab, "compute1"), len(secrets(lab, "compute2"))) == ([], 1)
    assert_whole(server)

    lab.nova("volume-detach", server.name, volume)
    wait_until(lambda: cinder.volume(lab, volume)["status"] == "available", 60, "Cinder has the volume back")
    assert cinder.attachments(lab, volume) == []
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert secrets(lab, "compute2") == []


def test_a_roll_back_leaves_cinder_with_the_sources_attachment(
    lab: Any, client: Any, cinder: Any, server: Any, volume: str
) -> None:
    (before,) = cinder.attachments(lab, volume)

    with no_place_for_bases(lab, "compute2"):
        lab.nova("live-migration", "--block-migrate", server.name, "compute2")
        migration = scenario.wait_for_end(client, server.id, 60)

    assert migration["status"] == "failed"
    (after,) = cinder.attachments(lab, volume)
    assert (after["id"], after["status"]) == (before["id"], "attached")
    assert (len(secrets(lab, "compute1")), secrets(lab, "compute2")) == (1, [])
    assert_whole(server)


@pytest.mark.usefixtures("slow")
def test_a_roll_back_in_mid_copy_ends_the_destinations_attachment(
    lab: Any, client: Any, cinder: Any, server: Any, volume: str
) -> None:
    server.guest.write_payload(PAYLOAD_MIB)
    (before,) = cinder.attachments(lab, volume)

    begin(lab, client, server, "compute2")
    assert {one["instance"] for one in cinder.attachments(lab, volume)} == {server.id}
    assert len(cinder.attachments(lab, volume)) == 2
    lab.run("compute2", ["sh", "-c", f"kill -9 $(cat /run/libvirt/qemu/{server.domain}.pid)"])
    migration = scenario.wait_for_end(client, server.id, 60)

    assert migration["status"] == "failed"
    (after,) = cinder.attachments(lab, volume)
    assert (after["id"], after["status"], cinder.volume(lab, volume)["status"]) == (before["id"], "attached", "in-use")
    assert (len(secrets(lab, "compute1")), secrets(lab, "compute2")) == (1, [])
    assert scenario.leftovers(lab, "compute2", server) == []
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert_whole(server)


def token(lab: Any, user: str) -> str:
    return keystone.issue_token(lab.layout, lab.record.password, user, keystone.USERS[user][0])


def test_a_volume_of_another_project_does_not_exist(lab: Any, client: Any, cinder: Any, boot: Callable[..., Any]) -> None:
    mine, theirs = (cinder.create_volume(lab, name, token(lab, name)) for name in ("member", "stranger"))
    assert {cinder.volume(lab, one)["os-vol-tenant-attr:tenant_id"] for one in (mine, theirs)} == {
        keystone.project_id(lab.layout, seed.token_of(lab.layout), project) for project in ("demo", "other")
    }
    network = json.loads(seed.manage(lab.layout, "network", "list", "--json"))[0]["id"]
    for volume, status in ((theirs, 400), (mine, 202)):
        disk = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
        body = {"name": "thief", "imageRef": "", "flavorRef": flavor(client), "networks": [{"uuid": network}],
                "block_device_mapping_v2": [disk]}  # fmt: skip
        assert rest.status_of(lab.layout, API_PORT, "POST", "/v2.1/servers", {"server": body}, token(lab, "member")) == status
    assert cinder.volume(lab, theirs)["status"] == "available"


def flavor(client: Any) -> str:
    return str(client.request("GET", "/flavors")["flavors"][0]["id"])


def test_cinder_knows_of_the_host_what_os_brick_says(lab: Any, client: Any, cinder: Any, server: Any, volume: str) -> None:
    (told,) = cinder.connectors(lab, volume)
    assert (told["host"], told["ip"]) == ("compute1", lab.layout.machine("compute1").management_ip)
    assert told["initiator"] == "iqn.2008-11.org.linux-kvm:compute1", "QEMU's, as it is who logs in"
    assert "nvme_native_multipath" in told, "only os-brick knows of that"


def test_a_volume_that_may_only_be_read_is_a_read_only_disk(lab: Any, client: Any, cinder: Any, boot: Callable[..., Any]) -> None:
    volume = cinder.create_volume(lab, "read-only")
    cinder.ask(lab, "POST", f"/volumes/{volume}/action", {"os-update_readonly_flag": {"readonly": True}})
    server = boot()
    lab.nova("volume-attach", server.name, volume)
    scenario.wait_for_status(client, server.id, "ACTIVE", 60)

    for host in ("compute1", "compute2"):
        disk = lab.run(host, ["virsh", "dumpxml", server.domain, "--xpath", "//disk[target/@dev='vdb']"]).stdout
        assert "<readonly/>" in disk, disk
        if host == "compute1":
            lab.nova("live-migration", "--block-migrate", server.name, "compute2")
            assert scenario.wait_for_end(client, server.id, 120)["status"] == "completed"


def test_a_deleted_server_gives_the_volume_back(lab: Any, client: Any, cinder: Any, server: Any, volume: str) -> None:
    scenario.delete_all(lab, client)

    wait_until(lambda: cinder.volume(lab, volume)["status"] == "available", 60, "Cinder has the volume back")
    assert cinder.attachments(lab, volume) == []
    assert secrets(lab, "compute1") == []
