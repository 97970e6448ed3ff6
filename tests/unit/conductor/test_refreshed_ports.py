"""Ports that a network service owns: when it tells of a change, the server's host hears of the new rules, and of nothing else."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest
from oslo_config import cfg

from nova_blockmigrate.conductor.server_ports import ServerPorts
from nova_blockmigrate.conductor.servers import ServerTasks
from nova_blockmigrate.context import service_context
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import instances
from nova_blockmigrate.network.backend import Embedded
from nova_blockmigrate.objects import NetworkPort, SecurityRule, Vif, to_primitive
from tests.unit.conductor.test_firewall import Computes, database  # noqa: F401 - a fixture

VIF = Vif("port-1", "fa:16:3e:00:00:01", "br-one", "tapport-1", port_security=True)
RULE = SecurityRule("ingress", "IPv4", "tcp", 22, 22)


class Network(Embedded):
    owns_ports = True
    vif = VIF

    def describe(self, server_uuid: str, known: Sequence[NetworkPort]) -> tuple[NetworkPort, ...]:
        return (dataclasses.replace(known[0], vif=self.vif),)


@pytest.fixture
def server(database: None) -> str:  # noqa: F811
    port = NetworkPort(network_id="n", network_name="net", fixed_ips=(), status="ACTIVE", vif=VIF)
    with session.writer() as db:
        return instances.create(
            db, project_id="p", user_id="u", display_name="lm", hostname="lm", host="compute1", vm_state="active", memory_mib=64,
            vcpus=1, root_gib=1, reservation_id="r", network_info=[to_primitive(port)],
        ).uuid  # fmt: skip


def test_the_host_hears_of_new_rules_and_only_of_a_change(server: str) -> None:
    conf = cfg.ConfigOpts()
    network, computes = Network(conf), Computes()
    tasks = ServerTasks(conf, cast(Any, computes), threading.Event(), cast(Any, None), ServerPorts(conf, network))
    context = service_context("req-1", "req-a")

    tasks.refresh_ports(context, server)
    assert computes.told == {}

    network.vif = dataclasses.replace(VIF, rules=(RULE,))
    tasks.refresh_ports(context, server)
    assert [one.vifs[0].rules for one in computes.told["compute1"]] == [(RULE,)]
    assert computes.asked_for == [context]
