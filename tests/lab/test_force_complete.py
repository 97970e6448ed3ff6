"""A transfer that its user hurries, on real hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit import scenario
from labkit.scenario import HOST
from tests.lab.copying import PAYLOAD_MIB, begin, speed_up, wait_until_any_pause_is_allowed
from tests.lab.worlds import DESTINATION


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
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
