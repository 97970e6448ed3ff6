"""Networks of the embedded kind, and the ports of servers on them."""

from __future__ import annotations

import ipaddress
import uuid as uuids
from collections.abc import Collection

import sqlalchemy as sa
from oslo_db import exception as db_exception
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import Network, Port
from nova_blockmigrate.db.queries import rows, security_groups
from nova_blockmigrate.objects import Segment, VifType

FLAT = Segment()


def create(
    db: orm.Session,
    name: str,
    bridge: str,
    cidr: str,
    gateway: str,
    mtu: int = 1500,
    id: str | None = None,
    segment: Segment = FLAT,
    port_security: bool = True,
    vif_type: VifType = VifType.BRIDGE,
) -> Network:
    """
    :raises exceptions.NameInUse:
    """
    network = Network(
        id=id or str(uuids.uuid4()),
        name=name,
        bridge=bridge,
        cidr=cidr,
        gateway=gateway,
        mtu=mtu,
        segment_kind=segment.kind.value,
        segment_id=segment.id,
        physical_network=segment.physical_network,
        port_security=port_security,
        vif_type=vif_type.value,
    )
    try:
        return rows.add(db, network)
    except db_exception.DBDuplicateEntry as error:
        raise exceptions.NameInUse(what="network", name=name) from error


def get(db: orm.Session, id: str) -> Network:
    """
    :raises exceptions.NetworkNotFound:
    """
    network = db.get(Network, id)
    if network is None:
        raise exceptions.NetworkNotFound(network_id=id)
    return network


def search(db: orm.Session, name: str | None = None) -> list[Network]:
    statement = sa.select(Network).order_by(Network.created_at, Network.id)
    return list(db.scalars(statement.where(Network.name == name) if name is not None else statement))


def delete(db: orm.Session, id: str) -> None:
    """
    :raises exceptions.NetworkNotFound:
    :raises exceptions.Conflict: servers are on it.
    """
    network = get(db, id)
    if db.scalar(sa.select(sa.func.count()).select_from(Port).where(Port.network_id == id)):
        raise exceptions.Conflict(f"Network {network.name} has ports: delete the servers on it first.")
    db.delete(network)
    db.flush()


def free_address(cidr: str, gateway: str, used: Collection[str]) -> str | None:
    """The lowest address of `cidr` that is nobody's; None when there is none."""
    for address in ipaddress.IPv4Network(cidr).hosts():
        if str(address) != gateway and str(address) not in used:
            return str(address)
    return None


def mac_address(ip_address: str) -> str:
    """The MAC of the port that has `ip_address`: fa:16:3e, then the last three bytes of the address.

    So a guest without DHCP can derive its address from its MAC.
    """
    return "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(ip_address).packed[1:])


def allocate_port(db: orm.Session, network_id: str, instance_id: int | None) -> Port:
    """
    :raises exceptions.NetworkNotFound:
    :raises exceptions.NoMoreAddresses:
    """
    network = get(db, network_id)
    db.execute(sa.select(Network.id).where(Network.id == network_id).with_for_update())  # one allocation at a time
    used = set(db.scalars(sa.select(Port.ip_address).where(Port.network_id == network_id)))
    address = free_address(network.cidr, network.gateway, used)
    if address is None:
        raise exceptions.NoMoreAddresses(network=network.name)
    return rows.add(
        db,
        Port(
            id=str(uuids.uuid4()),
            network_id=network_id,
            instance_id=instance_id,
            mac_address=mac_address(address),
            ip_address=address,
        ),
    )


def release_ports(db: orm.Session, instance_id: int) -> None:
    ports = db.scalars(sa.select(Port).where(Port.instance_id == instance_id)).all()
    security_groups.unbind(db, [port.id for port in ports])
    for port in ports:
        db.delete(port)
    db.flush()
