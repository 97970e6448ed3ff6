"""schemathesis asks everything that the OpenAPI description knows, with odd values: no 5xx, and answers as described.

Every other request has one of its values replaced by one that no schema thinks of, and every third is a member's. A short run
with a fixed seed; NBM_FUZZ_EXAMPLES asks for more examples of each request, in more microversions (`tools/test fuzz`).
"""

from __future__ import annotations

import functools
import os
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from client import ONE_MODE, Product
from conftest import start
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi import checks

from nova_blockmigrate.api import openapi

EXAMPLES = int(os.environ.get("NBM_FUZZ_EXAMPLES", "4"))
MINORS = (96,) if EXAMPLES <= 4 else (1, 30, 52, 96)
CHECKS = (
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)
pytestmark = pytest.mark.skipif(
    ONE_MODE or ("NBM_TEST_DATABASE" in os.environ and EXAMPLES <= 4),
    reason="the same on native threads; on other databases apart from the other tests (tools/test fuzz)",
)
FLAVOR = "fuzzed"
ODD: tuple[Any, ...] = (
    *("\x00", "9" * 5000, "1" + "0" * 20, 10**20, 2**31, -1, 1e300, ""),
    *("0001-01-01T00:00:00+23:59", "9999-12-31", "\N{DRAGON}" * 300, functools.reduce(lambda inner, _: [inner], range(200), [])),
)
CONFIGURATION = {"phases": {"coverage": {"enabled": EXAMPLES >= 40}, "stateful": {"enabled": False}}}


class World:
    """A product of its own, and ids of what is in it, made again when the fuzzer has deleted it."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self._ids: dict[str, str] = {}
        self._looked = 0.0

    def ids(self) -> dict[str, str]:
        if time.monotonic() - self._looked > 1:
            self._looked = time.monotonic()
            self._ids = self._look()
        return self._ids

    def _look(self) -> dict[str, str]:
        ask = self.product.request
        ask("DELETE", "/os-quota-sets/demo")
        ask("PUT", "/os-quota-class-sets/default", {"quota_class_set": dict.fromkeys(("instances", "cores", "ram"), -1)})
        ask("POST", "/flavors", {"flavor": {"id": FLAVOR, "name": FLAVOR, "ram": 64, "vcpus": 1, "disk": 1}})
        servers = ask("GET", "/servers").body["servers"]
        if not servers:
            image = ask("GET", "/images").body["images"][0]["id"]
            answer = ask("POST", "/servers", {"server": {"name": "f", "flavorRef": FLAVOR, "imageRef": image, "networks": "none"}})
            assert answer.status == 202, answer
            servers = [answer.body["server"]]
        group = ask("GET", "/os-server-groups").body["server_groups"]
        migrations = ask("GET", "/os-migrations").body["migrations"]
        ids = {"server_id": servers[0]["id"], "flavor_id": FLAVOR, "project_id": "demo", "class_name": "default"}
        ids |= {"group_id": group[0]["id"]} if group else {}
        ids |= {"migration_id": str(migrations[0]["id"])} if migrations else {}
        hypervisors = ask("GET", "/os-hypervisors").body["hypervisors"]
        return ids | ({"hypervisor_id": hypervisors[0]["id"]} if hypervisors else {})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with start(tmp_path_factory.mktemp("fuzz")) as product:
        yield World(product)


def described(minor: int) -> Any:
    return schemathesis.openapi.from_dict(openapi.document(minor), config=schemathesis.Config.from_dict(CONFIGURATION))


def spoilt(value: Any, number: int) -> Any:
    """`value` with something odd somewhere in it; `number` chooses what and where."""
    if isinstance(value, dict) and value:
        name = sorted(value)[number % len(value)]
        return {**value, name: spoilt(value[name], number // 7)}
    if isinstance(value, list) and value:
        return [spoilt(value[0], number // 7), *value[1:]]
    return ODD[number % len(ODD)]


def spoil(case: Any, number: int) -> None:
    if isinstance(case.body, dict):
        case.body = spoilt(case.body, number)
    elif case.query:
        case.query = spoilt(case.query, number)


def fuzz(case: Any, world: World, minor: int) -> None:
    """Three of four times with ids of what is there."""
    number = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode())
    if number % 2:
        spoil(case, number)
    if zlib.crc32(repr(case.path_parameters).encode()) % 4:
        case.path_parameters = {name: world.ids().get(name, value) for name, value in (case.path_parameters or {}).items()}
    user = "member" if number % 3 == 0 else "admin"
    headers = {"X-Auth-Token": world.product.tokens[user], "OpenStack-API-Version": f"compute 2.{minor}"}
    root = world.product.endpoint.removesuffix("/v2.1")
    case.call_and_validate(base_url=root, headers=headers, checks=list(CHECKS), timeout=60)


def make(minor: int) -> Any:
    @described(minor).parametrize()
    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def test(case: Any, world: World) -> None:
        fuzz(case, world, minor)

    return test


for _minor in MINORS:
    globals()[f"test_at_2_{_minor}"] = make(_minor)
