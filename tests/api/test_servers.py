"""Servers, as the real commands boot, show, stop, start and delete them."""

from __future__ import annotations

from collections.abc import Callable

from client import Product, wait_until


def test_server_boots_on_the_host_that_was_asked_for(product: Product, boot: Callable[..., str]) -> None:
    uuid = boot("compute2")
    assert product.control("where", uuid=uuid) == {"compute2": "running"}
    shown = {row["Property"]: row["Value"] for row in product.nova("show", uuid).table()}
    assert shown["OS-EXT-SRV-ATTR:host"] == "compute2"
    assert shown["status"] == "ACTIVE"
    assert uuid in [row["ID"] for row in product.nova("list").table()]


def test_server_stops_and_starts(product: Product, boot: Callable[..., str]) -> None:
    uuid = boot()
    assert product.nova("stop", uuid).code == 0
    wait_until(lambda: product.server(uuid)["status"] == "SHUTOFF", "SHUTOFF")
    assert product.control("where", uuid=uuid) == {"compute1": "shut off"}
    assert product.nova("start", uuid).code == 0
    product.wait_active(uuid, "compute1")
    assert product.control("where", uuid=uuid) == {"compute1": "running"}


def test_deleted_server_is_gone_everywhere(product: Product, boot: Callable[..., str]) -> None:
    uuid = boot()
    assert product.nova("delete", uuid).code == 0
    wait_until(lambda: product.request("GET", f"/servers/{uuid}").status == 404, "gone")
    assert product.control("where", uuid=uuid) == {}
    assert "No server with a name or ID" in product.nova("show", uuid).err
    assert uuid not in product.nova("list").out


def test_openstack_command_shows_what_nova_shows(product: Product, boot: Callable[..., str]) -> None:
    uuid = boot("compute3")
    said = product.openstack("server", "show", uuid, "-f", "value", "-c", "status", "-c", "OS-EXT-SRV-ATTR:host")
    assert said.code == 0, said.everything
    assert sorted(said.out.split()) == ["ACTIVE", "compute3"]


def test_services_and_hypervisors_are_listed(product: Product) -> None:
    hosts = {row["Host"]: row["State"] for row in product.nova("service-list").table() if row["Binary"] == "nova-compute"}
    assert hosts == {"compute1": "up", "compute2": "up", "compute3": "up"}
    assert len(product.nova("hypervisor-list").table()) == 3
    said = product.openstack("hypervisor", "list", "-f", "value", "-c", "Hypervisor Hostname")
    assert sorted(said.out.split()) == ["compute1", "compute2", "compute3"], said.everything
