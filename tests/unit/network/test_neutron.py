"""What is asked of Neutron, and what is made of its answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from keystoneauth1 import exceptions as keystone_exceptions
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.network import backend, neutron
from nova_blockmigrate.network.backend import Owner
from nova_blockmigrate.network.neutron import Neutron
from nova_blockmigrate.objects import AddressPair, NetworkPort, SecurityRule, Vif, VifType, WantedPort
from tests.unit.network.fake_neutron import NETWORK, SERVICE_PROJECT, FakeNeutron

SERVER = "6e783272-31b5-4fdc-8828-2b8892daab39"
OWNER = Owner(SERVER, "demo", "compute1", "nova")


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    return conf


@pytest.fixture
def service() -> FakeNeutron:
    return FakeNeutron()


@pytest.fixture
def client(conf: cfg.ConfigOpts, service: FakeNeutron) -> Neutron:
    client = Neutron(conf)
    client.__dict__["_adapter"] = service
    return client


def one(client: Neutron, wanted: WantedPort | None = None) -> NetworkPort:
    (port,) = client.allocate(OWNER, [wanted or WantedPort(network_id=NETWORK)])
    return port


# --- a server's ports -----------------------------------------------------------------------------------------------


def test_a_port_is_made_on_the_network_and_bound_to_the_servers_host(client: Neutron, service: FakeNeutron) -> None:
    port = one(client)

    assert service.ports[port.vif.port_id]["device_id"] == SERVER
    assert service.ports[port.vif.port_id]["device_owner"] == "compute:nova"
    assert service.statuses(port.vif.port_id) == {"compute1": "ACTIVE"}
    assert (port.vif.bridge, port.vif.mtu, port.vif.tap) == ("br-one", 1450, f"tap{port.vif.port_id[:11]}")
    assert (port.network_name, port.fixed_ips[0].ip_address, port.given) == ("net", port.vif.ip_address, False)


def test_allocating_again_after_a_crash_makes_no_second_port(client: Neutron, service: FakeNeutron) -> None:
    first = one(client)

    assert one(client) == first
    assert len(service.ports) == 1


def test_a_port_of_the_users_is_used_and_outlives_the_server(client: Neutron, service: FakeNeutron) -> None:
    port_id = service.add_port()
    assert one(client, WantedPort(port_id=port_id)).given

    client.release(SERVER, [port_id])

    assert service.ports[port_id]["device_id"] == ""
    assert service.bindings[port_id] == {}


def test_a_port_that_was_made_for_the_server_goes_with_it(client: Neutron, service: FakeNeutron) -> None:
    one(client)
    client.release(SERVER, [])
    assert service.ports == {}


@pytest.mark.parametrize("values", [{"device_id": "another"}, {"project_id": "other"}])
def test_a_port_of_somebody_elses_is_refused_and_left_alone(client: Neutron, service: FakeNeutron, values: dict[str, str]) -> None:
    port_id = service.add_port(**values)
    before = dict(service.ports[port_id])
    with pytest.raises(exceptions.PortNotUsable):
        one(client, WantedPort(port_id=port_id))
    assert service.ports[port_id] == before


def test_ports_made_before_a_failure_are_deleted(client: Neutron, service: FakeNeutron) -> None:
    with pytest.raises(exceptions.NetworkNotFound, match="Network nothing could not be found"):
        client.allocate(OWNER, [WantedPort(network_id=NETWORK), WantedPort(network_id="nothing")])
    assert service.ports == {}


@pytest.mark.parametrize("sharing", [{"project_id": "demo"}, {"shared_with": ["other", "demo"]}, {"shared_with": ["*"]}])
def test_a_project_may_use_its_own_networks_and_those_shared_with_it(
    client: Neutron, service: FakeNeutron, sharing: dict[str, Any]
) -> None:
    service.add_network("theirs", **sharing)
    assert one(client, WantedPort(network_id="theirs")).network_id == "theirs"


@pytest.mark.parametrize("sharing", [{}, {"shared_with": ["other"]}, {"shared_with": [SERVICE_PROJECT]}])
def test_a_network_of_another_project_is_refused_like_one_that_is_not_there(
    client: Neutron, service: FakeNeutron, sharing: dict[str, Any]
) -> None:
    service.add_network("hidden", **sharing)
    with pytest.raises(exceptions.NetworkNotFound, match="Network hidden could not be found"):
        one(client, WantedPort(network_id="hidden"))
    assert service.ports == {}


def test_networks_that_need_no_name_are_those_that_the_project_may_use(client: Neutron, service: FakeNeutron) -> None:
    service.add_network("own", project_id="demo", shared_with=["*"])
    service.add_network("given", shared_with=["demo"])
    service.add_network("hidden", shared_with=[SERVICE_PROJECT])
    assert sorted(client.networks_of("demo")) == sorted([NETWORK, "own", "given"])


def test_a_host_without_an_agent_is_named(client: Neutron, service: FakeNeutron) -> None:
    del service.hosts["compute1"]
    with pytest.raises(exceptions.NetworkServiceError, match="living agent of a host that calls itself compute1"):
        one(client)
    assert service.ports == {}


def test_a_service_that_does_not_answer_is_told_with_the_remedy(client: Neutron, service: FakeNeutron) -> None:
    service.error = keystone_exceptions.ConnectFailure("refused")
    with pytest.raises(exceptions.NetworkServiceUnavailable, match=r"refused\. Check that neutron-server answers"):
        one(client)


def test_a_port_that_is_bound_nowhere_for_a_moment_is_shown_with_its_last_interface(client: Neutron, service: FakeNeutron) -> None:
    port = one(client)
    service.ports[port.vif.port_id] |= {"binding:vif_type": "unbound", "binding:vif_details": {}}

    assert client.describe(SERVER, [port]) == (port,)


@pytest.mark.parametrize(("details", "bridge"), [({"bridge_name": "br-x"}, "br-x"), ({}, "br-int")])
def test_a_port_on_open_vswitch_is_plugged_there_and_guarded_by_neutron(
    client: Neutron, service: FakeNeutron, monkeypatch: pytest.MonkeyPatch, details: dict[str, Any], bridge: str
) -> None:
    bound = {"vif_type": "ovs", "vif_details": {"port_filter": True, **details}}
    monkeypatch.setattr(service, "_binding", lambda host, status: FakeNeutron._binding(service, host, status) | bound)
    wanted = service.add_port(security_groups=["web"], port_security_enabled=True)

    vif = one(client, WantedPort(port_id=wanted)).vif

    assert (vif.vif_type, vif.bridge, vif.port_security) == (VifType.OVS, bridge, False)
    assert client.bind(vif, "compute2").vif.vif_type is VifType.OVS


def test_a_hybrid_port_has_a_bridge_of_its_own_and_neutron_says_when_it_is_wired(
    client: Neutron, service: FakeNeutron, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = {"vif_type": "ovs", "vif_details": {"port_filter": True, "ovs_hybrid_plug": True, "bridge_name": "br-x"}}
    monkeypatch.setattr(service, "_binding", lambda host, status: FakeNeutron._binding(service, host, status) | bound)
    wanted = service.add_port(security_groups=["web"], port_security_enabled=True)

    vif = one(client, WantedPort(port_id=wanted)).vif

    assert (vif.vif_type, vif.bridge, vif.switch) == (VifType.OVS_HYBRID, f"qbr{wanted}"[:14], "br-x")
    assert not vif.port_security, "Neutron's agent guards it"
    assert client.bind(vif, "compute2").awaited


# --- security groups ------------------------------------------------------------------------------------------------


def rule(**values: object) -> dict[str, object]:
    empty = dict.fromkeys(
        ("protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id", "remote_address_group_id")
    )
    return {"security_group_id": "web", "direction": "ingress", "ethertype": "IPv4"} | empty | values


def test_a_host_guards_what_no_agent_filters(client: Neutron, service: FakeNeutron) -> None:
    service.rules = [
        rule(protocol="tcp", port_range_min=80, port_range_max=80, remote_ip_prefix="10.0.0.0/8"),
        rule(remote_group_id="friends"),
    ]
    service.add_port(security_groups=["friends"], fixed_ips=[{"ip_address": "192.0.2.99", "subnet_id": ""}])
    wanted = service.add_port(security_groups=["web"], port_security_enabled=True)

    vif = one(client, WantedPort(port_id=wanted)).vif

    assert vif.port_security
    assert vif.rules == (
        SecurityRule("ingress", protocol="tcp", port_min=80, port_max=80, remote_cidr="10.0.0.0/8"),
        SecurityRule("ingress", remote_group="friends"),
    )
    assert vif.group_members == {"friends": ("192.0.2.99",)}


def test_a_rule_about_an_address_group_is_about_its_addresses(client: Neutron, service: FakeNeutron) -> None:
    service.address_groups = {"offices": ["192.0.2.0/25", "198.51.100.7/32"]}
    service.rules = [rule(protocol="tcp", remote_address_group_id="offices"), rule(remote_address_group_id="gone")]
    wanted = service.add_port(security_groups=["web"], port_security_enabled=True)

    assert one(client, WantedPort(port_id=wanted)).vif.rules == (
        SecurityRule("ingress", protocol="tcp", remote_cidr="192.0.2.0/25"),
        SecurityRule("ingress", protocol="tcp", remote_cidr="198.51.100.7/32"),
    )


def test_allowed_address_pairs_belong_to_the_guest_and_to_its_groups(client: Neutron, service: FakeNeutron) -> None:
    router = "00:00:5e:00:01:01"
    pairs = [{"mac_address": router, "ip_address": "192.0.2.200"}, {"ip_address": "192.0.2.0/28"}]
    service.rules = [rule(remote_group_id="web")]
    wanted = service.add_port(security_groups=["web"], port_security_enabled=True, allowed_address_pairs=pairs)

    vif = one(client, WantedPort(port_id=wanted)).vif

    assert vif.allowed_pairs == (AddressPair(router, "192.0.2.200"),)
    assert vif.allowed_addresses == ("192.0.2.0/28",)
    assert vif.group_members["web"] == (vif.ip_address, "192.0.2.200", "192.0.2.0/28")


def test_a_host_does_not_guard_what_neutrons_agent_filters(
    client: Neutron, service: FakeNeutron, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        service,
        "_binding",
        lambda host, status: FakeNeutron._binding(service, host, status) | {"vif_details": {"port_filter": True}},
    )
    wanted = service.add_port(security_groups=["web"], port_security_enabled=True)
    assert not one(client, WantedPort(port_id=wanted)).vif.port_security


def test_ports_are_made_in_the_groups_that_were_asked_for_and_known_by_their_names(client: Neutron, service: FakeNeutron) -> None:
    service.add_group("id-web", "web")
    owner = dataclasses.replace(OWNER, security_groups=("id-web",))
    (port,) = client.allocate(owner, [WantedPort(network_id=NETWORK)])
    assert service.ports[port.vif.port_id]["security_groups"] == ["id-web"]
    assert port.security_groups == ("web",)


def test_a_name_that_two_groups_have_is_refused(client: Neutron, service: FakeNeutron) -> None:
    for id in ("1", "2"):
        service.add_group(id, "web")
    with pytest.raises(exceptions.Conflict, match="Use an ID"):
        client.find_groups("demo", ["web"])
    assert client.find_groups("demo", ["2", "2"]) == ["2"]


# --- a server's place -----------------------------------------------------------------------------------------------


def test_a_move_is_one_more_binding_then_the_only_one(client: Neutron, service: FakeNeutron) -> None:
    vif = one(client).vif

    bound = client.bind(vif, "compute2")
    assert service.statuses(vif.port_id) == {"compute1": "ACTIVE", "compute2": "INACTIVE"}
    assert (bound.vif.bridge, bound.awaited) == ("br-two", False)

    client.activate(vif.port_id, "compute2")
    assert service.statuses(vif.port_id) == {"compute1": "INACTIVE", "compute2": "ACTIVE"}

    client.unbind(vif.port_id, "compute1")
    assert service.statuses(vif.port_id) == {"compute2": "ACTIVE"}


def test_each_of_it_may_be_done_twice(client: Neutron, service: FakeNeutron) -> None:
    vif = one(client).vif
    assert client.bind(vif, "compute2") == client.bind(vif, "compute2")
    for _ in range(2):
        client.activate(vif.port_id, "compute2")
    for _ in range(2):
        client.unbind(vif.port_id, "compute1")
    assert service.statuses(vif.port_id) == {"compute2": "ACTIVE"}


def test_the_switch_is_one_request(client: Neutron, service: FakeNeutron) -> None:
    vif = one(client).vif
    client.bind(vif, "compute2")
    service.asked.clear()
    client.activate(vif.port_id, "compute2")
    assert service.asked == [f"PUT /ports/{vif.port_id}/bindings/compute2/activate"]


def test_the_place_in_which_the_guest_is_stays(client: Neutron, service: FakeNeutron) -> None:
    vif = one(client).vif
    client.unbind(vif.port_id, "compute1")
    assert service.statuses(vif.port_id) == {"compute1": "ACTIVE"}


def test_plugged_is_awaited_only_where_it_can_come_before_the_guest(client: Neutron, conf: cfg.ConfigOpts) -> None:
    vif = one(client).vif
    conf.set_override("plugged_when_bound", ["bridge"], group="neutron")
    assert client.bind(vif, "compute2").awaited


# --- which backend --------------------------------------------------------------------------------------------------


def test_backends_are_found_by_their_names(conf: cfg.ConfigOpts) -> None:
    assert not backend.load(conf).owns_ports
    conf.set_override("network_backend", "neutron")
    assert isinstance(backend.load(conf), neutron.Neutron)


def test_an_embedded_network_needs_nobodys_leave(conf: cfg.ConfigOpts) -> None:
    vif = Vif("1", "fa:16:3e:00:00:01", "br100", "tap1")
    assert backend.Embedded(conf).bind(vif, "compute2") == backend.BoundVif(vif, awaited=False)
