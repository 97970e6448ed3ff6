"""openstacksdk as a client: what programs call to list, make and move servers, and to watch and end migrations."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterator
from typing import Any

import pytest
from client import ONE_MODE, Product, wait_until

import openstack

pytestmark = pytest.mark.skipif(ONE_MODE, reason="the same on native threads")


@pytest.fixture
def compute(product: Product) -> Any:
    connection = openstack.connect(
        auth_type="admin_token",
        auth={"endpoint": product.endpoint, "token": product.tokens["admin"]},
        compute_endpoint_override=product.endpoint,
        compute_default_microversion="2.96",
        load_yaml_config=False,
        load_envvars=False,
    )
    return connection.compute


@pytest.fixture
def server(compute: Any, product: Product) -> Iterator[Any]:
    image, flavor = product.request("GET", "/images").body["images"][0]["id"], compute.find_flavor("m1.tiny")
    name = f"sdk-{uuids.uuid4().hex[:6]}"
    made = compute.create_server(name=name, image_id=image, flavor_id=flavor.id, networks="none", availability_zone="nova:compute1")
    yield compute.wait_for_server(made, interval=0.1, wait=30)
    product.control("reset")
    wait_until(lambda: product.server(made.id)["OS-EXT-STS:task_state"] is None, "nothing is done to it")
    compute.delete_server(made)
    compute.wait_for_delete(made, interval=0.1, wait=30)


def test_servers_are_listed_and_shown(compute: Any, server: Any) -> None:
    assert server.id in [each.id for each in compute.servers()]
    assert [each.id for each in compute.servers(all_projects=True, name=server.name)] == [server.id]
    shown = compute.get_server(server.id)
    assert (shown.status, shown.compute_host, shown.hypervisor_hostname) == ("ACTIVE", "compute1", "compute1")
    assert "create" in [each.action for each in compute.server_actions(server)]


def test_hosts_are_listed(compute: Any, server: Any) -> None:
    assert "compute1" in [each.name for each in compute.hypervisors(details=True)]
    one = compute.find_hypervisor("compute1")
    assert compute.get_hypervisor(one).id == one.id
    found = {each.host: each.state for each in compute.services(binary="nova-compute")}
    assert found["compute1"] == "up" and len(found) == 3


def begin(compute: Any, product: Product, server: Any) -> Any:
    """A migration whose transfer is held still."""
    product.control("hold", host="compute1", point="live_migration")
    compute.live_migrate_server(server, host="compute2", block_migration="auto")
    product.wait_migration(server.id, "running")
    (migration,) = compute.server_migrations(server)
    return migration


def test_a_migration_is_watched_and_forced_to_its_end(compute: Any, product: Product, server: Any) -> None:
    migration = begin(compute, product, server)
    shown = compute.get_server_migration(migration, server, ignore_missing=False)
    assert (shown.status, shown.source_compute, shown.dest_compute) == ("running", "compute1", "compute2")
    compute.force_complete_server_migration(migration, server)
    product.wait_migration(server.id, "completed")
    assert [each.status for each in compute.migrations(instance_uuid=server.id)] == ["completed"]
    wait_until(lambda: compute.get_server(server.id).compute_host == "compute2", "it is on the other host")


def test_a_migration_is_aborted(compute: Any, product: Product, server: Any) -> None:
    migration = begin(compute, product, server)
    compute.abort_server_migration(migration, server, ignore_missing=False)
    product.wait_migration(server.id, "cancelled")
    product.wait_active(server.id, "compute1")
