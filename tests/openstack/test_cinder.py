"""Volumes of a real Cinder: attached with CHAP, taken along in a migration, left alone by a roll back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit import scenario
from labkit.commands import wait_until
from labkit.scenario import HOST
from tests.lab.test_roll_back import no_place_for_bases
from tests.lab.test_volumes import assert_whole

pytestmark = pytest.mark.timeout(600, func_only=True)
"""Bringing the laboratory and Cinder up takes minutes on a busy machine, and is waited for with limits of its own."""


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


def test_a_deleted_server_gives_the_volume_back(lab: Any, client: Any, cinder: Any, server: Any, volume: str) -> None:
    scenario.delete_all(lab, client)

    wait_until(lambda: cinder.volume(lab, volume)["status"] == "available", 60, "Cinder has the volume back")
    assert cinder.attachments(lab, volume) == []
    assert secrets(lab, "compute1") == []
