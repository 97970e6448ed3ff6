"""Transfers that take longer than the configuration allows, on real hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labkit import scenario
from labkit.scenario import HOST
from tests.lab.copying import PAYLOAD_MIB, assert_unharmed, begin, speed_up, wait_until_any_pause_is_allowed
from tests.lab.worlds import DESTINATION, SOURCE, configured


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "option", ["live_migration_timeout", pytest.param("live_migration_completion_timeout", marks=pytest.mark.long)]
)
def test_a_transfer_beyond_its_limit_fails_and_says_so(lab: Any, client: Any, boot: Callable[..., Any], option: str) -> None:
    with configured(lab, SOURCE, "compute", {f"libvirt.{option}": "2"}):
        server = boot()
        server.guest.write_payload(PAYLOAD_MIB)
        before = server.guest.status()

        lab.nova("live-migration", "--block-migrate", server.name, DESTINATION)  # (two seconds are too short to be sure to see it)
        ended = scenario.wait_for_end(client, server.id, 60)

        assert ended["status"] == "failed"
        assert option in " ".join(scenario.reasons(client, server.id))
        speed_up(lab)
        assert_unharmed(lab, client, server, before)


@pytest.mark.long
@pytest.mark.usefixtures("slow")
def test_a_transfer_beyond_its_limit_is_hurried_where_that_is_the_action(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    options = {"libvirt.live_migration_timeout": "2", "libvirt.live_migration_timeout_action": "force_complete"}
    with configured(lab, SOURCE, "compute", options):
        server = boot()
        server.guest.write_payload(PAYLOAD_MIB)
        begin(lab, client, server, DESTINATION)
        wait_until_any_pause_is_allowed(lab, server)
        speed_up(lab)

        assert scenario.wait_for_end(client, server.id, 60)["status"] == "completed"
        assert client.server(server.id)[HOST] == DESTINATION
        assert server.guest.verify().is_whole
