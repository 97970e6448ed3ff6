"""A server from boot to delete on two real hosts, moved while it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from labkit import proof, scenario
from labkit.commands import wait_until
from labkit.scenario import HOST

BASES = "/var/lib/nova/instances/_base"


def assert_holds(shown: proof.Proof) -> None:
    """Every line of the table that quickstart prints is right."""
    assert [f"{one.title}: {one.observed}" for one in shown.findings() if not one.holds] == []


def test_a_writing_guest_moves_there_and_back(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    server.guest.write_payload(64)

    assert_holds(proof.move(lab, client, server, "compute2"))
    assert_holds(proof.move(lab, client, server, "compute1"))


def test_the_base_image_on_the_destination_has_the_same_bytes(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    at_source = sum_of_base(lab, server, "compute1")

    proof.move(lab, client, server, "compute2")

    assert sum_of_base(lab, server, "compute2") == at_source


def sum_of_base(lab: Any, server: Any, host: str) -> str:
    """The hash and the path of what the server's disk on this host is laid over."""
    described = lab.run(host, ["qemu-img", "info", "--force-share", "--output", "json", server.disk]).stdout
    base = json.loads(described)["full-backing-filename"]
    assert base.startswith(BASES)
    return str(lab.run(host, ["sha256sum", base]).stdout)


def test_a_host_is_chosen_when_none_is_named(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()

    lab.nova("live-migration", "--block-migrate", server.name)
    migration = scenario.wait_for_end(client, server.id, 60)

    assert (migration["status"], client.server(server.id)[HOST]) == ("completed", "compute2")


def test_a_paused_guest_arrives_paused_and_goes_on_when_told(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    before = server.guest.status()
    lab.nova("pause", server.name)
    scenario.wait_for_status(client, server.id, "PAUSED", 30)

    lab.nova("live-migration", "--block-migrate", server.name, "compute2")
    migration = scenario.wait_for_end(client, server.id, 60)

    assert migration["status"] == "completed"
    assert (client.server(server.id)["status"], client.server(server.id)[HOST]) == ("PAUSED", "compute2")
    assert lab.run("compute2", ["virsh", "domstate", server.domain]).stdout.strip() == "paused"
    lab.nova("unpause", server.name)
    scenario.wait_for_status(client, server.id, "ACTIVE", 30)
    assert server.guest.wait()["boot_id"] == before["boot_id"]


def test_stop_and_start_keep_the_disk(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    last = server.guest.status()["record"]

    lab.nova("stop", server.name)
    scenario.wait_for_status(client, server.id, "SHUTOFF", 90)
    lab.nova("start", server.name)
    scenario.wait_for_status(client, server.id, "ACTIVE", 60)

    assert server.guest.wait()["record"] >= last
    assert server.guest.verify().is_whole


@pytest.mark.parametrize("service", ["api", "conductor"])
def test_services_on_the_controller_stay_small(lab: Any, service: str) -> None:
    from labkit import machine

    pid = machine.daemons(lab.layout, lab.layout.controller)[service]["pid"]
    assert resident_mib(pid) < 150


@pytest.mark.long
def test_the_compute_service_stays_small_after_its_work(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    from labkit import machine

    server = boot()
    proof.move(lab, client, server, "compute2")
    wait_until(server.guest.answers, 10, "guest answers")

    for host in lab.layout.hosts:
        assert resident_mib(machine.daemons(lab.layout, host)["compute"]["pid"]) < 150


def resident_mib(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1024**2
