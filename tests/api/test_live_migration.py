"""Live migrations that succeed, are watched, aborted, or fail on the way, driven by the real commands."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from client import Product, wait_until

Boot = Callable[..., str]


@pytest.mark.parametrize(
    "arguments, host",
    [
        (["--block-migrate", "SERVER", "compute2"], "compute2"),
        (["SERVER", "compute3"], "compute3"),
        (["--block-migrate", "SERVER"], None),
        (["SERVER"], None),
    ],
    ids=["block to a host", "to a host", "block to any host", "to any host"],
)
def test_guest_moves(product: Product, boot: Boot, arguments: Sequence[str], host: str | None) -> None:
    uuid = boot("compute1")
    product.control("guest_writes", host="compute1", uuid=uuid, content="written before")
    said = product.nova("live-migration", *(uuid if word == "SERVER" else word for word in arguments))
    assert said.code == 0, said.everything
    migration = product.wait_migration(uuid, "completed")
    server = product.wait_active(uuid, migration["dest_compute"])
    assert server["OS-EXT-SRV-ATTR:hypervisor_hostname"] == migration["dest_node"]
    assert migration["source_compute"] == "compute1"
    assert migration["dest_compute"] == (host or migration["dest_compute"]) != "compute1"
    assert product.control("where", uuid=uuid) == {migration["dest_compute"]: "running"}
    assert product.control("leftovers", uuid=uuid) == []


def test_openstack_command_moves_a_guest(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    said = product.openstack("server", "migrate", "--live-migration", "--block-migration", "--host", "compute2", uuid)
    assert said.code == 0, said.everything
    product.wait_migration(uuid, "completed")
    product.wait_active(uuid, "compute2")


def test_guest_moves_there_and_back(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    for host in ("compute2", "compute1", "compute2"):
        assert product.migrate(uuid, host).status == 202
        product.wait_active(uuid, host)
        product.wait_migration(uuid, "completed")
    assert product.control("where", uuid=uuid) == {"compute2": "running"}


def test_paused_guest_arrives_paused(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    assert product.nova("pause", uuid).code == 0
    wait_until(lambda: product.server(uuid)["status"] == "PAUSED", "PAUSED")
    assert product.migrate(uuid, "compute2").status == 202
    product.wait_migration(uuid, "completed")
    assert (product.server(uuid)["status"], product.server(uuid)["OS-EXT-SRV-ATTR:host"]) == ("PAUSED", "compute2")


def test_running_migration_can_be_watched(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("hold", host="compute1", point="live_migration", at=0.5)
    product.migrate(uuid, "compute2")
    running = product.wait_migration(uuid, "running")
    wait_until(lambda: _progress(product, uuid)["memory_processed_bytes"], "progress is recorded")
    progress = _progress(product, uuid)
    assert progress["memory_total_bytes"] == 256 * 1024**2
    assert 0 < progress["memory_remaining_bytes"] < progress["memory_total_bytes"]
    (row,) = product.nova("server-migration-list", uuid).table()
    assert (row["Id"], row["Status"], row["Source Compute"], row["Dest Compute"]) == (
        str(running["id"]),
        "running",
        "compute1",
        "compute2",
    )
    assert uuid in product.nova("migration-list").out
    assert product.server(uuid)["status"] == "MIGRATING"
    product.control("release", host="compute1", point="live_migration")
    product.wait_migration(uuid, "completed")
    assert "live-migration" in [row["Action"] for row in product.nova("instance-action-list", uuid).table()]
    assert product.nova("server-migration-list", uuid).table() == []


def test_running_migration_is_aborted(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("hold", host="compute1", point="live_migration")
    product.migrate(uuid, "compute2")
    running = product.wait_migration(uuid, "running")
    said = product.nova("live-migration-abort", uuid, str(running["id"]))
    assert said.code == 0, said.everything
    product.wait_migration(uuid, "cancelled")
    product.wait_active(uuid, "compute1")
    _nothing_is_left_on(product, uuid, "compute2")


def test_running_migration_is_forced_to_complete(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("hold", host="compute1", point="live_migration")
    product.migrate(uuid, "compute2")
    running = product.wait_migration(uuid, "running")
    said = product.nova("live-migration-force-complete", uuid, str(running["id"]))
    assert said.code == 0, said.everything
    product.wait_migration(uuid, "completed")
    product.wait_active(uuid, "compute2")


@pytest.mark.parametrize(
    "point, host", [("pre_live_migration", "compute2"), ("live_migration", "compute2"), ("handover", "compute1")]
)
def test_failure_on_the_way_leaves_the_guest_active_on_the_source(product: Product, boot: Boot, point: str, host: str) -> None:
    uuid = boot("compute1")
    product.control("fail", host=host, point=point, reason="no space left on device")
    product.migrate(uuid, "compute2")
    product.wait_migration(uuid, "failed")
    product.wait_active(uuid, "compute1")
    assert "no space left on device" in _told(product, uuid)
    _nothing_is_left_on(product, uuid, "compute2")


def test_when_a_chosen_host_fails_the_next_is_tried(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("fail", host="compute2", point="pre_live_migration", reason="no space left on device")
    product.control("resize", host="compute3", memory_mib=4096)  # so that compute2 is the better one
    product.nova("live-migration", uuid)
    product.wait_migration(uuid, "completed")
    product.wait_active(uuid, "compute3")
    assert "compute_pre_live_migration" in _told(product, uuid) and "Error" in _told(product, uuid)
    _nothing_is_left_on(product, uuid, "compute2")


def test_when_all_chosen_hosts_fail_each_is_named_with_its_reason(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    for host in ("compute2", "compute3"):
        product.control("fail", host=host, point="pre_live_migration", reason=f"{host} has no space left")
    product.nova("live-migration", uuid)
    product.wait_migration(uuid, "failed")
    product.wait_active(uuid, "compute1")
    told = _told(product, uuid)
    assert "compute2 has no space left" in told and "compute3 has no space left" in told


def test_guest_that_powers_off_mid_copy_is_stopped_on_the_source(product: Product, boot: Boot) -> None:
    uuid = boot("compute1")
    product.control("hold", host="compute1", point="live_migration")
    product.migrate(uuid, "compute2")
    product.wait_migration(uuid, "running")
    product.control("guest_powers_off", host="compute1", uuid=uuid)
    product.wait_migration(uuid, "failed")
    wait_until(lambda: product.server(uuid)["OS-EXT-STS:power_state"] == 4, "power state SHUTDOWN")
    assert product.server(uuid)["OS-EXT-SRV-ATTR:host"] == "compute1"
    assert product.control("where", uuid=uuid) == {"compute1": "shut off"}
    product.nova("start", uuid)
    product.wait_active(uuid, "compute1")


@pytest.mark.parametrize(
    "point, host", [("post_live_migration_at_destination", "compute2"), ("post_live_migration_at_source", "compute1")]
)
def test_failing_cleanup_after_the_switch_is_repeated(product: Product, boot: Boot, point: str, host: str) -> None:
    uuid = boot("compute1")
    product.control("fail", host=host, point=point, reason="busy", times=1)
    product.migrate(uuid, "compute2")
    product.wait_active(uuid, "compute2")
    product.wait_migration(uuid, "completed")
    _nothing_is_left_on(product, uuid, "compute1")


def test_server_that_is_deleted_while_its_source_is_cleaned_leaves_nothing(product: Product, boot: Boot) -> None:
    uuid, go_on = _held_after_the_switch(product, boot, "compute1", "post_live_migration_at_source")
    assert product.request("DELETE", f"/servers/{uuid}").status == 204
    wait_until(lambda: product.request("GET", f"/servers/{uuid}").status == 404, "it is deleted")
    go_on()
    _is_over(product, uuid, "completed")
    _nothing_is_left(product, uuid)


def test_server_that_is_deleted_before_it_is_finished_at_its_host_is_finished_first(product: Product, boot: Boot) -> None:
    uuid, go_on = _held_after_the_switch(product, boot, "compute2", "post_live_migration_at_destination")
    assert product.request("DELETE", f"/servers/{uuid}").status == 204
    assert product.server(uuid)["OS-EXT-STS:task_state"] == "deleting"
    go_on()
    wait_until(lambda: product.request("GET", f"/servers/{uuid}").status == 404, "it is deleted")
    _is_over(product, uuid, "completed")
    _nothing_is_left(product, uuid)


def test_second_migration_begins_when_the_first_is_completed(product: Product, boot: Boot) -> None:
    uuid, go_on = _held_after_the_switch(product, boot, "compute1", "post_live_migration_at_source")
    assert product.migrate(uuid, "compute1").status == 202
    wait_until(lambda: "waits for migration" in (_newest(product, uuid)["reason"] or ""), "it waits")
    assert _newest(product, uuid)["status"] == "accepted"
    go_on()
    product.wait_active(uuid, "compute1")
    product.wait_migration(uuid, "completed")
    assert product.control("where", uuid=uuid) == {"compute1": "running"}
    assert product.control("leftovers", uuid=uuid) == []


def test_second_migration_that_waits_for_the_first_can_be_aborted(product: Product, boot: Boot) -> None:
    uuid, go_on = _held_after_the_switch(product, boot, "compute1", "post_live_migration_at_source")
    product.migrate(uuid, "compute1")
    second = _newest(product, uuid)["id"]
    assert product.request("DELETE", f"/servers/{uuid}/migrations/{second}").status == 202
    _is_over(product, uuid, "cancelled")
    go_on()
    product.wait_active(uuid, "compute2")


def _held_after_the_switch(product: Product, boot: Boot, host: str, point: str) -> tuple[str, Callable[[], object]]:
    """A server that runs on compute2 already while its migration waits at a point of a host's work; and what has that go on."""
    uuid = boot("compute1")
    product.control("hold", host=host, point=point)
    product.migrate(uuid, "compute2")
    product.control("wait_reached", host=host, point=point)
    product.wait_active(uuid, "compute2")
    return uuid, functools.partial(product.control, "release", host=host, point=point)


def _newest(product: Product, uuid: str) -> dict[str, Any]:
    """Its row: the API shows neither reasons nor migrations of a server that is gone."""
    return product.rows(uuid)["migrations"][-1]


def _is_over(product: Product, uuid: str, status: str) -> None:
    wait_until(lambda: _newest(product, uuid)["status"] == status, f"the newest migration is {status}")


def _progress(product: Product, uuid: str) -> dict[str, int]:
    found: dict[str, int] = product.request("GET", f"/servers/{uuid}/migrations").body["migrations"][0]
    return found


def _told(product: Product, uuid: str) -> str:
    """What `nova instance-action` prints of the last live migration."""
    actions = product.nova("instance-action-list", uuid).table()
    request_id = next(row["Request_ID"] for row in actions if row["Action"] == "live-migration")
    return product.nova("instance-action", uuid, request_id).everything


def _nothing_is_left(product: Product, uuid: str) -> None:
    assert product.control("where", uuid=uuid) == {}
    assert product.control("leftovers", uuid=uuid) == []


def _nothing_is_left_on(product: Product, uuid: str, host: str) -> None:
    assert host not in product.control("where", uuid=uuid)
    wait_until(lambda: product.control("leftovers", uuid=uuid) == [], f"{host} is clean")
