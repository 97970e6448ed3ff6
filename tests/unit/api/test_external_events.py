"""POST /os-server-external-events, as Neutron sends them."""

from __future__ import annotations

from typing import Any

import pytest
from oslo_config import cfg

from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import external_events, instances
from nova_blockmigrate.objects import FixedIp, NetworkPort, Vif, to_primitive
from tests.unit.api.conftest import Api, make_server

NOBODY = "00000000-0000-4000-8000-000000000000"
PLUGGED = "network-vif-plugged"


def event(server_uuid: str, name: str = PLUGGED, **values: Any) -> dict[str, Any]:
    return {"name": name, "server_uuid": server_uuid, "tag": "port-1", **values}


def post(api: Api, *events: dict[str, Any], **options: Any) -> Any:
    return api.request("POST", "/os-server-external-events", {"events": list(events)}, **options)


def test_an_event_is_written_down_and_a_conductor_told(api: Api, server: models.Instance) -> None:
    answer = post(api, event(server.uuid, status="completed"))

    assert answer.status_code == 200
    assert answer.json == {"events": [event(server.uuid, status="completed", code=200)]}
    with session.reader() as db:
        assert external_events.statuses(db, server.uuid, PLUGGED) == {"port-1": "completed"}
    assert api.conductor.calls == [("external_events", [server.uuid])]


def test_an_event_is_kept_when_no_conductor_can_be_told(api: Api, server: models.Instance) -> None:
    api.conductor.error = OSError("broker is away")
    assert post(api, event(server.uuid)).status_code == 200
    with session.reader() as db:
        assert external_events.statuses(db, server.uuid, PLUGGED) == {"port-1": "completed"}


def test_events_of_which_some_are_about_nobody_are_a_207(api: Api, server: models.Instance) -> None:
    waiting = make_server(host=None, node=None)
    answer = post(api, event(server.uuid), event(NOBODY), event(waiting.uuid))
    assert answer.status_code == 207
    assert [each["code"] for each in answer.json["events"]] == [200, 404, 422]
    assert [each["status"] for each in answer.json["events"]] == ["completed", "failed", "failed"]


def test_events_about_nobody_at_all_are_a_404(api: Api, hosts: None) -> None:
    assert post(api, event(NOBODY)).status_code == 404


@pytest.mark.parametrize(
    ("body", "minor"),
    [
        ({"name": "nonsense"}, 96),
        ({"status": "perhaps"}, 96),
        ({"server_uuid": "not a uuid"}, 96),
        ({"surprise": 1}, 96),
        ({"name": "volume-extended"}, 50),
        ({"name": "power-update"}, 75),
    ],
)
def test_what_no_service_would_say_is_a_400(api: Api, server: models.Instance, body: dict[str, Any], minor: int) -> None:
    assert post(api, event(server.uuid) | body, minor=minor).status_code == 400


def test_words_that_concern_nobody_here_are_taken_without_effect(api: Api, server: models.Instance) -> None:
    assert post(api, event(server.uuid, "volume-extended"), minor=51).status_code == 200
    assert api.conductor.calls == []


@pytest.mark.parametrize("user", ["joe", "boss", "reader"])
def test_users_may_not_say_such_things(api: Api, server: models.Instance, user: str) -> None:
    assert post(api, event(server.uuid), user=user).status_code == 403


def test_ports_of_a_network_service_are_shown_as_they_are_known(api: Api, server: models.Instance) -> None:
    port = NetworkPort(
        network_id="net-1",
        network_name="blue",
        fixed_ips=(FixedIp("192.0.2.7", "subnet-1"), FixedIp("2001:db8::7", "subnet-2")),
        status="ACTIVE",
        vif=Vif("port-1", "fa:16:3e:00:00:07", "br100", "tapport-1"),
    )
    with session.writer() as db:
        instances.update(db, server.uuid, network_info=[to_primitive(port)])

    shown = api.get(f"/servers/{server.uuid}")["server"]["addresses"]
    attached = api.get(f"/servers/{server.uuid}/os-interface")["interfaceAttachments"]

    assert [(each["addr"], each["version"]) for each in shown["blue"]] == [("192.0.2.7", 4), ("2001:db8::7", 6)]
    assert (attached[0]["port_id"], attached[0]["net_id"], attached[0]["port_state"]) == ("port-1", "net-1", "ACTIVE")
    assert attached[0]["fixed_ips"][0] == {"ip_address": "192.0.2.7", "subnet_id": "subnet-1"}


@pytest.fixture
def ports_are_neutrons(conf: cfg.ConfigOpts) -> None:
    """Before the API is built."""
    conf.set_override("network_backend", "neutron")


@pytest.mark.usefixtures("ports_are_neutrons")
@pytest.mark.parametrize("asked", [[{"port": NOBODY}], [{"uuid": NOBODY, "fixed_ip": "192.0.2.9"}], "auto", "none"])
def test_what_is_asked_of_networks_is_kept_for_the_conductor(
    api: Api, hosts: None, flavor: models.Flavor, image: models.Image, asked: Any
) -> None:
    body = {"server": {"name": "vm", "imageRef": image.id, "flavorRef": "1", "networks": asked}}

    answer = api.request("POST", "/servers", body, user="joe")

    assert answer.status_code == 202, answer.text
    with session.reader() as db:
        assert instances.get(db, answer.json["server"]["id"]).requested_networks == asked


def test_embedded_networks_have_no_ports_to_ask_for(api: Api, hosts: None, flavor: models.Flavor, image: models.Image) -> None:
    body = {"server": {"name": "vm", "imageRef": image.id, "flavorRef": "1", "networks": [{"port": NOBODY}]}}
    assert api.request("POST", "/servers", body, user="joe").status_code == 400
