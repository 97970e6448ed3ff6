"""Migrations in mid-copy: slow enough for something to happen to them, and what must be true afterwards."""

from __future__ import annotations

from typing import Any

from labkit import guest, scenario
from labkit.commands import wait_until
from labkit.scenario import HOST
from tests.lab.worlds import DESTINATION, SOURCE

PAYLOAD_MIB = 192
SLOW_MBIT_S = 200
"""So the payload takes some ten seconds."""
ANY_PAUSE_MS = 2_000_000
"""The most that QEMU takes for a limit."""


def slow_down(lab: Any) -> None:
    for host in (SOURCE, DESTINATION):
        lab.limit_rate(host, SLOW_MBIT_S)


def speed_up(lab: Any) -> None:
    """What has been broken is broken: let the rest, and above all the memory, go at full speed (see doc/tests.rst)."""
    for host in (SOURCE, DESTINATION):
        lab.limit_rate(host, None)


def begin(lab: Any, client: Any, server: Any, host: str) -> dict[str, Any]:
    """Ask for a migration and wait until disks are being copied; returns what the API shows of it."""
    lab.nova("live-migration", "--block-migrate", server.name, host)
    seen: list[dict[str, Any]] = []

    def copying() -> bool:
        seen[:] = client.running_migrations(server.id)
        return bool(seen and seen[0]["status"] == "running" and seen[0]["disk_processed_bytes"])

    wait_until(copying, 60, "disks are being copied")
    return seen[0]


def wait_until_any_pause_is_allowed(lab: Any, server: Any) -> None:
    """Until the transfer is hurried: QEMU may pause the guest at the source for as long as the rest takes."""

    def allowed() -> bool:
        told = lab.run(SOURCE, ["virsh", "migrate-getmaxdowntime", server.domain], check=False)
        return bool(told.stdout.strip() == str(ANY_PAUSE_MS))

    wait_until(allowed, 30, "QEMU may pause the guest for as long as it takes")


def assert_unharmed(lab: Any, client: Any, server: Any, before: dict[str, Any]) -> None:
    """ACTIVE on the source in the same boot, still writing, all records there; nothing on the destination."""
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    after = server.guest.wait()
    server.guest.wait_for_record(after["record"] + 20)
    assert client.server(server.id)[HOST] == "compute1"
    assert guest.uptime_went_on(before, server.guest.status())
    assert server.guest.verify().is_whole
    wait_until(
        lambda: not scenario.leftovers(lab, "compute2", server),
        30,
        f"nothing is left on compute2: {scenario.leftovers(lab, 'compute2', server)}",
    )
