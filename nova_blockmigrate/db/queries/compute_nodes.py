"""Hypervisors and what they have."""

from __future__ import annotations

import dataclasses
import uuid as uuids

import sqlalchemy as sa
from sqlalchemy import orm

from nova_blockmigrate import exceptions
from nova_blockmigrate.db.models import ComputeNode
from nova_blockmigrate.db.queries import rows, services
from nova_blockmigrate.objects import HostResources

COMPUTE_BINARY = "nova-compute"


def report(db: orm.Session, resources: HostResources) -> ComputeNode:
    """What a host says of itself. Its compute service must have reported before.

    :raises exceptions.ServiceNotFound:
    """
    service = services.get(db, resources.host, COMPUTE_BINARY)
    values = dataclasses.asdict(resources)
    node = db.scalar(sa.select(ComputeNode).where(ComputeNode.host == resources.host))
    if node is None:
        return rows.add(db, ComputeNode(uuid=str(uuids.uuid4()), service_id=service.id, **values))
    return rows.assign(db, node, values)


def get_by_host(db: orm.Session, host: str) -> ComputeNode:
    """
    :raises exceptions.ComputeHostNotFound:
    """
    node = db.scalar(sa.select(ComputeNode).where(ComputeNode.host == host))
    if node is None:
        raise exceptions.ComputeHostNotFound(host=host)
    return node


def find(db: orm.Session, identifier: str | int) -> ComputeNode | None:
    """The hypervisor with this uuid (as text) or id (as number)."""
    column = ComputeNode.uuid if isinstance(identifier, str) else ComputeNode.id
    return db.scalar(sa.select(ComputeNode).where(column == identifier))


def all(db: orm.Session) -> list[ComputeNode]:
    """Every hypervisor, in the order in which they became known."""
    return list(db.scalars(sa.select(ComputeNode).order_by(ComputeNode.id)))
