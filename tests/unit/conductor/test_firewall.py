"""Which hosts hear of a change of security groups, and what they hear."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from nova_blockmigrate import conf as configuration
from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor import firewall
from nova_blockmigrate.context import service_context
from nova_blockmigrate.db import models, schema, session
from nova_blockmigrate.db.queries import instances, networks, security_groups
from nova_blockmigrate.objects import Server, from_primitive


class Computes:
    """Takes notes; hosts in `silent` do not answer, and that of `refusing` cannot do it."""

    def __init__(self, *silent: str, refusing: str = "") -> None:
        self.silent = silent
        self.refusing = refusing
        self.told: dict[str, list[Server]] = {}
        self.asked_for: list[Any] = []
        """The contexts of those who asked for it."""

    def refresh_firewall(self, context: Any, host: str, servers: list[Any]) -> None:
        if host in self.silent:
            raise oslo_messaging.MessagingTimeout("silent")
        if host == self.refusing:
            raise exceptions.NetworkError(host=host, action="guard a guest", reason="syntax error")
        self.asked_for.append(context)
        self.told[host] = [from_primitive(Server, server) for server in servers]


@pytest.fixture
def database(tmp_path: pathlib.Path) -> Iterator[None]:
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    conf([], default_config_files=[])
    conf.set_override("state_path", str(tmp_path))
    session.register(conf)
    if url := os.environ.get("NBM_TEST_DATABASE"):
        conf.set_override("connection", url, group="database")
    schema.sync(conf)
    with session.writer() as db:
        for table in reversed(models.Base.metadata.sorted_tables):
            db.execute(table.delete())
    yield
    session.dispose()


@pytest.fixture
def groups(database: None) -> dict[str, str]:
    """ "data" lets "web" in. lm-web is on compute1, lm-data on compute2, lm-other (in no group) on compute3."""
    with session.writer() as db:
        network = networks.create(db, "n", "br0", "10.0.0.0/24", "10.0.0.1")
        made = {name: security_groups.create(db, "p", name).id for name in ("web", "data")}
        security_groups.add_rule(db, made["data"], direction="ingress", ethertype="IPv4", remote_group_id=made["web"])
        for number, name in enumerate(("web", "data", "other"), start=1):
            server = instances.create(
                db, project_id="p", user_id="u", display_name=f"lm-{name}", hostname=name, host=f"compute{number}",
                vm_state="active", memory_mib=64, vcpus=1, root_gib=1, reservation_id="r",
            )  # fmt: skip
            port = networks.allocate_port(db, network.id, server.id)
            if name in made:
                security_groups.bind(db, [port.id], made[name])
    return made


def test_members_and_those_who_let_them_in_are_told(groups: dict[str, str]) -> None:
    computes = Computes()
    firewall.refresh(computes, service_context(), [groups["web"]])  # type: ignore[arg-type]
    assert sorted(computes.told) == ["compute1", "compute2"]
    (vif,) = computes.told["compute2"][0].vifs
    assert vif.port_security
    assert vif.group_members == {groups["web"]: ("10.0.0.2",)}
    assert [rule.remote_group for rule in vif.rules if rule.direction == "ingress"] == [groups["web"]]


def test_a_silent_host_hides_no_other(groups: dict[str, str]) -> None:
    computes = Computes("compute1")
    firewall.refresh(computes, service_context(), [groups["web"]])  # type: ignore[arg-type]
    assert sorted(computes.told) == ["compute2"]


def test_a_host_whose_kernel_refuses_hides_no_other(groups: dict[str, str]) -> None:
    computes = Computes(refusing="compute1")
    firewall.refresh(computes, service_context(), [groups["web"]])  # type: ignore[arg-type]
    assert sorted(computes.told) == ["compute2"]


def test_a_server_that_left_its_groups_is_told_of(groups: dict[str, str]) -> None:
    with session.reader() as db:
        other = instances.on_host(db, "compute3")[0].uuid
    computes = Computes()
    firewall.refresh(computes, service_context(), [groups["data"]], [other])  # type: ignore[arg-type]
    assert sorted(computes.told) == ["compute2", "compute3"]
    assert computes.told["compute3"][0].vifs[0].rules == ()


def test_a_host_that_asks_hears_of_its_guests(groups: dict[str, str]) -> None:
    (guest,) = [from_primitive(Server, one) for one in firewall.guests_of("compute1")]
    assert guest.display_name == "lm-web"
    assert {rule.direction for rule in guest.vifs[0].rules} == {"egress"}
