"""Hosts that die in a migration and do not come back, and what an operator's word does: the cases beside `test_lost_host`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest


class Scene:
    """A server on the stage, its newest migration, and an operator."""

    def __init__(self, stage: Any) -> None:
        stage.use("")
        stage.heal()
        stage.ready_guest()
        self.stage, self.server = stage, stage.guest
        self.before = self.server.guest.status()

    def lose(self, role: str, point: str) -> Any:
        """A power failure of a host while the migration is at a point of the source, or in mid-copy; returns it, to be undone."""
        from faultkit import breaks
        from faultkit.points import Point

        power_failure = breaks.Crash(role)
        if not point:
            self.stage.slow_down()
            threading.Thread(target=self.stage.migrate, daemon=True).start()
            breaks.wait_for_copying(self.stage)
            power_failure.do(self.stage)
            self.stage.speed_up()
            return power_failure
        held = Point(self.stage.lab, point, self.stage.source, self.stage.destination)
        held.arm()
        self.stage.migrate()
        held.wait(60)
        power_failure.do(self.stage)
        held.clear()
        return power_failure

    # --- the operator -------------------------------------------------------------------------------------------------

    def declare(self, role: str, forced_down: bool) -> None:
        host = self.stage.host(role)
        listed = self.stage.ask(lambda client: client.request("GET", f"/os-services?host={host}&binary=nova-compute"))
        path = f"/os-services/{listed['services'][0]['id']}"
        self.stage.ask(lambda client: client.request("PUT", path, {"forced_down": forced_down}))

    def force_complete(self) -> None:
        path = f"/servers/{self.server.id}/migrations/{self.row('id')}/action"
        self.stage.ask(lambda client: client.request("POST", path, {"force_complete": None}))

    def abort(self) -> None:
        path = f"/servers/{self.server.id}/migrations/{self.row('id')}"
        self.stage.ask(lambda client: client.request("DELETE", path))

    # --- what is seen -------------------------------------------------------------------------------------------------

    def row(self, column: str) -> Any:
        from faultkit import world

        return world.query(self.stage, f"SELECT {column} FROM migrations ORDER BY id DESC LIMIT 1")[0][0]

    def wait_for(self, column: str, words: str, timeout_s: float = 120) -> None:
        from labkit.commands import wait_until

        wait_until(lambda: words in str(self.row(column)), timeout_s, f"the migration's {column} says {words!r}")

    def domain(self, role: str) -> str | None:
        from faultkit import breaks

        found: str | None = breaks.domains(self.stage, self.stage.host(role)).get(self.server.domain)
        return found

    def left_on(self, role: str) -> list[str]:
        from labkit import scenario

        found: list[str] = scenario.leftovers(self.stage.lab, self.stage.host(role), self.server)
        return found

    def wait_for_nothing_on(self, role: str) -> None:
        from labkit.commands import wait_until

        wait_until(lambda: not self.left_on(role), 120, f"nothing is left on the {role}")

    def shown(self) -> tuple[str, str]:
        from labkit import scenario

        server = self.stage.ask(lambda client: client.server(self.server.id))
        return server["status"], server[scenario.HOST]


@pytest.fixture
def scene(stage: Any) -> Iterator[Scene]:
    scene = Scene(stage)
    yield scene
    for role in ("source", "destination"):
        scene.declare(role, forced_down=False)
    stage.drop_guest()  # (it is off by then, or will be seen to be in some seconds)


@pytest.fixture
def rarely(pytestconfig: pytest.Config) -> None:
    """Each waits for a minute or two until silence is believed: not in every run."""
    if pytestconfig.getoption("--every-run"):
        pytest.skip("only when all cases are played")


@pytest.mark.usefixtures("rarely")
@pytest.mark.timeout(600, func_only=True)
def test_a_guest_whose_source_died_in_mid_copy_stays_there_on_an_operators_word(scene: Scene) -> None:
    power_failure = scene.lose("source", "")
    scene.wait_for("reason", "did not answer")
    scene.force_complete()
    scene.declare("source", forced_down=True)
    scene.wait_for("status", "failed")
    assert "says that" in scene.row("reason")
    assert scene.shown() == ("SHUTOFF", scene.stage.source)
    scene.wait_for_nothing_on("destination")

    power_failure.undo(scene.stage)
    assert scene.domain("source") == "shut off"
    assert scene.stage.verify_on_disk(scene.stage.source).is_whole


@pytest.mark.usefixtures("rarely")
@pytest.mark.timeout(600, func_only=True)
def test_a_guest_whose_destination_died_in_the_switch_is_taken_back_on_an_operators_word(scene: Scene) -> None:
    from labkit.commands import wait_until

    power_failure = scene.lose("destination", "handover.killed")
    wait_until(lambda: scene.row("reason"), 120, "the migration says what is known")
    scene.abort()
    wait_until(lambda: scene.row("abort_requested"), 30, "the wish is written down")
    assert scene.row("status") == "running", "a wish is no word for the destination's death"
    scene.declare("destination", forced_down=True)
    scene.wait_for("status", "failed")
    assert scene.shown() == ("SHUTOFF", scene.stage.source)
    assert scene.stage.verify_on_disk(scene.stage.source).is_whole

    power_failure.undo(scene.stage)
    scene.wait_for_nothing_on("destination")
    assert scene.domain("source") == "shut off"


@pytest.mark.usefixtures("rarely")
@pytest.mark.timeout(600, func_only=True)
def test_a_destination_that_died_after_the_switch_holds_nobody_up(scene: Scene) -> None:
    power_failure = scene.lose("destination", "handover.resumed")
    scene.wait_for("reason", "did not answer")
    assert scene.row("status") == "post-migrating"
    scene.declare("destination", forced_down=True)
    scene.wait_for("status", "completed")
    assert not scene.row("holds_slot") and scene.left_on("source"), "no disk goes before the guest is seen elsewhere"

    power_failure.undo(scene.stage)
    scene.declare("destination", forced_down=False)
    scene.wait_for_nothing_on("source")
    assert scene.shown()[1] == scene.stage.destination
    assert scene.domain("destination") == "shut off"
