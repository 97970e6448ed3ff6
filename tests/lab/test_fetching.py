"""A base that is brought from the source and cut off: the second try brings the rest, and what a failed migration had is gone."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faultkit.points import Point, clear_all
from labkit import guest, guest_image, scenario, seed, services
from labkit.commands import run, wait_until
from labkit.scenario import HOST

BASES = "/var/lib/nova/instances/_base"
FILLED_FROM_MIB, FILLED_MIB = 600, 300
"""Where the image holds bytes that cannot be compressed and that the guest does not touch."""


@pytest.fixture(scope="module", autouse=True)
def held(lab: Any) -> Iterator[None]:
    """The destination's service can be held at named points."""
    before = lab.record
    lab.record = dataclasses.replace(before, options=dataclasses.replace(before.options, breakpoints=True))
    services.breakpoints_folder(lab.machine("compute2")).mkdir(mode=0o700, exist_ok=True)
    lab.restart("compute2", "compute")
    yield
    clear_all(lab)
    lab.record = before
    lab.restart("compute2", "compute")


@pytest.fixture
def large(lab: Any, tmp_path: Path) -> Iterator[str]:
    """Name of an image with a large base."""
    raw = tmp_path / "large.raw"
    run(["qemu-img", "convert", "-O", "raw", str(guest_image.ensure_image()), str(raw)])
    with raw.open("r+b") as file:
        file.seek(FILLED_FROM_MIB * 2**20)
        for _ in range(FILLED_MIB):
            file.write(os.urandom(2**20))
    seed.manage(lab.layout, "image", "create", "--name", "large", "--disk-format", "raw", "--file", str(raw))
    raw.unlink()
    yield "large"
    if "large" in seed.manage(lab.layout, "image", "list", "--json"):
        seed.manage(lab.layout, "image", "delete", "large")


@pytest.fixture
def server(lab: Any, large: str, boot: Callable[..., Any]) -> Any:
    """A server whose image is deleted, so that only the source has its base."""
    server = boot(image=large)
    seed.manage(lab.layout, "image", "delete", large)
    return server


def point(lab: Any, name: str) -> Point:
    return Point(lab, name, "compute1", "compute2")


def part(lab: Any, suffix: str) -> str:
    """A file that is being brought to compute2, or the notes about it; empty when there is none."""
    return str(lab.run("compute2", ["sh", "-c", f"ls {BASES}/*{suffix} 2>/dev/null || true"]).stdout.strip())


def sent_bytes(lab: Any) -> int:
    """What has left compute1 over the management network."""
    return int(lab.run("compute1", ["cat", "/sys/class/net/eth0/statistics/tx_bytes"]).stdout)


def noted_bytes(lab: Any) -> int:
    """How much of the base is whole on compute2, by its notes."""
    _, *ranges = lab.run("compute2", ["cat", part(lab, ".part.done")]).stdout.splitlines()
    return sum(json.loads(line)[1] for line in ranges)


@pytest.mark.long
def test_a_destination_that_is_killed_in_mid_fetch_brings_only_the_rest(lab: Any, client: Any, server: Any) -> None:
    before = server.guest.status()
    noted, brought = point(lab, "fetch.range_noted"), point(lab, "prepare.base_fetched")
    noted.arm()
    lab.nova("live-migration", "--block-migrate", server.name, "compute2")
    for _ in range(2):  # the boot sector's range, and one of the large ones
        noted.wait(120)
        done_bytes = noted_bytes(lab)
        noted.arm() if done_bytes < 64 * 2**20 else None
    lab.kill("compute2", "compute", signal.SIGKILL)
    noted.clear()
    assert part(lab, ".part").endswith(".part")
    brought.arm()
    sent = sent_bytes(lab)

    lab.start("compute2", "compute")
    brought.wait(180)
    sent = sent_bytes(lab) - sent
    brought.clear()
    migration = scenario.wait_for_end(client, server.id, 180)

    assert (migration["status"], client.server(server.id)[HOST]) == ("completed", "compute2")
    described = lab.run("compute2", ["qemu-img", "info", "-U", "--output=json", server.disk]).stdout
    base = json.loads(described)["full-backing-filename"]
    rest = int(lab.run("compute2", ["sh", "-c", f"echo $(($(stat -c %b {base}) * 512))"]).stdout) - done_bytes
    assert rest > 128 * 2**20
    assert 0.9 * rest < sent < 1.15 * rest, f"{sent} bytes were sent, {rest} were missing"
    assert "ranges are here, going on" in lab.layout.log_of(lab.machine("compute2"), "compute").read_text()
    assert (part(lab, ".part"), part(lab, ".part.done")) == ("", "")
    sums = [lab.run(host, ["sha256sum", base]).stdout.split()[0] for host in ("compute1", "compute2")]
    assert sums[0] == sums[1]
    assert guest.uptime_went_on(before, server.guest.wait())
    assert server.guest.verify().is_whole


@pytest.mark.long
def test_a_migration_that_is_given_up_in_mid_fetch_leaves_no_part_of_it(lab: Any, client: Any, server: Any) -> None:
    noted = point(lab, "fetch.range_noted")
    noted.arm()
    lab.nova("live-migration", "--block-migrate", server.name, "compute2")
    noted.wait(120)
    migration = client.newest_migration(server.id)
    assert part(lab, ".part.done")

    lab.nova("live-migration-abort", server.name, str(migration["id"]))
    noted.clear()
    ended = scenario.wait_for_end(client, server.id, 120)

    assert ended["status"] == "cancelled"
    wait_until(lambda: not scenario.leftovers(lab, "compute2", server), 30, "nothing of it is left on compute2")
    assert (part(lab, ".part"), part(lab, ".part.done")) == ("", "")
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert server.guest.verify().is_whole
