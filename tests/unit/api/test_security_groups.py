"""A server's security groups through the API."""

from __future__ import annotations

from typing import Any

import pytest

from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Flavor, Image, SecurityGroup
from nova_blockmigrate.db.queries import instances, networks, security_groups
from nova_blockmigrate.network.neutron import Neutron
from nova_blockmigrate.objects import NetworkPort, Vif, to_primitive
from tests.unit.api.conftest import Api, make_server, task
from tests.unit.network.fake_neutron import FakeNeutron


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


@pytest.mark.parametrize("path", ["/os-security-groups", "/os-security-groups/default"])
def test_a_project_has_a_default_group_before_it_has_a_server(api: Api, path: str) -> None:
    """Members reach each other; nobody else reaches them. It is one group, however often it is looked at."""
    first, again = (api.get(path, user="reader", minor=35) for _ in range(2))
    assert first == again
    group = first["security_groups"][0] if "security_groups" in first else first["security_group"]
    assert (group["name"], group["tenant_id"], len(first.get("security_groups", [group]))) == ("default", "demo", 1)
    assert [rule["group"] for rule in group["rules"]] == [{"name": "default", "tenant_id": "demo"}] * 2
    assert [rule["ip_range"] for rule in group["rules"]] == [{}, {}]


@pytest.mark.usefixtures("hosts")
def test_looking_at_the_default_group_puts_nobody_into_it(api: Api) -> None:
    server = make_server()
    with session.writer() as db:
        network = networks.create(db, "private", "br0", "10.0.0.0/24", "10.0.0.1")
        networks.allocate_port(db, network.id, server.id)
    api.get("/os-security-groups", user="joe", minor=35)
    assert groups(api, server.uuid) == []


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


# --- of Neutron ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def neutron(conf: Any, monkeypatch: pytest.MonkeyPatch) -> FakeNeutron:
    """Before the API is built: whose ports they are is known from then on."""
    fake = FakeNeutron()
    conf.set_override("network_backend", "neutron")
    monkeypatch.setattr(Neutron, "_adapter", fake)
    for id, name, project_id in (("id-default", "default", "demo"), ("id-web", "web", "demo"), ("id-other", "db", "other")):
        fake.add_group(id, name, project_id)
    empty = dict.fromkeys(("port_range_max", "remote_ip_prefix", "remote_group_id", "remote_address_group_id"))
    rule = {"id": "r1", "security_group_id": "id-web", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp"}
    fake.rules = [empty | rule | {"port_range_min": 80}]
    return fake


def on_neutron(fake: FakeNeutron, **values: Any) -> tuple[Any, str]:
    """A server that has a port in Neutron."""
    server = make_server(network_info=[])
    return server, fake.add_port(device_id=server.uuid, security_groups=["id-default"], **values)


@pytest.mark.usefixtures("hosts")
def test_groups_of_neutron_are_named_at_boot_and_carried_out_by_a_conductor(
    neutron: FakeNeutron, api: Api, flavor: Flavor, image: Image
) -> None:
    made = create(api, flavor, image, security_groups=[{"name": "web"}, {"name": "id-default"}]).json["server"]
    assert made["security_groups"] == [{"name": "web"}, {"name": "id-default"}]
    with session.reader() as db:
        assert task(instances.get(db, made["id"])) == ("build", {"security_groups": ["id-web", "id-default"]})


@pytest.mark.usefixtures("hosts")
def test_the_default_group_is_neutrons_to_find(neutron: FakeNeutron, api: Api, flavor: Flavor, image: Image) -> None:
    made = create(api, flavor, image).json["server"]
    with session.reader() as db:
        assert task(instances.get(db, made["id"])) == ("build", {})


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("name", ["nobody", "db", "id-other"])
def test_a_group_that_the_project_does_not_have_in_neutron_is_refused(
    neutron: FakeNeutron, api: Api, flavor: Flavor, image: Image, name: str
) -> None:
    answer = create(api, flavor, image, security_groups=[{"name": name}])
    assert answer.status_code == 400 and f"Security group {name} not found" in answer.text


def test_a_servers_groups_in_neutron_are_shown_with_their_rules(neutron: FakeNeutron, api: Api) -> None:
    server, port = on_neutron(neutron)
    neutron.ports[port]["security_groups"] = ["id-web"]
    (group,) = api.get(f"/servers/{server.uuid}/os-security-groups", user="joe")["security_groups"]
    assert (group["name"], group["tenant_id"]) == ("web", "demo")
    assert [(rule["ip_protocol"], rule["from_port"], rule["ip_range"]) for rule in group["rules"]] == [
        ("tcp", 80, {"cidr": "0.0.0.0/0"})
    ]
    assert [one["name"] for one in api.get("/os-security-groups", user="joe", minor=35)["security_groups"]] == ["default", "web"]


def test_ports_in_neutron_join_and_leave_a_group_and_are_looked_at_again(neutron: FakeNeutron, api: Api) -> None:
    server, port = on_neutron(neutron, port_security_enabled=True)

    assert api.act(server, {"addSecurityGroup": {"name": "web"}}, user="joe").status_code == 202
    assert neutron.ports[port]["security_groups"] == ["id-default", "id-web"]
    assert ("external_events", [server.uuid]) in api.conductor.calls

    assert api.act(server, {"removeSecurityGroup": {"name": "default"}}, user="joe").status_code == 202
    assert neutron.ports[port]["security_groups"] == ["id-web"]
    assert api.act(server, {"removeSecurityGroup": {"name": "default"}}, user="joe").status_code == 404


@pytest.mark.parametrize(("name", "code"), [("web", 400), ("db", 404)])
def test_a_port_that_is_open_or_a_group_that_is_not_there_is_refused(neutron: FakeNeutron, api: Api, name: str, code: int) -> None:
    server, port = on_neutron(neutron, port_security_enabled=False)
    assert api.act(server, {"addSecurityGroup": {"name": name}}, user="joe").status_code == code
    assert neutron.ports[port]["security_groups"] == ["id-default"]


def test_a_server_shows_the_groups_that_are_known_of_its_ports(neutron: FakeNeutron, api: Api) -> None:
    port = NetworkPort("n", "net", (), "ACTIVE", Vif("1", "fa:16:3e:00:00:01", "br", "tap1"), security_groups=("default", "web"))
    server = make_server(network_info=[to_primitive(port)])
    assert api.get(f"/servers/{server.uuid}", user="joe")["server"]["security_groups"] == [{"name": "default"}, {"name": "web"}]
