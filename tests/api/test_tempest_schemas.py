"""Answers of every resource pass the JSON schemas that Tempest keeps for the Compute API, in every microversion that has one.

Tempest's clients do the asking. A schema refuses keys that it does not know, and status codes other than its own.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client import ONE_MODE, Product, wait_until
from tempest.lib import exceptions
from tempest_clients import Tempest, turning_points

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBl0nCq9yyyHhcOjdzvqmbLdTBW2nJGZWSB0hPIGqNwT someone"
PROJECT = "demo"
pytestmark = pytest.mark.skipif(ONE_MODE, reason="the same on native threads")


def some_of(minors: list[int]) -> pytest.MarkDecorator:
    """Each of these microversions; those between the first, the one in the middle and the last are left to long runs."""
    short = {minors[0], minors[len(minors) // 2], minors[-1]}
    marked = [pytest.param(minor, marks=() if minor in short else pytest.mark.long) for minor in minors]
    return pytest.mark.parametrize("minor", marked)


def in_every_version_of(*clients: str) -> pytest.MarkDecorator:
    """Where one of their schemas begins or ends."""
    return some_of(turning_points(*clients))


@pytest.fixture
def tempest(product: Product, minor: int) -> Tempest:
    return Tempest(product.endpoint, product.tokens["admin"], minor)


@pytest.fixture(scope="module")
def moved(running: Product) -> Iterator[str]:
    """A server that was migrated; its migration and actions are there to be shown."""
    image = running.request("GET", "/images").body["images"][0]["id"]
    flavor = next(each["id"] for each in running.request("GET", "/flavors").body["flavors"] if each["name"] == "m1.tiny")
    body = {"name": "schemas", "flavorRef": flavor, "imageRef": image, "networks": "none", "availability_zone": "nova:compute1"}
    uuid = running.request("POST", "/servers", {"server": body | {"metadata": {"k": "v"}, "tags": ["red"]}}).body["server"]["id"]
    running.wait_active(uuid, "compute1")
    running.migrate(uuid, "compute2")
    running.wait_migration(uuid, "completed")
    running.wait_active(uuid, "compute2")
    yield uuid
    running.request("DELETE", f"/servers/{uuid}")
    wait_until(lambda: running.request("GET", f"/servers/{uuid}").status == 404, "it is deleted")


def name() -> str:
    return f"t-{uuids.uuid4().hex[:8]}"


@some_of([1, 9, 26, 37, 75, 96])
def test_a_server_from_its_making_to_its_end(tempest: Tempest, product: Product, minor: int) -> None:
    servers = tempest.servers
    image = product.request("GET", "/images").body["images"][0]["id"]
    flavor = product.request("GET", "/flavors").body["flavors"][0]["id"]
    more: dict[str, Any] = {"networks": "none"} if minor >= 37 else {}
    uuid = servers.create_server(name=name(), imageRef=image, flavorRef=flavor, **more)["server"]["id"]
    wait_until(lambda: product.server(uuid)["status"] == "ACTIVE", "ACTIVE")
    act(product, uuid, "PAUSED", servers.pause_server)
    act(product, uuid, "ACTIVE", servers.unpause_server)
    act(product, uuid, "SUSPENDED", servers.suspend_server)
    act(product, uuid, "ACTIVE", servers.resume_server)
    act(product, uuid, "SHUTOFF", servers.stop_server)
    act(product, uuid, "ACTIVE", servers.start_server)
    act(product, uuid, "ACTIVE", servers.reboot_server, type="HARD")
    servers.reset_state(uuid, state="active")
    servers.delete_server(uuid)
    wait_until(lambda: product.request("GET", f"/servers/{uuid}").status == 404, "it is deleted")


@some_of([3, 16, 19, 47, 52, 63, 71, 73, 90, 94])
def test_a_new_server_is_shown(tempest: Tempest, product: Product, moved: str, minor: int) -> None:
    like = product.server(moved)
    image = product.request("GET", "/images").body["images"][0]["id"]
    flavor = next(each["id"] for each in product.request("GET", "/flavors").body["flavors"] if each["name"] == "m1.tiny")
    more: dict[str, Any] = {"networks": "none"} if minor >= 37 else {}
    more |= {"description": "what it is"} if minor >= 19 else {}
    more |= {"tags": ["red"]} if minor >= 52 else {}
    more |= {"hostname": "somebody"} if minor >= 90 else {}
    uuid = tempest.servers.create_server(name=name(), imageRef=image, flavorRef=flavor, **more)["server"]["id"]
    assert tempest.servers.show_server(uuid)["server"]["tenant_id"] == like["tenant_id"]
    wait_until(lambda: product.server(uuid)["status"] == "ACTIVE", "ACTIVE")
    tempest.servers.delete_server(uuid)


@in_every_version_of("servers")
def test_volumes_of_a_server(tempest: Tempest, product: Product, moved: str) -> None:
    volume = str(uuids.uuid4())
    product.control("make_volume", volume_id=volume)
    assert tempest.servers.attach_volume(moved, volumeId=volume)["volumeAttachment"]["volumeId"] == volume
    wait_until(lambda: product.server(moved)["OS-EXT-STS:task_state"] is None, "it is attached")
    tempest.servers.show_volume_attachment(moved, volume)
    assert [each["volumeId"] for each in tempest.servers.list_volume_attachments(moved)["volumeAttachments"]] == [volume]
    tempest.servers.detach_volume(moved, volume)
    wait_until(lambda: product.server(moved)["os-extended-volumes:volumes_attached"] == [], "it is detached")


@some_of([1, 35])
def test_security_groups(tempest: Tempest, product: Product) -> None:
    made = name()
    product.control("make_security_group", name=made)
    found = {each["name"]: each["id"] for each in tempest.security_groups.list_security_groups()["security_groups"]}
    assert tempest.security_groups.show_security_group(found[made])["security_group"]["name"] == made


def act(product: Product, uuid: str, status: str, action: Callable[..., Any], **arguments: Any) -> None:
    action(uuid, **arguments)

    def done() -> bool:
        server = product.server(uuid)
        return bool(server["status"] == status and server["OS-EXT-STS:task_state"] is None)

    wait_until(done, status)


@in_every_version_of("servers", "interfaces")
def test_servers_are_changed(tempest: Tempest, moved: str) -> None:
    servers, uuid = tempest.servers, moved
    servers.update_server(uuid, name=name(), accessIPv4="192.0.2.7", accessIPv6="2001:db8::7")
    assert servers.show_server(uuid)["server"]["accessIPv6"] == "2001:db8::7"
    servers.set_server_metadata(uuid, {"one": "1"})
    servers.update_server_metadata(uuid, {"two": "2"})
    servers.set_server_metadata_item(uuid, "two", {"two": "3"})
    assert servers.show_server_metadata_item(uuid, "two")["meta"] == {"two": "3"}
    servers.delete_server_metadata_item(uuid, "two")
    assert servers.list_server_metadata(uuid)["metadata"] == {"one": "1"}
    if tempest.minor >= 26:
        servers.update_all_tags(uuid, ["red", "blue"])
        servers.update_tag(uuid, "green")
        servers.check_tag_existence(uuid, "green")
        servers.delete_tag(uuid, "green")
        assert servers.list_tags(uuid)["tags"] == ["blue", "red"]
        servers.delete_all_tags(uuid)
    servers.lock_server(uuid)
    servers.unlock_server(uuid)
    servers.get_console_output(uuid, length=3)
    servers.list_addresses(uuid)
    tempest.interfaces.list_interfaces(uuid)
    servers.list_security_groups_by_server(uuid)


@in_every_version_of("servers", "usages")
def test_servers_are_listed_and_shown(tempest: Tempest, moved: str) -> None:
    servers = tempest.servers
    assert moved in [each["id"] for each in servers.list_servers()["servers"]]
    assert moved in [each["id"] for each in servers.list_servers(detail=True, all_tenants=True)["servers"]]
    assert "servers_links" in servers.list_servers(limit=1) or len(servers.list_servers()["servers"]) == 1
    servers.show_server(moved)
    for action in servers.list_instance_actions(moved)["instanceActions"][-3:]:
        servers.show_instance_action(moved, action["request_id"])
    tempest.usages.list_tenant_usages(detailed=1)
    assert tempest.usages.show_tenant_usage(PROJECT)["tenant_usage"]["server_usages"]


@some_of([1, 22, 23, 33, 34, 58, 59, 79, 80, 96])
def test_migrations(tempest: Tempest, product: Product, moved: str, minor: int) -> None:
    there, back = (
        ("compute2", "compute1") if product.server(moved)["OS-EXT-SRV-ATTR:host"] == "compute2" else ("compute1", "compute2")
    )
    product.control("hold", host=there, point="live_migration")
    more: dict[str, Any] = {"disk_over_commit": False} if minor < 25 else {}
    # below 2.34 the answer waits for the checks, which the hold does not touch
    tempest.servers.live_migrate_server(moved, host=back, block_migration=True, **more)
    product.wait_migration(moved, "running")
    tempest.migrations.list_migrations()
    if 23 <= minor < 59 or minor >= 80:  # (Tempest has forgotten the uuid that 2.59 adds)
        (one,) = tempest.servers.list_in_progress_live_migration(moved)["migrations"]
        assert one["status"] == "running"
    tempest.servers.show_server(moved)
    if minor >= 22:  # Tempest sends a string for the null of the action, which Nova and we refuse
        with pytest.raises(exceptions.BadRequest):
            tempest.servers.force_complete_live_migration(moved, product.migrations(moved)[0]["id"])
    product.control("release", host=there, point="live_migration")
    product.wait_migration(moved, "completed")
    product.wait_active(moved, back)
    tempest.migrations.list_migrations(instance_uuid=moved)


@in_every_version_of("services", "hypervisors")
def test_hosts(tempest: Tempest, moved: str) -> None:
    tempest.services.list_services()
    hypervisors = tempest.hypervisors
    one = hypervisors.list_hypervisors()["hypervisors"][0]
    if tempest.minor < 88:  # what 2.88 took away, Tempest's schema still requires
        hypervisors.list_hypervisors(detail=True)
        hypervisors.show_hypervisor(one["id"])
        hypervisors.show_hypervisor_statistics()
        hypervisors.show_hypervisor_uptime(one["id"])
    if tempest.minor < 53:
        hypervisors.list_servers_on_hypervisor("compute")
        hypervisors.search_hypervisor("compute")
    elif tempest.minor < 88:
        hypervisors.list_hypervisors(detail=True, with_servers=True)
    tempest.availability_zones.list_availability_zones()
    tempest.availability_zones.list_availability_zones(detail=True)
    tempest.aggregates.list_aggregates()


@in_every_version_of("services")
def test_services_are_changed(tempest: Tempest) -> None:
    named = {"host": "compute3", "binary": "nova-compute"}
    if tempest.minor < 53:
        tempest.services.disable_service(**named)
        tempest.services.disable_log_reason(**named, disabled_reason="why")
        if tempest.minor >= 11:
            tempest.services.update_forced_down(**named, forced_down=False)
        tempest.services.enable_service(**named)
    else:
        (one,) = tempest.services.list_services(**named)["services"]
        tempest.services.update_service(one["id"], status="disabled", disabled_reason="why")
        tempest.services.update_service(one["id"], status="enabled")


@in_every_version_of("flavors")
def test_flavors(tempest: Tempest) -> None:
    flavors = tempest.flavors
    id = flavors.create_flavor(name=name(), ram=64, vcpus=1, disk=1, id="auto", is_public="False")["flavor"]["id"]
    flavors.add_flavor_access(id, "another")
    flavors.list_flavor_access(id)
    flavors.remove_flavor_access(id, "another")
    flavors.set_flavor_extra_spec(id, a="1", b="2")
    flavors.update_flavor_extra_spec(id, "a", a="3")
    assert flavors.show_flavor_extra_spec(id, "a") == {"a": "3"}
    flavors.list_flavor_extra_specs(id)
    flavors.unset_flavor_extra_spec(id, "b")
    if tempest.minor >= 55:
        flavors.update_flavor(id, description="what it is")
    flavors.show_flavor(id)
    flavors.list_flavors()
    flavors.list_flavors(detail=True)
    flavors.delete_flavor(id)


@in_every_version_of("keypairs", "server_groups")
def test_keys_and_groups(tempest: Tempest) -> None:
    keys, word = tempest.keypairs, name()
    keys.create_keypair(name=word, public_key=KEY)
    keys.show_keypair(word)
    assert word in [each["keypair"]["name"] for each in keys.list_keypairs()["keypairs"]]
    keys.delete_keypair(word)
    policy: dict[str, Any] = {"policy": "anti-affinity"} if tempest.minor >= 64 else {"policies": ["anti-affinity"]}
    group = tempest.server_groups.create_server_group(name=word, **policy)["server_group"]
    tempest.server_groups.list_server_groups()
    assert tempest.server_groups.show_server_group(group["id"])["server_group"] == group
    tempest.server_groups.delete_server_group(group["id"])


@some_of([1, 2, 10, 91])
def test_generated_keys(tempest: Tempest) -> None:
    keys, word = tempest.keypairs, name()
    assert "PRIVATE KEY" in keys.create_keypair(name=word)["keypair"]["private_key"]
    keys.delete_keypair(word)


@in_every_version_of("quotas", "quota_classes", "limits")
def test_quotas_and_limits(tempest: Tempest) -> None:
    quotas, project = tempest.quotas, name()
    quotas.show_default_quota_set(project)
    assert quotas.update_quota_set(project, cores=7)["quota_set"]["cores"] == 7
    quotas.show_quota_set(project)
    quotas.show_quota_set(project, detail=True)
    quotas.delete_quota_set(project)
    before = tempest.quota_classes.show_quota_class_set("default")["quota_class_set"]
    tempest.quota_classes.update_quota_class_set("default", key_pairs=before["key_pairs"])
    tempest.limits.show_limits()


@in_every_version_of("versions")
def test_what_the_api_is(tempest: Tempest) -> None:
    tempest.extensions.list_extensions()
    tempest.extensions.show_extension("os-keypairs")
    tempest.versions.list_versions()
    tempest.versions.get_version_by_url(tempest._provider.base_url({}))
