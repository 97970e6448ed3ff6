"""Live migrations of an unmodified Nova with our driver: moved whole, or left as they were with the reason told."""

from __future__ import annotations

import hashlib

from cloud import DESTINATION, HOSTS, PATIENCE_S, SOURCE, Cloud

from labkit.commands import wait_until
from novakit import cases


def config_drive(cloud: Cloud, folder: str, host: str) -> str:
    return cloud.lab.run(host, ["sha256sum", f"{folder}/disk.config"]).stdout.split()[0]  # type: ignore[no-any-return]


def test_guest_moves_with_its_disk_and_its_config_drive(cloud: Cloud) -> None:
    server = cloud.boot(config_drive=True)
    before = config_drive(cloud, server.folder, SOURCE)
    assert before != hashlib.sha256(b"").hexdigest()

    cloud.migrate(server)

    cloud.wait_for(server.id, "ACTIVE")
    cloud.expect_moved(server, cloud.migration(server))
    assert config_drive(cloud, server.folder, DESTINATION) == before


def test_nova_finds_out_that_disks_must_be_copied(cloud: Cloud) -> None:
    server = cloud.boot()

    cloud.migrate(server, block="auto")

    cloud.wait_for(server.id, "ACTIVE")
    cloud.expect_moved(server, cloud.migration(server))


def test_user_sees_how_far_it_is(cloud: Cloud) -> None:
    server = cloud.boot()
    cloud.copy_slowly(server)

    def tells() -> bool:
        listed = cloud.request("GET", f"/servers/{server.id}/migrations")["migrations"]
        return any(one["memory_total_bytes"] and one["memory_processed_bytes"] for one in listed)

    wait_until(tells, PATIENCE_S, "the API tells the progress", interval_s=0.5)
    cloud.hurry()
    cloud.wait_for(server.id, "ACTIVE")
    cloud.expect_moved(server, cloud.migration(server))


def test_abort_leaves_the_guest_where_it_is(cloud: Cloud) -> None:
    server = cloud.boot()

    migration = cases.user_aborts(cloud, server)

    cloud.expect_stayed(server, migration, "cancelled")
    assert "request of its user" in cloud.reasons(server)


def test_server_that_is_deleted_in_mid_copy_leaves_nothing(cloud: Cloud) -> None:
    server = cloud.boot()
    migration = cloud.copy_slowly(server)

    cloud.request("DELETE", f"/servers/{server.id}")

    wait_until(lambda: not cloud.request("GET", "/servers?all_tenants=1")["servers"], PATIENCE_S, "it is deleted", interval_s=1)
    wait_until(lambda: not cloud.allocations(migration["uuid"]), PATIENCE_S, "placement keeps nothing", interval_s=1)
    assert not cloud.allocations(server.id)
    cloud.expect_nothing_left()


def test_server_comes_back_at_once(cloud: Cloud) -> None:
    """Its old disk may still be there when it is recorded elsewhere."""
    server = cloud.boot()
    cloud.migrate(server)
    cloud.wait_for_migration(server, "completed")

    cloud.migrate(server, SOURCE)

    cloud.wait_for(server.id, "ACTIVE")
    cloud.expect_moved(server, cloud.wait_for_migration(server, "completed"), source=DESTINATION, destination=SOURCE)


def test_other_base_image_of_the_same_name_is_refused(cloud: Cloud) -> None:
    server = cloud.boot()
    (base,) = cloud.lab.run(SOURCE, ["find", "/var/lib/nova/instances/_base", "-type", "f"]).stdout.split()
    cloud.lab.run(DESTINATION, ["mkdir", "-p", "/var/lib/nova/instances/_base"])
    cloud.lab.run(DESTINATION, ["cp", "--remove-destination", base, f"{base}.kept"], check=False)
    cloud.lab.run(DESTINATION, ["dd", "if=/dev/zero", f"of={base}", "bs=1M", "count=256", "status=none"])
    try:
        cloud.migrate(server)
        cloud.wait_for(server.id, "ACTIVE")
        assert cloud.domain(server, SOURCE) == "running"
        assert "sha256" in cloud.reasons(server)
        assert cloud.domain(server, DESTINATION) == ""
    finally:
        cloud.lab.run(DESTINATION, ["rm", "-f", base, f"{base}.kept"])
    assert HOSTS == (SOURCE, DESTINATION)
