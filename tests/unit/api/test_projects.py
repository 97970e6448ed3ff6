"""What projects and users have beside servers: key pairs, quotas, server groups, tags, metadata, usage, flavors of their own."""

from __future__ import annotations

import datetime

import pytest
from oslo_config import cfg

from nova_blockmigrate.db import models
from tests.unit.api.conftest import Api, make_server, stored

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBl0nCq9yyyHhcOjdzvqmbLdTBW2nJGZWSB0hPIGqNwT someone"
Body = dict[str, object]


def boot(flavor: models.Flavor, image: models.Image, **more: object) -> Body:
    return {"server": {"name": "vm", "flavorRef": flavor.flavorid, "imageRef": image.id, "networks": "none", **more}}


# --- key pairs --------------------------------------------------------------------------------------------------------


def test_keys_belong_to_users(api: Api) -> None:
    made = api.request("POST", "/os-keypairs", {"keypair": {"name": "k", "public_key": KEY}}, user="joe")
    assert made.status_code == 201 and made.json["keypair"]["fingerprint"].count(":") == 15
    assert api.get("/os-keypairs", user="eve") == {"keypairs": []}
    assert api.request("GET", "/os-keypairs/k", user="eve").status_code == 404
    assert api.request("GET", "/os-keypairs?user_id=joe", user="eve").status_code == 403
    assert [each["keypair"]["name"] for each in api.get("/os-keypairs?user_id=joe")["keypairs"]] == ["k"]
    assert api.get("/os-keypairs?user_id=joe", minor=9) == {"keypairs": []}  # unknown there, and passed over
    again = api.request("POST", "/os-keypairs", {"keypair": {"name": "k", "public_key": KEY}}, user="joe")
    assert again.status_code == 409
    assert api.request("DELETE", "/os-keypairs/k", user="joe").status_code == 204


def test_keys_come_in_pages(api: Api) -> None:
    for name in ("a", "b", "c"):
        api.request("POST", "/os-keypairs", {"keypair": {"name": name, "public_key": KEY}})
    page = api.get("/os-keypairs?limit=2")
    assert [each["keypair"]["name"] for each in page["keypairs"]] == ["a", "b"]
    assert "marker=b" in page["keypairs_links"][0]["href"]
    assert len(api.get("/os-keypairs?limit=2", minor=34)["keypairs"]) == 3
    assert api.request("GET", "/os-keypairs?marker=nobody").status_code == 400


@pytest.mark.parametrize(
    ("key", "minor", "status"),
    [
        ({"name": "k"}, 91, 201),
        ({"name": "k"}, 92, 400),
        ({"name": "k@x.y", "public_key": KEY}, 92, 201),
        ({"name": "k@x.y", "public_key": KEY}, 91, 400),
        ({"name": "k", "public_key": "nonsense"}, 96, 400),
        ({"name": "k", "public_key": "ssh-rsa AAAA"}, 96, 400),
        ({"name": "k", "type": "x509"}, 2, 201),
        ({"name": "k", "type": "x509"}, 1, 400),
        ({"name": "k", "public_key": KEY, "user_id": "joe"}, 10, 201),
    ],
    ids=str,
)
def test_forms_of_keys(api: Api, key: Body, minor: int, status: int) -> None:
    assert api.request("POST", "/os-keypairs", {"keypair": key}, minor=minor).status_code == status


def test_a_server_is_made_with_a_key_that_there_is(api: Api, hosts: None, flavor: models.Flavor, image: models.Image) -> None:
    refused = api.request("POST", "/servers", boot(flavor, image, key_name="k"), user="joe")
    assert refused.status_code == 400 and "k" in refused.text
    api.request("POST", "/os-keypairs", {"keypair": {"name": "k", "public_key": KEY}}, user="joe")
    made = api.request("POST", "/servers", boot(flavor, image, key_name="k"), user="joe").json["server"]
    assert api.get(f"/servers/{made['id']}", user="joe")["server"]["key_name"] == "k"


# --- quotas -----------------------------------------------------------------------------------------------------------


def test_without_setting_nothing_is_limited(api: Api, hosts: None, flavor: models.Flavor, image: models.Image) -> None:
    assert api.get("/os-quota-sets/demo", user="joe")["quota_set"]["instances"] == -1
    assert api.request("POST", "/servers", boot(flavor, image, max_count=30), user="joe").status_code == 202


@pytest.mark.parametrize(("resource", "limit"), [("instances", 1), ("cores", 1), ("ram", 100)])
def test_a_quota_holds(
    api: Api, server: models.Instance, flavor: models.Flavor, image: models.Image, resource: str, limit: int
) -> None:
    changed = api.request("PUT", "/os-quota-sets/demo", {"quota_set": {resource: limit}})
    assert changed.json["quota_set"][resource] == limit
    refused = api.request("POST", "/servers", boot(flavor, image), user="joe")
    assert refused.status_code == 403 and f"Quota exceeded for {resource}" in refused.text
    assert len(api.get("/servers", user="joe")["servers"]) == 1
    assert api.request("DELETE", "/os-quota-sets/demo").status_code == 202
    assert api.request("POST", "/servers", boot(flavor, image), user="joe").status_code == 202


def test_a_quota_below_use_needs_force(api: Api, server: models.Instance) -> None:
    body: Body = {"quota_set": {"instances": 0}}
    assert api.request("PUT", "/os-quota-sets/demo", body).status_code == 400
    assert api.request("PUT", "/os-quota-sets/demo", {"quota_set": {"instances": 0, "force": True}}).status_code == 200
    detail = api.get("/os-quota-sets/demo/detail", user="joe")["quota_set"]
    assert detail["instances"] == {"limit": 0, "in_use": 1, "reserved": 0}
    assert api.get("/limits", user="joe")["limits"]["absolute"]["maxTotalInstances"] == 0


def test_quotas_are_for_administrators(api: Api) -> None:
    assert api.request("PUT", "/os-quota-sets/demo", {"quota_set": {"cores": 1}}, user="boss").status_code == 403
    assert api.request("GET", "/os-quota-sets/demo", user="eve").status_code == 403
    assert api.request("GET", "/limits?tenant_id=demo", user="eve").status_code == 403


def test_the_default_class_holds_for_all(api: Api, conf: cfg.ConfigOpts) -> None:
    api.request("PUT", "/os-quota-class-sets/default", {"quota_class_set": {"instances": 3}})
    assert api.get("/os-quota-sets/any/defaults", user="joe")["quota_set"]["instances"] == 3
    assert api.get("/limits", user="joe")["limits"]["absolute"]["maxTotalInstances"] == 3
    assert api.request("PUT", "/os-quota-class-sets/gold", {"quota_class_set": {"instances": 3}}).status_code == 400
    old = api.get("/os-quota-sets/any", minor=1)["quota_set"]
    assert {"fixed_ips", "injected_files"} <= set(old) and "fixed_ips" not in api.get("/os-quota-sets/any", minor=36)["quota_set"]


# --- server groups ----------------------------------------------------------------------------------------------------


def group(api: Api, name: str = "web", user: str = "joe") -> str:
    made = api.request("POST", "/os-server-groups", {"server_group": {"name": name, "policy": "anti-affinity"}}, user=user)
    assert made.status_code == 200, made.text
    return str(made.json["server_group"]["id"])


def test_groups_have_the_servers_that_were_made_in_them(api: Api, hosts: None, flavor: models.Flavor, image: models.Image) -> None:
    id = group(api)
    body = boot(flavor, image) | {"os:scheduler_hints": {"group": id}}
    uuid = api.request("POST", "/servers", body, user="joe").json["server"]["id"]
    assert api.get(f"/os-server-groups/{id}", user="joe")["server_group"]["members"] == [uuid]
    assert api.get(f"/servers/{uuid}", user="joe")["server"]["server_groups"] == [id]
    assert api.request("GET", f"/os-server-groups/{id}", user="eve").status_code == 404
    assert api.request("POST", "/servers", body, user="eve").status_code == 400
    assert api.request("DELETE", f"/os-server-groups/{id}", user="joe").status_code == 204
    assert api.get(f"/servers/{uuid}", user="joe")["server"]["server_groups"] == []


def test_groups_of_all_projects_are_for_administrators(api: Api) -> None:
    group(api, user="joe")
    assert len(api.get("/os-server-groups?all_projects=True")["server_groups"]) == 1
    assert api.get("/os-server-groups?all_projects=True", user="eve")["server_groups"] == []


@pytest.mark.parametrize(
    ("wanted", "minor", "status"),
    [
        ({"policies": ["affinity"]}, 1, 200),
        ({"policies": ["soft-affinity"]}, 14, 400),
        ({"policies": ["soft-affinity"]}, 15, 200),
        ({"policies": ["affinity"]}, 64, 400),
        ({"policy": "affinity"}, 63, 400),
        ({"policy": "anti-affinity", "rules": {"max_server_per_host": 3}}, 64, 200),
        ({"policy": "affinity", "rules": {"max_server_per_host": 3}}, 64, 400),
    ],
    ids=str,
)
def test_forms_of_groups(api: Api, wanted: Body, minor: int, status: int) -> None:
    body = {"server_group": {"name": "g", **wanted}}
    assert api.request("POST", "/os-server-groups", body, minor=minor).status_code == status


def test_there_are_no_more_groups_than_the_quota_says(api: Api) -> None:
    api.request("PUT", "/os-quota-sets/demo", {"quota_set": {"server_groups": 1}})
    group(api)
    more = api.request("POST", "/os-server-groups", {"server_group": {"name": "b", "policy": "affinity"}}, user="joe")
    assert more.status_code == 403 and "server_groups" in more.text


# --- tags and metadata ------------------------------------------------------------------------------------------------


def test_tags(api: Api, server: models.Instance) -> None:
    path = f"/servers/{server.uuid}/tags"
    assert api.request("PUT", f"{path}/red", user="joe").status_code == 201
    assert api.request("PUT", f"{path}/red", user="joe").status_code == 204
    assert api.request("PUT", f"{path}/a,b", user="joe").status_code == 400
    assert api.request("GET", f"{path}/blue", user="joe").status_code == 404
    assert api.request("PUT", path, {"tags": ["red"] * 51}, user="joe").status_code == 400
    assert api.request("GET", path, user="joe", minor=25).status_code == 404
    assert api.request("PUT", f"{path}/blue", user="reader").status_code == 403


def test_servers_are_found_by_tags(api: Api, hosts: None) -> None:
    for name, tags in {"a": ["red", "green"], "b": ["red"], "c": []}.items():
        make_server(display_name=name, tags=tags)

    def found(query: str, minor: int = 96) -> str:
        listed = api.get(f"/servers?{query}&sort_key=display_name&sort_dir=asc", user="joe", minor=minor)
        return "".join(each["name"] for each in listed["servers"])

    assert [found(query) for query in ("tags=red,green", "tags=red", "tags-any=green,blue")] == ["a", "ab", "a"]
    assert [found(query) for query in ("not-tags=red,green", "not-tags-any=red,green")] == ["bc", "c"]
    assert found("tags=red", minor=25) == "abc"


def test_metadata_needs_a_server_at_rest(api: Api, server: models.Instance) -> None:
    path, body = f"/servers/{server.uuid}/metadata", {"metadata": {"a": "1"}}
    assert api.request("POST", path, body, user="joe").json == body
    assert api.request("PUT", path + "/b", {"meta": {"a": "1"}}, user="joe").status_code == 400
    assert api.request("GET", path + "/b", user="joe").status_code == 404
    api.request("PUT", "/os-quota-sets/demo", {"quota_set": {"metadata_items": 1}})
    assert api.request("POST", path, {"metadata": {"b": "1"}}, user="joe").status_code == 403
    busy = make_server(task_state="rebooting")
    assert api.request("POST", f"/servers/{busy.uuid}/metadata", body, user="joe").status_code == 409
    locked = make_server(locked=True)
    assert api.request("POST", f"/servers/{locked.uuid}/metadata", body, user="joe").status_code == 409
    assert stored(server).server_metadata == {"a": "1"}


# --- usage ------------------------------------------------------------------------------------------------------------


def test_usage_counts_the_hours_of_the_period(api: Api, hosts: None) -> None:
    begin = datetime.datetime(2026, 1, 1)
    make_server(display_name="long", launched_at=begin)
    make_server(display_name="gone", launched_at=begin, terminated_at=begin + datetime.timedelta(hours=1), vm_state="deleted")
    make_server(display_name="late", launched_at=begin + datetime.timedelta(days=3))
    period = "start=2026-01-01T00:00:00&end=2026-01-02T00:00:00"
    usage = api.get(f"/os-simple-tenant-usage/demo?{period}", user="joe")["tenant_usage"]
    assert {each["name"]: each["hours"] for each in usage["server_usages"]} == {"long": 24.0, "gone": 1.0}
    assert (usage["total_hours"], usage["total_memory_mb_usage"]) == (25.0, 25.0 * 64)
    assert "server_usages" not in api.get(f"/os-simple-tenant-usage?{period}")["tenant_usages"][0]
    page = api.get(f"/os-simple-tenant-usage/demo?{period}&limit=1")
    assert page["tenant_usage"]["total_hours"] == 24.0 and "marker" in page["tenant_usage_links"][0]["href"]
    assert api.request("GET", "/os-simple-tenant-usage", user="boss").status_code == 403
    assert api.request("GET", "/os-simple-tenant-usage/demo", user="eve").status_code == 403
    assert api.request("GET", "/os-simple-tenant-usage/demo?start=2026-02-01&end=2026-01-01").status_code == 400


# --- flavors ----------------------------------------------------------------------------------------------------------


def test_a_flavor_that_is_not_public_is_there_for_its_projects(api: Api, image: models.Image, hosts: None) -> None:
    body = {"flavor": {"name": "own", "id": "own", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}}
    api.request("POST", "/flavors", body)
    create = {"server": {"name": "vm", "flavorRef": "own", "imageRef": image.id, "networks": "none"}}
    assert api.request("GET", "/flavors/own", user="joe").status_code == 404
    assert api.request("POST", "/servers", create, user="joe").status_code == 400
    added = api.request("POST", "/flavors/own/action", {"addTenantAccess": {"tenant": "demo"}})
    assert added.json == {"flavor_access": [{"flavor_id": "own", "tenant_id": "demo"}]}
    assert [each["id"] for each in api.get("/flavors", user="joe")["flavors"]] == ["own"]
    assert api.request("POST", "/servers", create, user="joe").status_code == 202
    assert api.get("/flavors", user="eve")["flavors"] == []
    assert api.request("POST", "/flavors/own/action", {"addTenantAccess": {"tenant": "demo"}}).status_code == 409
    assert api.request("POST", "/flavors/own/action", {"removeTenantAccess": {"tenant": "x"}}).status_code == 404
    assert api.request("DELETE", "/flavors/own").status_code == 202


def test_access_to_a_public_flavor_is_refused_since_2_7(api: Api, flavor: models.Flavor) -> None:
    body = {"addTenantAccess": {"tenant": "demo"}}
    assert api.request("POST", "/flavors/1/action", body, minor=7).status_code == 409
    assert api.request("POST", "/flavors/1/action", body, minor=6).status_code == 200
    assert api.request("GET", "/flavors/1/os-flavor-access").status_code == 404


# --- lists of servers -------------------------------------------------------------------------------------------------


def test_filters_of_users_grow_with_2_83(api: Api, hosts: None) -> None:
    make_server(display_name="a", vm_state="active", key_name="k")
    make_server(display_name="b", vm_state="stopped")
    assert len(api.get("/servers?vm_state=stopped", user="joe", minor=82)["servers"]) == 2
    assert [each["name"] for each in api.get("/servers?vm_state=stopped", user="joe", minor=83)["servers"]] == ["b"]
    assert len(api.get("/servers?host=nowhere", user="joe")["servers"]) == 2  # for administrators only
    assert [each["name"] for each in api.get("/servers?flavor=1&key_name=k", user="joe")["servers"]] == ["a"]


def test_a_status_that_is_none_is_refused_since_2_38(api: Api, server: models.Instance) -> None:
    assert api.get("/servers?status=DANCING", minor=37)["servers"] == []
    assert api.request("GET", "/servers?status=DANCING", minor=38).status_code == 400
    assert api.get("/servers?status=RESIZE", minor=38)["servers"] == []


def test_sorting_by_host_is_for_administrators(api: Api, server: models.Instance) -> None:
    assert api.request("GET", "/servers?sort_key=host", user="joe").status_code == 403
    assert api.request("GET", "/servers?sort_key=host").status_code == 200
    assert api.request("GET", "/servers?sort_key=locked", minor=72).status_code == 400
