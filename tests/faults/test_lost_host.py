"""A source host that dies in the moment of the switch and does not come back: only a person can know that, and say so."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.timeout(900)
def test_an_operator_vouches_for_a_source_that_died_in_the_switch(stage: Any) -> None:
    from faultkit import breaks, world
    from faultkit.points import Point
    from labkit import guest, scenario
    from labkit.commands import wait_until
    from labkit.sampler import Sampler

    def state_there() -> str | None:
        found: str | None = breaks.domains(stage, stage.destination).get(server.domain)
        return found

    def reason() -> str:
        return str(world.query(stage, "SELECT reason FROM migrations ORDER BY id DESC LIMIT 1")[0][0])

    def declare(forced_down: bool) -> None:
        listed = stage.ask(lambda client: client.request("GET", f"/os-services?host={stage.source}&binary=nova-compute"))
        path = f"/os-services/{listed['services'][0]['id']}"
        stage.ask(lambda client: client.request("PUT", path, {"forced_down": forced_down}))

    stage.use("")
    stage.heal()
    stage.ready_guest()
    server, before = stage.guest, stage.guest.guest.status()
    power_failure = breaks.Crash("source")
    point = Point(stage.lab, "handover.complete", stage.source, stage.destination)
    point.arm()
    with Sampler(stage.lab, server.domain) as sampler:
        stage.migrate()
        point.wait(60)
        power_failure.do(stage)
        point.clear()
        wait_until(lambda: "did not answer" in reason(), 90, "the migration says who is silent")
        assert state_there() == "paused"

        migration = stage.ask(lambda client: client.newest_migration(server.id))
        path = f"/servers/{server.id}/migrations/{migration['id']}/action"
        stage.ask(lambda client: client.request("POST", path, {"force_complete": None}))
        wait_until(lambda: "unreachable" in reason() or "does not answer" in reason(), 60, "it was tried again")
        assert state_there() == "paused", "a wish to hurry is no word for the source's death"

        declare(forced_down=True)
        wait_until(lambda: state_there() == "running", 60, "the guest runs on its destination")
        stage.ask(lambda client: scenario.wait_for_status(client, server.id, "ACTIVE", 60))
        power_failure.undo(stage)
        declare(forced_down=False)
        gone = f"nothing is left on {stage.source}"
        wait_until(lambda: not scenario.leftovers(stage.lab, stage.source, server), 90, gone)

    assert sampler.report.max_running == 1
    assert stage.ask(lambda client: client.server(server.id))[scenario.HOST] == stage.destination
    assert guest.uptime_went_on(before, server.guest.wait())
    assert server.guest.verify().is_whole
