"""One host with our driver and one with Nova's: servers move both ways, and what fails is undone as the source's driver does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cloud import DESTINATION, PATIENCE_S, SOURCE, Cloud

from labkit import scenario
from labkit.commands import wait_until
from novakit import cases


@pytest.fixture
def from_ours(cloud: Cloud) -> Iterator[Cloud]:
    """The first host has our driver, the second Nova's."""
    cloud.use_driver(DESTINATION, "nova")
    try:
        yield cloud
    finally:
        cloud.use_driver(DESTINATION, "ours")


@pytest.fixture
def from_novas(cloud: Cloud) -> Iterator[Cloud]:
    """The first host has Nova's driver, the second ours."""
    cloud.use_driver(SOURCE, "nova")
    try:
        yield cloud
    finally:
        cloud.use_driver(SOURCE, "ours")


def test_there_and_back(from_ours: Cloud) -> None:
    server = from_ours.boot()
    for source, destination in ((SOURCE, DESTINATION), (DESTINATION, SOURCE)):
        from_ours.migrate(server, destination)
        from_ours.wait_for(server.id, "ACTIVE")
        from_ours.expect_moved(server, from_ours.migration(server), source=source, destination=destination)


def test_abort_on_the_way_to_a_host_with_novas_driver(from_ours: Cloud) -> None:
    server = from_ours.boot()

    migration = cases.user_aborts(from_ours, server)

    from_ours.expect_stayed(server, migration, "cancelled")


def test_death_of_the_destinations_qemu_on_a_host_with_novas_driver(from_ours: Cloud) -> None:
    server = from_ours.boot()

    migration = cases.destination_qemu_dies(from_ours, server)

    from_ours.expect_stayed(server, migration, "failed")


def test_source_compute_that_died_finishes_the_move_to_a_host_with_novas_driver(from_ours: Cloud) -> None:
    """Nobody there lets the guest run meanwhile."""
    server = from_ours.boot()
    migration = from_ours.copy_slowly(server)

    from_ours.kill_compute(SOURCE)
    from_ours.hurry()
    wait_until(
        lambda: from_ours.domain(server, SOURCE) in ("", "shut off"), PATIENCE_S, "libvirt has moved the guest", interval_s=1
    )
    assert from_ours.domain(server, DESTINATION) == "paused"
    from_ours.start_compute(SOURCE)

    from_ours.expect_moved(server, migration)


def test_death_of_the_destinations_qemu_is_novas_to_handle(from_novas: Cloud) -> None:
    """Its driver says ERROR of a guest that runs on; ours on the destination leaves nothing, and keeps its hands off the guest."""
    server = from_novas.boot()

    cases.destination_qemu_dies(from_novas, server)

    wait_until(lambda: from_novas.show(server)[scenario.TASK] is None, PATIENCE_S, "Nova's driver is done", interval_s=1)
    assert from_novas.show(server)[scenario.HOST] == SOURCE
    assert from_novas.domain(server, SOURCE) == "running"
    assert from_novas.domain(server, DESTINATION) == ""


def test_source_compute_with_novas_driver_that_died_leaves_one_running_copy(from_novas: Cloud) -> None:
    """libvirt moves the guest by itself then; what the database says of it stays Nova's."""
    server = from_novas.boot()
    migration = from_novas.copy_slowly(server)

    from_novas.kill_compute(SOURCE)
    from_novas.hurry()

    wait_until(lambda: from_novas.domain(server, DESTINATION) == "running", PATIENCE_S, "libvirt has moved the guest", interval_s=1)
    assert from_novas.domain(server, SOURCE) in ("", "shut off")
    from_novas.expect_writing(server, DESTINATION)
    from_novas.lab.run(DESTINATION, ["virsh", "destroy", server.domain])
    from_novas.lab.run(DESTINATION, ["virsh", "undefine", server.domain])
    from_novas.lab.run(DESTINATION, ["rm", "-r", server.folder])
    from_novas.drop_allocations(migration["uuid"])
