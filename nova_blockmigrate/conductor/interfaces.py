"""A server's interfaces as hosts know them: ports and networks, with the security groups' rules as they are now."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import orm

from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import security_groups
from nova_blockmigrate.objects import SecurityRule, Segment, SegmentKind, Vif, VifType


def vifs_of(ports: Sequence[models.Port]) -> tuple[Vif, ...]:
    """The interfaces of ports, in their order."""
    groups = {group.id for port in ports if port.network.port_security for group in port.security_groups}
    if not groups:
        return tuple(_vif(port, (), {}) for port in ports)
    with session.reader() as db:
        rules, members = _rules(db, sorted(groups))
    return tuple(_vif(port, _of_port(port, rules), members) for port in ports)


def _rules(db: orm.Session, groups: list[str]) -> tuple[dict[str, list[SecurityRule]], dict[str, tuple[str, ...]]]:
    """Rules by group, and the members of the groups that they name."""
    rows = security_groups.rules_of(db, groups)
    rules: dict[str, list[SecurityRule]] = {}
    for row in rows:
        rules.setdefault(row.group_id, []).append(rule_of(row))
    named = sorted({row.remote_group_id for row in rows if row.remote_group_id})
    return rules, security_groups.members(db, named) if named else {}


def rule_of(row: models.SecurityGroupRule) -> SecurityRule:
    return SecurityRule(
        direction=row.direction,
        ethertype=row.ethertype,
        protocol=row.protocol,
        port_min=row.port_min,
        port_max=row.port_max,
        remote_cidr=row.remote_cidr,
        remote_group=row.remote_group_id or "",
    )


def _of_port(port: models.Port, rules: dict[str, list[SecurityRule]]) -> tuple[SecurityRule, ...]:
    return tuple(dict.fromkeys(rule for group in port.security_groups for rule in rules.get(group.id, ())))


def _vif(port: models.Port, rules: tuple[SecurityRule, ...], members: dict[str, tuple[str, ...]]) -> Vif:
    network = port.network
    named = {rule.remote_group for rule in rules if rule.remote_group}
    kind, bridge, switch = _place(port)
    return Vif(
        port_id=port.id,
        mac=port.mac_address,
        bridge=bridge,
        tap=f"tap{port.id[:11]}",
        ip_address=port.ip_address,
        mtu=network.mtu,
        vif_type=kind,
        segment=Segment(SegmentKind(network.segment_kind), network.segment_id, network.physical_network),
        port_security=network.port_security,
        rules=rules,
        group_members={group: members.get(group, ()) for group in sorted(named)},
        ovs_bridge=switch,
    )


def _place(port: models.Port) -> tuple[VifType, str, str]:
    """What it is plugged into, the bridge of its tap, and Open vSwitch's behind that: who is guarded needs a Linux bridge."""
    network = port.network
    kind = VifType(network.vif_type)
    if kind is VifType.OVS and network.port_security:
        return VifType.OVS_HYBRID, f"qbr{port.id[:11]}", network.bridge
    return kind, network.bridge, ""
