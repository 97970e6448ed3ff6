"""What breaks in mid-copy (doc/nova-driver.rst has the table): each must end right, with nothing left behind."""

from __future__ import annotations

from cloud import DESTINATION, PATIENCE_S, SOURCE, Cloud

from labkit import nova, postgres, rabbitmq, scenario
from labkit.commands import wait_until
from novakit import cases

OUTAGE_S = 80


def test_guest_that_powers_off_in_mid_copy_keeps_its_disk(cloud: Cloud) -> None:
    server = cloud.boot()

    migration = cases.guest_powers_off(cloud, server)

    cloud.expect_stayed(server, migration, "failed", status="SHUTOFF")


def test_death_of_the_destinations_qemu(cloud: Cloud) -> None:
    server = cloud.boot()

    migration = cases.destination_qemu_dies(cloud, server)

    cloud.expect_stayed(server, migration, "failed")


def test_network_that_is_cut_for_a_while(cloud: Cloud) -> None:
    server = cloud.boot()

    migration = cases.network_is_cut(cloud, server)
    cloud.hurry()

    cloud.expect_stayed(server, migration, "failed")


def test_source_compute_killed_and_back_before_the_end(cloud: Cloud) -> None:
    server = cloud.boot()
    migration = cloud.copy_slowly(server)

    cloud.kill_compute(SOURCE)
    cloud.start_compute(SOURCE)
    wait_until(lambda: cloud.is_copying(server), PATIENCE_S, "libvirt goes on copying")
    cloud.hurry()

    cloud.expect_moved(server, migration)


def test_source_compute_away_until_long_after_the_end(cloud: Cloud) -> None:
    server = cloud.boot()
    migration = cloud.copy_slowly(server)

    cloud.kill_compute(SOURCE)
    cloud.hurry()
    wait_until(
        lambda: cloud.domain(server, DESTINATION) == "running", PATIENCE_S, "the destination lets the guest run", interval_s=1
    )
    assert cloud.domain(server, SOURCE) in ("", "shut off")
    cloud.pass_time(60)
    cloud.start_compute(SOURCE)

    cloud.expect_moved(server, migration)


def test_source_compute_that_died_before_its_disk_was_deleted_deletes_it_though_the_guest_was_stopped(cloud: Cloud) -> None:
    server = cloud.boot()
    cloud.kill_compute_at(SOURCE, "clean.proved", lambda: cloud.migrate(server))
    migration = cloud.wait_for_migration(server, "completed")
    assert cloud.leftovers(server.id, SOURCE)
    cloud.request("POST", f"/servers/{server.id}/action", {"os-stop": None})
    cloud.wait_for(server.id, "SHUTOFF")

    cloud.start_compute(SOURCE)

    wait_until(lambda: not cloud.leftovers(server.id, SOURCE), PATIENCE_S, "nothing is left on the source", interval_s=1)
    assert cloud.show(server)[scenario.HOST] == DESTINATION
    assert cloud.migration(server) == migration
    cloud.request("POST", f"/servers/{server.id}/action", {"os-start": None})
    cloud.wait_for(server.id, "ACTIVE")
    cloud.expect_writing(server, DESTINATION)


def test_destination_compute_killed(cloud: Cloud) -> None:
    server = cloud.boot()
    migration = cloud.copy_slowly(server)

    cloud.kill_compute(DESTINATION)
    cloud.hurry()
    wait_until(lambda: cloud.domain(server, DESTINATION) == "running", PATIENCE_S, "the guest has moved", interval_s=1)
    cloud.start_compute(DESTINATION)

    cloud.expect_moved(server, migration)


def test_conductor_killed(cloud: Cloud) -> None:
    outage(cloud, nova.CONDUCTOR, 10)


def test_broker_away_for_a_while(cloud: Cloud) -> None:
    outage(cloud, rabbitmq.DAEMON, OUTAGE_S)


def test_database_away_for_a_while(cloud: Cloud) -> None:
    outage(cloud, postgres.DAEMON, OUTAGE_S)


def outage(cloud: Cloud, daemon: str, seconds: float) -> None:
    """A part of the control plane dies in mid-copy; the guest moves meanwhile."""
    server = cloud.boot()
    migration = cloud.copy_slowly(server)

    cloud.kill("controller", daemon)
    cloud.hurry()
    wait_until(lambda: cloud.domain(server, DESTINATION) == "running", PATIENCE_S, "the guest has moved", interval_s=1)
    cloud.pass_time(seconds)
    cloud.lab.start("controller", daemon)

    cloud.expect_moved(server, migration)
