"""Server groups keep their servers apart, or together: when they are made, and when they are migrated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client import Product, wait_until

Make = Callable[..., str]


@pytest.fixture
def make(product: Product) -> Iterator[Make]:
    """Makes a server in a group and waits for what becomes of it."""
    image = product.request("GET", "/images").body["images"][0]["id"]
    flavor = next(each["id"] for each in product.request("GET", "/flavors").body["flavors"] if each["name"] == "m1.tiny")
    made: list[str] = []

    def make_one(group: str, **more: Any) -> str:
        body = {"name": f"g{len(made)}", "flavorRef": flavor, "imageRef": image, "networks": "none", **more}
        answer = product.request("POST", "/servers", {"server": body, "os:scheduler_hints": {"group": group}})
        uuid: str = answer.body["server"]["id"]
        made.append(uuid)
        wait_until(lambda: product.server(uuid)["status"] != "BUILD", "built, or not")
        return uuid

    yield make_one
    for uuid in made:
        wait_until(lambda uuid=uuid: product.server(uuid)["OS-EXT-STS:task_state"] is None, "nothing is done to it")
        product.request("DELETE", f"/servers/{uuid}")
        wait_until(lambda uuid=uuid: product.request("GET", f"/servers/{uuid}").status == 404, "it is deleted")


def group(product: Product, policy: str, **more: Any) -> str:
    made = product.request("POST", "/os-server-groups", {"server_group": {"name": policy, "policy": policy, **more}})
    id: str = made.body["server_group"]["id"]
    return id


def host(product: Product, uuid: str) -> str:
    found: str = product.server(uuid)["OS-EXT-SRV-ATTR:host"]
    return found


def test_servers_apart_are_made_apart_and_stay_so(product: Product, make: Make) -> None:
    apart = group(product, "anti-affinity")
    first, second = make(apart), make(apart)
    assert host(product, first) != host(product, second)
    (free,) = {"compute1", "compute2", "compute3"} - {host(product, first), host(product, second)}

    assert product.migrate(first, host(product, second)).status == 202
    refused = product.wait_migration(first, "error")
    assert refused["dest_compute"] in (None, host(product, second))
    product.migrate(first)
    product.wait_active(first, free)
    product.wait_migration(first, "completed")


def test_there_is_no_host_for_one_server_too_many(product: Product, make: Make) -> None:
    apart = group(product, "anti-affinity")
    servers = [make(apart) for _ in range(4)]
    states = [product.server(uuid)["status"] for uuid in servers]
    assert sorted(states) == ["ACTIVE", "ACTIVE", "ACTIVE", "ERROR"]
    assert "anti-affinity" in product.server(servers[3])["fault"]["message"]


def test_a_host_may_take_as_many_as_the_rule_says(product: Product, make: Make) -> None:
    apart = group(product, "anti-affinity", rules={"max_server_per_host": 2})
    first = make(apart, availability_zone="nova:compute1")
    second = make(apart, availability_zone="nova:compute1")
    third = make(apart, availability_zone="nova:compute1")
    assert [product.server(uuid)["status"] for uuid in (first, second, third)] == ["ACTIVE", "ACTIVE", "ERROR"]


def test_servers_together_are_made_together_and_do_not_part(product: Product, make: Make) -> None:
    together = group(product, "affinity")
    first = make(together, availability_zone="nova:compute2")
    second = make(together)
    assert host(product, second) == "compute2"
    product.migrate(first, "compute1")
    product.wait_migration(first, "error")
    assert host(product, first) == "compute2"


def test_a_dry_run_tells_what_the_group_says(product: Product, make: Make) -> None:
    apart = group(product, "anti-affinity")
    first, second = make(apart), make(apart)
    answer = product.request("GET", f"/blockmigrate/v1/servers/{first}/preflight?host={host(product, second)}")
    (found,) = [one for one in answer.body["preflight"]["hosts"][0]["findings"] if one["check"] == "server_group"]
    assert found["result"] == "failed" and "anti-affinity" in found["found"]
