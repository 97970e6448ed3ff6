"""A host's part for ports that Neutron owns: listed before it is asked for, given up after a failure, told at the switch."""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.ports import BINDING, BelongingsOnly, Ports
from nova_blockmigrate.network.backend import BoundVif, Embedded
from nova_blockmigrate.objects import Artefact, MigrationPlan, PreparedDestination, Server, Vif

VIF = Vif("port-1", "fa:16:3e:00:00:01", "br-one", "tapport-1")
SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "instance-00000001", "lm001", 256, 1, 1, None, (VIF,))
PLAN = MigrationPlan(1, "0b0a9b3e-5f0f-4a8e-8f0b-3d8f0e5a7c11", SERVER, "compute1", "compute2", True)


class Network(Embedded):
    """A network service that remembers where it was told the port to be."""

    owns_ports = True

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self.places = {"compute1": "ACTIVE"}
        self.away = False

    def bind(self, vif: Vif, host: str) -> BoundVif:
        self._answer()
        self.places[host] = "INACTIVE"
        return BoundVif(Vif(vif.port_id, vif.mac, "br-two", vif.tap), awaited=True)

    def activate(self, port_id: str, host: str) -> None:
        self._answer()
        self.places = dict.fromkeys(self.places, "INACTIVE") | {host: "ACTIVE"}

    def unbind(self, port_id: str, host: str) -> None:
        self._answer()
        self.places.pop(host, None)

    def _answer(self) -> None:
        if self.away:
            raise exceptions.NetworkServiceUnavailable(action="do it", reason="refused")


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    return conf


@pytest.fixture
def network(conf: cfg.ConfigOpts) -> Network:
    return Network(conf)


@pytest.fixture
def ports(conf: cfg.ConfigOpts, network: Network) -> Ports:
    return Ports(conf, network)


@pytest.fixture
def records(tmp_path: pathlib.Path) -> Records:
    return Records(tmp_path)


def test_the_destination_gets_its_own_interfaces_and_lists_the_binding(ports: Ports, network: Network, records: Records) -> None:
    record = records.open(PLAN, "destination")
    places = ports.prepare(PLAN, record)

    assert network.places == {"compute1": "ACTIVE", "compute2": "INACTIVE"}
    assert record.artefacts() == [Artefact(BINDING, "port-1")]
    assert places.in_plan(PLAN).server.vifs[0].bridge == "br-two"
    answer = places.in_answer(PreparedDestination("compute2"))
    assert (answer.awaited_ports, [vif.bridge for vif in answer.vifs or ()]) == (("port-1",), ["br-two"])


def test_the_binding_is_listed_before_it_is_asked_for(ports: Ports, network: Network, records: Records) -> None:
    record = records.open(PLAN, "destination")
    network.away = True
    with pytest.raises(exceptions.NetworkServiceUnavailable):
        ports.prepare(PLAN, record)
    assert record.artefacts() == [Artefact(BINDING, "port-1")]


def test_a_failure_gives_the_place_up_and_the_driver_never_sees_it(ports: Ports, network: Network, records: Records) -> None:
    record = records.open(PLAN, "destination")
    ports.prepare(PLAN, record)
    assert BelongingsOnly(record).artefacts() == []
    assert ports.prepared(PLAN, record).server.vifs[0].bridge == "br-two"  # what is there to unplug

    ports.release(PLAN, record)

    assert network.places == {"compute1": "ACTIVE"}
    assert record.artefacts() == []


def test_what_could_not_be_given_up_stays_listed(ports: Ports, network: Network, records: Records) -> None:
    record = records.open(PLAN, "destination")
    ports.prepare(PLAN, record)
    network.away = True
    with pytest.raises(exceptions.NetworkServiceUnavailable):
        ports.release(PLAN, record)
    assert record.artefacts() == [Artefact(BINDING, "port-1")]


def test_the_network_is_told_at_the_switch_and_a_network_that_is_away_stops_nothing(ports: Ports, network: Network) -> None:
    network.places["compute2"] = "INACTIVE"
    assert ports.depart(PLAN)
    assert network.places == {"compute1": "INACTIVE", "compute2": "ACTIVE"}
    network.away = True
    assert not ports.depart(PLAN)


def test_the_destination_tells_it_again_and_keeps_nothing_in_its_ledger(ports: Ports, network: Network, records: Records) -> None:
    record = records.open(PLAN, "destination")
    ports.prepare(PLAN, record)
    ports.arrive(PLAN, record)
    assert network.places["compute2"] == "ACTIVE"
    assert record.artefacts() == []


def test_the_source_gives_its_place_up_and_unplugs_what_it_had(ports: Ports, network: Network, records: Records) -> None:
    record = records.open(PLAN, "source")
    moved = MigrationPlan(1, PLAN.migration_uuid, Server(SERVER.uuid, "i", "n", 1, 1, 1, None, ()), "compute1", "compute2", True)
    assert ports.departed(moved, record).server.vifs == (VIF,)
    ports.leave(PLAN)
    assert "compute1" not in network.places


@pytest.mark.parametrize(
    ("option", "group", "value"), [("live_migration_wait_for_vif_plug", "compute", False), ("vif_plugging_timeout", None, 0)]
)
def test_nothing_is_awaited_when_told_so(
    conf: cfg.ConfigOpts, ports: Ports, records: Records, option: str, group: str | None, value: object
) -> None:
    conf.set_override(option, value, group=group)
    assert ports.prepare(PLAN, records.open(PLAN, "destination")).awaited == ()


def test_a_destination_is_not_judged_by_the_bridge_that_the_source_has(ports: Ports, conf: cfg.ConfigOpts) -> None:
    assert [vif.is_bound for vif in ports.unbound(SERVER).vifs] == [False]
    assert Ports(conf, Embedded(conf)).unbound(SERVER) == SERVER
