"""Migrations that do not come to their end: the guest goes on where it was, and nothing is left where it was to go."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import guest, scenario
from labkit.sampler import Sampler
from labkit.scenario import HOST
from tests.lab.copying import PAYLOAD_MIB, assert_unharmed, begin, speed_up

BASES = "/var/lib/nova/instances/_base"


@contextlib.contextmanager
def no_place_for_bases(lab: Any, host: str) -> Iterator[None]:
    """A host lacks the base image and cannot store one, which no check can see: only preparing shows it."""
    lab.run(host, ["sh", "-c", f"mkdir -p {BASES} && rm -f {BASES}/* && chattr +i {BASES}"])
    try:
        yield
    finally:
        lab.run(host, ["chattr", "-i", BASES])


def starts_at_boot(lab: Any, server: Any) -> bool:
    return server.domain in lab.run("compute1", ["virsh", "list", "--all", "--autostart", "--name"]).stdout.split()


def test_a_destination_that_cannot_create_the_disk_leaves_the_guest_active(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    before = server.guest.status()

    with no_place_for_bases(lab, "compute2"):
        lab.nova("live-migration", "--block-migrate", server.name, "compute2")
        migration = scenario.wait_for_end(client, server.id, 60)

    assert migration["status"] == "failed"
    assert "Operation not permitted" in " ".join(scenario.reasons(client, server.id))
    assert_unharmed(lab, client, server, before)


def test_after_a_roll_back_the_same_migration_succeeds(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    with no_place_for_bases(lab, "compute2"):
        lab.nova("live-migration", "--block-migrate", server.name, "compute2")
        scenario.wait_for_end(client, server.id, 60)

    lab.nova("live-migration", "--block-migrate", server.name, "compute2")

    assert scenario.wait_for_end(client, server.id, 60)["status"] == "completed"


@pytest.mark.usefixtures("slow")
def test_an_abort_in_mid_copy_is_a_cancelled_migration_of_a_healthy_server(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()
    lab.run("compute1", ["virsh", "autostart", server.domain])

    with Sampler(lab, server.domain) as sampler:
        migration = begin(lab, client, server, "compute2")
        assert not starts_at_boot(lab, server)  # or a boot after the switch would start a second copy
        lab.nova("live-migration-abort", server.name, str(migration["id"]))
        ended = scenario.wait_for_end(client, server.id, 60)

    assert ended["status"] == "cancelled"
    assert starts_at_boot(lab, server)
    assert sampler.report.max_running == 1
    assert_unharmed(lab, client, server, before)


@pytest.mark.usefixtures("slow")
def test_a_guest_that_powers_off_mid_copy_keeps_its_disk(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    last = server.guest.status()["record"]

    begin(lab, client, server, "compute2")
    server.guest.order("poweroff")
    ended = scenario.wait_for_end(client, server.id, 60)
    scenario.wait_for_status(client, server.id, "SHUTOFF", 30)

    assert ended["status"] == "failed"
    assert client.server(server.id)[HOST] == "compute1"
    lab.nova("start", server.name)
    scenario.wait_for_status(client, server.id, "ACTIVE", 60)
    assert server.guest.wait()["record"] >= last
    assert server.guest.verify().is_whole


@pytest.mark.usefixtures("slow")
def test_the_destinations_qemu_dies_mid_copy(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()

    begin(lab, client, server, "compute2")
    lab.run("compute2", ["sh", "-c", f"kill -9 $(cat /run/libvirt/qemu/{server.domain}.pid)"])
    ended = scenario.wait_for_end(client, server.id, 60)

    assert ended["status"] == "failed"
    assert_unharmed(lab, client, server, before)


@pytest.mark.long
@pytest.mark.usefixtures("slow")
def test_a_killed_source_compute_service_finishes_when_it_is_back(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)
    before = server.guest.status()

    with Sampler(lab, server.domain) as sampler:
        begin(lab, client, server, "compute2")
        lab.kill("compute1", "compute", signal.SIGKILL)
        lab.start("compute1", "compute")
        speed_up(lab)
        ended = scenario.wait_for_end(client, server.id, 120)

    assert ended["status"] == "completed"
    assert sampler.report.max_running == 1
    assert client.server(server.id)[HOST] == "compute2"
    assert guest.uptime_went_on(before, server.guest.wait())
    assert server.guest.verify().is_whole
    assert scenario.leftovers(lab, "compute1", server) == []


@pytest.mark.long
@pytest.mark.usefixtures("slow")
def test_a_killed_conductor_is_replaced_and_the_migration_completes(lab: Any, client: Any, boot: Callable[..., Any]) -> None:
    server = boot()
    server.guest.write_payload(PAYLOAD_MIB)

    begin(lab, client, server, "compute2")
    lab.kill("controller", "conductor", signal.SIGKILL)
    lab.start("controller", "conductor")
    speed_up(lab)
    ended = scenario.wait_for_end(client, server.id, 120)

    assert ended["status"] == "completed"
    assert client.server(server.id)[HOST] == "compute2"
    assert scenario.leftovers(lab, "compute1", server) == []
