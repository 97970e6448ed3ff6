"""A server's security groups through the API."""

from __future__ import annotations

from typing import Any

import pytest

from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Flavor, Image, SecurityGroup
from nova_blockmigrate.db.queries import instances, networks, security_groups
from tests.unit.api.conftest import Api


@pytest.fixture
def web(conf: Any) -> SecurityGroup:
    """A group of the project demo, and a network with port security."""
    with session.writer() as db:
        networks.create(db, "private", "br0", "10.0.0.0/24", "10.0.0.1")
        group = security_groups.create(db, "demo", "web")
        security_groups.add_rule(db, group.id, direction="ingress", ethertype="IPv4", protocol="tcp", port_min=80, port_max=80)
        return group


def create(api: Api, flavor: Flavor, image: Image, **more: Any) -> Any:
    body = {"name": "web", "flavorRef": flavor.flavorid, "imageRef": image.id, "networks": "auto"} | more
    return api.request("POST", "/servers", {"server": body}, user="joe")


def groups(api: Api, uuid: str) -> list[str]:
    return [group["name"] for group in api.get(f"/servers/{uuid}/os-security-groups", user="joe")["security_groups"]]


@pytest.mark.usefixtures("hosts", "web")
def test_a_server_that_names_no_group_is_in_the_default_one(api: Api, flavor: Flavor, image: Image) -> None:
    made = create(api, flavor, image).json["server"]
    assert made["security_groups"] == [{"name": "default"}]
    assert groups(api, made["id"]) == ["default"]


@pytest.mark.usefixtures("hosts", "web")
def test_groups_are_named_at_boot_and_shown(api: Api, flavor: Flavor, image: Image) -> None:
    made = create(api, flavor, image, security_groups=[{"name": "web"}, {"name": "default"}]).json["server"]
    assert api.get(f"/servers/{made['id']}", user="joe")["server"]["security_groups"] == [{"name": "default"}, {"name": "web"}]


@pytest.mark.usefixtures("hosts", "web")
def test_an_unknown_group_is_refused(api: Api, flavor: Flavor, image: Image) -> None:
    answer = create(api, flavor, image, security_groups=[{"name": "nobody"}])
    assert answer.status_code == 400 and "nobody" in answer.text


@pytest.mark.usefixtures("hosts")
def test_a_group_is_added_and_removed_and_hosts_are_told(api: Api, flavor: Flavor, image: Image, web: SecurityGroup) -> None:
    uuid = create(api, flavor, image).json["server"]["id"]
    with session.reader() as db:
        server = instances.get(db, uuid)
    assert api.act(server, {"addSecurityGroup": {"name": "web"}}, user="joe").status_code == 202
    assert groups(api, uuid) == ["default", "web"]
    assert ("refresh_security_groups", [web.id], []) in api.conductor.calls
    assert api.act(server, {"removeSecurityGroup": {"name": web.id}}, user="joe").status_code == 202
    assert groups(api, uuid) == ["default"]
    assert api.conductor.calls[-1][2] == [uuid]
    assert api.act(server, {"removeSecurityGroup": {"name": "web"}}, user="joe").status_code == 404
    assert api.act(server, {"addSecurityGroup": {"name": "nobody"}}, user="joe").status_code == 404


@pytest.mark.usefixtures("hosts")
def test_rules_are_shown_as_nova_shows_them(api: Api, flavor: Flavor, image: Image, web: SecurityGroup) -> None:
    uuid = create(api, flavor, image, security_groups=[{"name": "web"}]).json["server"]["id"]
    (rule,) = api.get(f"/servers/{uuid}/os-security-groups", user="joe")["security_groups"][0]["rules"]
    assert {key: rule[key] for key in ("ip_protocol", "from_port", "to_port", "ip_range", "group", "parent_group_id")} == {
        "ip_protocol": "tcp", "from_port": 80, "to_port": 80, "ip_range": {"cidr": "0.0.0.0/0"}, "group": {},
        "parent_group_id": web.id,
    }  # fmt: skip


@pytest.mark.usefixtures("hosts")
def test_a_server_without_ports_cannot_be_in_a_group(api: Api, flavor: Flavor, image: Image, web: SecurityGroup) -> None:
    uuid = create(api, flavor, image, networks="none").json["server"]["id"]
    assert "security_groups" not in api.get(f"/servers/{uuid}", user="joe")["server"]
    assert api.request("POST", f"/servers/{uuid}/action", {"addSecurityGroup": {"name": "web"}}, user="joe").status_code == 400
