"""Values that no client means: each is refused with 400 (or passed over), and none is an error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from falcon import testing

from nova_blockmigrate.db.models import Flavor, Image, Instance
from tests.unit.api.conftest import Api, stored

TOO_LARGE = "1" + 20 * "0"
ENDLESS = 5000 * "9"
FLAVOR = {"name": "f", "ram": 64, "vcpus": 1, "disk": 1}
GROUP = {"name": "g", "policy": "anti-affinity"}


def send_text(api: Api, method: str, path: str, text: str | bytes, user: str = "joe") -> testing.Result:
    headers = {"X-Auth-Token": api.tokens[user], "OpenStack-API-Version": "compute 2.96", "Content-Type": "application/json"}
    client = testing.TestClient(lambda environ, start: api.app(environ, start))
    return client.simulate_request(method, f"/v2.1{path}", body=text, headers=headers)


@pytest.mark.parametrize(
    "name",
    [r'"\ud800"', r'"a\u0000b"', "[" * 60 + "]" * 60, "[" * 50_000, '{"a":' * 3000 + "1" + "}" * 3000, "NaN", "1e999", ENDLESS],
    ids=lambda text: text[:12],
)
def test_body_that_nothing_can_hold(api: Api, server: Instance, name: str) -> None:
    text = '{"server": {"name": ' + name + "}}"
    assert send_text(api, "PUT", f"/servers/{server.uuid}", text).status_code == 400
    assert send_text(api, "PUT", f"/servers/{server.uuid}", text.encode("utf-16")).status_code == 400
    description = text.replace("name", "description")
    assert send_text(api, "PUT", f"/servers/{server.uuid}", description).status_code == 400
    assert stored(server).display_name == "vm"


def test_reason_of_a_lock_with_half_a_character(api: Api, server: Instance) -> None:
    answer = send_text(api, "POST", f"/servers/{server.uuid}/action", r'{"lock": {"locked_reason": "\ud800"}}')
    assert answer.status_code == 400 and not stored(server).locked


@pytest.mark.parametrize("key", ["name", "description"])
def test_characters_outside_of_the_first_plane_are_fine(api: Api, server: Instance, key: str) -> None:
    answer = send_text(api, "PUT", f"/servers/{server.uuid}", json.dumps({"server": {key: "\N{DRAGON}"}}))
    assert answer.status_code == 200 and answer.json["server"][key] == "\N{DRAGON}"


@pytest.mark.parametrize("value", [ENDLESS, TOO_LARGE, "9999999999", 10**20, 10**10], ids=lambda value: str(value)[:12])
def test_numbers_beyond_every_database(api: Api, server: Instance, flavor: Flavor, image: Image, value: Any) -> None:
    boot = {"name": "n", "flavorRef": flavor.flavorid, "imageRef": image.id, "networks": "none", "min_count": value}
    assert api.request("POST", "/servers", {"server": boot}, user="joe").status_code == 400
    assert api.act(server, {"os-getConsoleOutput": {"length": value}}, user="joe").status_code == 400
    group = GROUP | {"rules": {"max_server_per_host": value}}
    assert api.request("POST", "/os-server-groups", {"server_group": group}, user="joe").status_code == 400
    for name in ("ram", "vcpus", "disk"):
        assert api.request("POST", "/flavors", {"flavor": FLAVOR | {name: value}}).status_code == 400
    assert api.request("PUT", "/os-quota-sets/demo", {"quota_set": {"cores": value}}).status_code == 400
    assert api.request("PUT", "/os-quota-class-sets/default", {"quota_class_set": {"cores": value}}).status_code == 400


@pytest.mark.parametrize("value", ["2147483647", 2**31 - 1, "-1", -1])
def test_largest_and_smallest_limit(api: Api, value: Any) -> None:
    assert api.request("PUT", "/os-quota-sets/demo", {"quota_set": {"cores": value}}).json["quota_set"]["cores"] == int(value)


@pytest.mark.parametrize(
    ("path", "minor"),
    [
        (f"/os-server-groups?offset={TOO_LARGE}", 96),
        (f"/flavors?minRam={TOO_LARGE}", 96),
        (f"/flavors?minDisk={ENDLESS}", 96),
        (f"/servers?progress={TOO_LARGE}", 96),
        ("/servers?changes-since=0001-01-01T00:00:00%2B23:59", 96),
        ("/servers?changes-since=9999-12-31T23:59:59-23:59", 96),
        ("/os-migrations?changes-before=0001-01-01T00:00:00%2B23:59", 96),
        ("/os-simple-tenant-usage?end=0001-01-01", 96),
        ("/servers?name=%00", 96),
        ("/servers?%00=1", 74),
        (f"/os-hypervisors?marker={TOO_LARGE}", 40),
        ("/os-hypervisors?marker=", 40),
        ("/servers?limit=-1", 96),
    ],
)
def test_query_that_nothing_can_hold(api: Api, server: Instance, path: str, minor: int) -> None:
    assert api.request("GET", path, minor=minor).status_code == 400


@pytest.mark.parametrize(
    "path", ["/servers", "/flavors", "/os-keypairs", "/os-server-groups", "/os-migrations", "/os-simple-tenant-usage"]
)
def test_limit_beyond_all_numbers_is_no_limit(api: Api, server: Instance, path: str) -> None:
    for limit in (TOO_LARGE, ENDLESS, "007"):
        assert api.request("GET", f"{path}?limit={limit}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "minor"),
    [
        ("DELETE", f"/os-services/{TOO_LARGE}", 40),
        ("GET", f"/os-hypervisors/{TOO_LARGE}", 40),
        ("GET", "/servers/%00", 96),
        ("GET", "/flavors/a%00b", 96),
        ("GET", "/servers/%ED%A0%80", 96),
    ],
)
def test_path_to_nothing(api: Api, server: Instance, method: str, path: str, minor: int) -> None:
    assert api.request(method, path, minor=minor).status_code == 404


def test_migration_with_an_endless_number(api: Api, server: Instance) -> None:
    for number in (ENDLESS, TOO_LARGE, "%00"):
        assert api.request("GET", f"/servers/{server.uuid}/migrations/{number}").status_code == 404


def test_project_with_a_name_longer_than_the_database_holds(api: Api) -> None:
    status = api.request("PUT", f"/os-quota-sets/{300 * 'p'}", {"quota_set": {"cores": 1}}).status_code
    assert status in (200, 400)  # (SQLite knows no lengths)
