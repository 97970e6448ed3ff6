"""Security groups: default rules, members, and whom a change concerns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db import session
from nova_blockmigrate.db.models import Instance
from nova_blockmigrate.db.queries import instances, networks, security_groups


@pytest.fixture
def db(database: None) -> Iterator[orm.Session]:
    with session.writer() as db:
        yield db


def server(db: orm.Session, name: str) -> Instance:
    return instances.create(
        db, project_id="p", user_id="u", display_name=name, hostname=name, vm_state="active", memory_mib=64, vcpus=1, root_gib=1,
        reservation_id="r",
    )  # fmt: skip


def port(db: orm.Session, name: str, *groups: str) -> str:
    known = networks.search(db, "n")
    network = known[0] if known else networks.create(db, "n", "br0", "10.1.2.0/24", "10.1.2.1")
    made = networks.allocate_port(db, network.id, server(db, name).id)
    for group in groups:
        security_groups.bind(db, [made.id], group)
    return made.ip_address


def test_a_new_group_lets_out_and_nothing_in(db: orm.Session) -> None:
    group = security_groups.create(db, "p", "web")
    assert {(rule.direction, rule.ethertype) for rule in security_groups.rules_of(db, [group.id])} == {
        ("egress", "IPv4"), ("egress", "IPv6"),
    }  # fmt: skip


def test_the_default_group_is_made_once_and_its_members_reach_each_other(db: orm.Session) -> None:
    group = security_groups.get(db, "p", "default")
    assert security_groups.default(db, "p").id == group.id
    remotes = [rule.remote_group_id for rule in security_groups.rules_of(db, [group.id]) if rule.direction == "ingress"]
    assert remotes == [group.id, group.id]


def test_a_name_is_used_once_in_a_project(db: orm.Session) -> None:
    security_groups.create(db, "p", "web")
    security_groups.create(db, "q", "web")
    with pytest.raises(exceptions.NameInUse):
        security_groups.create(db, "p", "web")


def test_another_projects_group_is_not_found(db: orm.Session) -> None:
    group = security_groups.create(db, "q", "web")
    with pytest.raises(exceptions.SecurityGroupNotFound):
        security_groups.get(db, "p", group.id)


def test_members_are_addresses(db: orm.Session) -> None:
    group = security_groups.create(db, "p", "web")
    addresses = {port(db, "a", group.id), port(db, "b", group.id)}
    port(db, "c")
    assert set(security_groups.members(db, [group.id])[group.id]) == addresses


def test_a_change_concerns_members_and_those_whose_rules_name_the_group(db: orm.Session) -> None:
    web, data, other = (security_groups.create(db, "p", name) for name in ("web", "data", "other"))
    security_groups.add_rule(db, data.id, direction="ingress", ethertype="IPv4", remote_group_id=web.id)
    for name, group in (("a", web), ("b", data), ("c", other)):
        port(db, name, group.id)
    assert [one.display_name for one in security_groups.servers_guarded_by(db, [web.id])] == ["a", "b"]


def test_a_group_with_servers_or_named_by_others_cannot_be_deleted(db: orm.Session) -> None:
    web, data = (security_groups.create(db, "p", name) for name in ("web", "data"))
    rule = security_groups.add_rule(db, data.id, direction="ingress", ethertype="IPv4", remote_group_id=web.id)
    with pytest.raises(exceptions.Conflict, match="rules of other groups"):
        security_groups.delete(db, web)
    security_groups.delete_rule(db, rule)
    port(db, "a", web.id)
    with pytest.raises(exceptions.Conflict, match="has servers"):
        security_groups.delete(db, web)
    security_groups.delete(db, data)
    assert [group.name for group in security_groups.search(db, "p")] == ["web"]


def test_ports_leave_their_groups_when_they_go(db: orm.Session) -> None:
    group = security_groups.create(db, "p", "web")
    port(db, "a", group.id)
    (member,) = security_groups.servers_guarded_by(db, [group.id])
    networks.release_ports(db, member.id)
    assert security_groups.members(db, [group.id])[group.id] == ()
