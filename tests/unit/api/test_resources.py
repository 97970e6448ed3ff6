"""The resources beside servers: services, hypervisors, flavors, zones, limits, images, networks."""

from __future__ import annotations

import jsonschema
import pytest

from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Flavor, Image, Instance
from nova_blockmigrate.db.queries import networks
from tests.unit.api.conftest import Api, make_host


def test_services_are_listed(api: Api, hosts: None) -> None:
    found = api.get("/os-services?host=compute1")["services"]
    assert [(each["binary"], each["state"], each["status"], each["zone"]) for each in found] == [
        ("nova-compute", "up", "enabled", "nova")
    ]
    assert len(found[0]["id"]) == 36
    old = api.get("/os-services", minor=10)["services"][0]
    assert isinstance(old["id"], int) and "forced_down" not in old
    assert api.request("GET", "/os-services", user="joe").status_code == 403


def test_services_are_disabled_and_forced_down_by_uuid(api: Api, hosts: None) -> None:
    id = api.get("/os-services?host=compute1")["services"][0]["id"]
    changed = api.request("PUT", f"/os-services/{id}", {"status": "disabled", "disabled_reason": "repair"}).json["service"]
    assert (changed["status"], changed["disabled_reason"]) == ("disabled", "repair")
    assert api.request("PUT", f"/os-services/{id}", {"forced_down": True}).json["service"]["state"] == "down"
    assert api.request("PUT", f"/os-services/{id}", {"status": "enabled"}).json["service"]["disabled_reason"] is None
    assert api.request("PUT", f"/os-services/{id}", {"status": "enabled", "disabled_reason": "x"}).status_code == 400
    assert api.request("PUT", f"/os-services/{id}", {}).status_code == 400
    assert api.request("PUT", "/os-services/nobody", {"status": "enabled"}).status_code == 400


def test_services_are_changed_by_verb_below_2_53(api: Api, hosts: None) -> None:
    named = {"host": "compute1", "binary": "nova-compute"}
    answers = {
        "disable": {"status": "disabled"},
        "disable-log-reason": {"status": "disabled", "disabled_reason": "why"},
        "enable": {"status": "enabled"},
    }
    for verb, expected in answers.items():
        body = named | ({"disabled_reason": "why"} if "reason" in verb else {})
        assert api.request("PUT", f"/os-services/{verb}", body, minor=52).json == {"service": named | expected}
    forced = api.request("PUT", "/os-services/force-down", named | {"forced_down": "true"}, minor=11).json
    assert forced == {"service": named | {"forced_down": True}}
    assert api.request("PUT", "/os-services/dance", named, minor=52).status_code == 404
    assert api.request("PUT", "/os-services/enable", named | {"host": "x"}, minor=52).status_code == 404


def test_service_with_servers_is_not_forgotten(api: Api, server: Instance) -> None:
    ids = {each["host"]: each["id"] for each in api.get("/os-services")["services"]}
    assert api.request("DELETE", f"/os-services/{ids['compute1']}").status_code == 409
    assert api.request("DELETE", f"/os-services/{ids['compute2']}").status_code == 204
    assert [each["hypervisor_hostname"] for each in api.get("/os-hypervisors")["hypervisors"]] == ["compute1"]


def test_hypervisors_by_microversion(api: Api, server: Instance) -> None:
    new = api.get("/os-hypervisors/detail")["hypervisors"][0]
    assert set(new) == {
        "id", "hypervisor_hostname", "state", "status", "host_ip", "hypervisor_type", "hypervisor_version", "service", "uptime",
    }  # fmt: skip
    middle = api.get("/os-hypervisors/detail", minor=87)["hypervisors"][0]
    assert middle["cpu_info"] == {"arch": "x86_64"} and middle["free_ram_mb"] == 3584 and "uptime" not in middle
    old = api.get("/os-hypervisors/detail", minor=27)["hypervisors"][0]
    assert old["cpu_info"] == '{"arch": "x86_64"}' and isinstance(old["id"], int)
    assert api.get(f"/os-hypervisors/{new['id']}")["hypervisor"]["uptime"] == "up 1 day"
    assert api.get(f"/os-hypervisors/{old['id']}/uptime", minor=27)["hypervisor"]["uptime"] == "up 1 day"
    assert api.get("/os-hypervisors/statistics", minor=87)["hypervisor_statistics"]["memory_mb"] == 8192
    assert api.request("GET", "/os-hypervisors/statistics").status_code == 404
    assert api.request("GET", "/os-hypervisors/77", minor=20).status_code == 404


def test_servers_of_hypervisors(api: Api, server: Instance) -> None:
    found = api.get("/os-hypervisors?hypervisor_hostname_pattern=compute&with_servers=True")["hypervisors"]
    assert found[0]["servers"] == [{"name": server.domain_name, "uuid": server.uuid}] and found[1]["servers"] == []
    older = api.get("/os-hypervisors?hypervisor_hostname_pattern=compute&with_servers=True", minor=74)["hypervisors"]
    assert "servers" not in older[1]
    assert api.get("/os-hypervisors/compute1/servers", minor=52)["hypervisors"][0]["servers"][0]["uuid"] == server.uuid
    assert len(api.get("/os-hypervisors/comp/search", minor=52)["hypervisors"]) == 2
    assert api.request("GET", "/os-hypervisors?hypervisor_hostname_pattern=moon").status_code == 404


def test_hypervisors_come_in_pages(api: Api, hosts: None) -> None:
    make_host("compute3")
    page = api.get("/os-hypervisors?limit=2")
    assert len(page["hypervisors"]) == 2
    rest = api.get(page["hypervisors_links"][0]["href"].split("/v2.1", 1)[1])
    assert [each["hypervisor_hostname"] for each in rest["hypervisors"]] == ["compute3"] and "hypervisors_links" not in rest


def test_flavors(api: Api, flavor: Flavor) -> None:
    body = {"flavor": {"name": "big", "ram": 2048, "vcpus": 2, "disk": 10, "id": None}}
    made = api.request("POST", "/flavors", body).json["flavor"]
    assert (made["ram"], made["swap"], made["OS-FLV-EXT-DATA:ephemeral"]) == (2048, 0, 0)
    assert api.request("POST", "/flavors", body).status_code == 409
    assert api.request("POST", "/flavors", body, user="joe").status_code == 403
    assert api.request("POST", "/flavors", {"flavor": {"name": "x"}}).status_code == 400
    assert len(api.get("/flavors?is_public=None", user="joe")["flavors"]) == 2
    assert [each["name"] for each in api.get("/flavors/detail?minRam=100")["flavors"]] == ["big"]
    assert set(api.get("/flavors", minor=54)["flavors"][0]) == {"id", "name", "links"}
    shown = api.get(f"/flavors/{made['id']}", minor=60)["flavor"]
    assert shown["swap"] == "" and "extra_specs" not in shown
    assert api.get(f"/flavors/{made['id']}/os-extra_specs") == {"extra_specs": {}}
    assert api.request("GET", f"/flavors/{made['id']}/os-extra_specs/x").status_code == 404
    assert api.request("DELETE", f"/flavors/{made['id']}").status_code == 202
    assert api.request("GET", f"/flavors/{made['id']}").status_code == 404


def test_zones(api: Api, hosts: None) -> None:
    assert api.get("/os-availability-zone", user="joe")["availabilityZoneInfo"] == [
        {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}
    ]
    detail = api.get("/os-availability-zone/detail")["availabilityZoneInfo"]
    assert detail[1]["hosts"]["compute1"]["nova-compute"]["available"] is True


@pytest.mark.parametrize(("minor", "count"), [(1, 21), (96, 11)])
def test_limits(api: Api, server: Instance, minor: int, count: int) -> None:
    absolute = api.get("/limits", user="joe", minor=minor)["limits"]["absolute"]
    assert (absolute["totalInstancesUsed"], absolute["totalRAMUsed"], absolute["maxTotalCores"]) == (1, 64, -1)
    assert len(absolute) == count - (0 if minor == 96 else 2)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/os-keypairs", "keypairs"),
        ("/os-server-groups", "server_groups"),
        ("/os-aggregates", "aggregates"),
    ],
)
def test_what_we_do_not_have_is_empty(api: Api, path: str, key: str) -> None:
    assert api.get(path) == {key: []}


def test_images_are_found_where_clients_look(api: Api, image: Image) -> None:
    for path in (
        "/v2/images?name=cirros",
        "/v2.1/v2/images?name=cirros",
        "/v2.1/images?name=cirros",
        "/v2/images?id=in:" + image.id,
    ):
        assert [each["id"] for each in api.get(path, user="joe")["images"]] == [image.id]
    assert api.get("/v2/images?name=other")["images"] == []
    assert api.get(f"/v2.1/v2/images/{image.id}")["status"] == "active"
    assert api.request("GET", "/v2/images/unknown").status_code == 404


def test_images_are_as_their_schema_says(api: Api, image: Image) -> None:
    """Glance's own client, which Horizon uses, makes its images from the schema."""
    listed = api.get("/v2/images", user="joe")
    shown = api.get(f"/v2/images/{image.id}", user="joe")
    for document in (listed, shown):
        schema = api.get(document["schema"], user="joe")
        jsonschema.validate(document, schema)
        assert set(document) == set(schema["properties"])
    assert api.request("GET", "/v2/schemas/other", user="joe").status_code == 404


def test_networks_are_found_where_clients_look(api: Api) -> None:
    with session.writer() as db:
        network = networks.create(db, "private", "br0", "10.0.0.0/24", "10.0.0.1")
    for path in ("/v2.0/networks?name=private", "/v2.1/v2.0/networks?name=private", "/v2.1/networks"):
        assert [each["id"] for each in api.get(path, user="joe")["networks"]] == [network.id]
    assert api.get(f"/v2.1/networks/{network.id}")["network"]["name"] == "private"
