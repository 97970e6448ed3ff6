"""What the conductor derives from rows and options for its pure functions."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable

from oslo_config import cfg
from sqlalchemy import orm

from nova_blockmigrate.conductor import server_groups
from nova_blockmigrate.conductor.interfaces import vifs_of
from nova_blockmigrate.conductor.preflight import HostFacts
from nova_blockmigrate.conductor.scheduler import Candidate
from nova_blockmigrate.conductor.server_ports import known
from nova_blockmigrate.db import models
from nova_blockmigrate.db.queries import compute_nodes, instances, migrations, services
from nova_blockmigrate.objects import GuestDescription, ImageRef, Server, Vif, VolumeConnection, from_primitive


def server_of(instance: models.Instance) -> Server:
    """The server as hosts know it."""
    image = None
    if instance.image_id:
        image = ImageRef(instance.image_id, instance.image_format, instance.image_size_bytes, instance.image_sha256)
    return Server(
        uuid=instance.uuid,
        domain_name=instance.domain_name,
        display_name=instance.display_name,
        memory_mib=instance.memory_mib,
        vcpus=instance.vcpus,
        root_gib=instance.root_gib,
        image=image,
        vifs=_vifs(instance),
        volumes=tuple(
            connection_of(mapping, attachment)
            for mapping in instance.volumes
            for attachment in mapping.attachments
            if attachment.attachment_id
        ),
    )


def _vifs(instance: models.Instance) -> tuple[Vif, ...]:
    if instance.network_info is not None:
        return tuple(port.vif for port in known(instance))
    return vifs_of(instance.ports)


def connection_of(mapping: models.BlockDeviceMapping, attachment: models.VolumeAttachment) -> VolumeConnection:
    """A volume as a host reaches it, once the backend has said how."""
    return VolumeConnection(
        volume_id=mapping.volume_id,
        attachment_id=attachment.attachment_id or "",
        host=attachment.host,
        target_dev=mapping.target_dev,
        protocol=attachment.protocol,
        data=attachment.connection or {},
    )


def host_facts(conf: cfg.ConfigOpts, db: orm.Session, host: str, now: datetime.datetime) -> HostFacts:
    """What the database knows of a host; the host itself is asked for the rest."""
    service = services.find(db, host, compute_nodes.COMPUTE_BINARY)
    return HostFacts(
        name=host,
        exists=service is not None,
        service_up=service is not None and services.is_up(service, now, conf.service_down_time),
        disabled=service is not None and service.disabled,
        reserved_memory_mib=conf.reserved_host_memory_mb,
        reserved_disk_mib=conf.reserved_host_disk_mb,
        ram_allocation_ratio=conf.ram_allocation_ratio,
        disk_allocation_ratio=conf.disk_allocation_ratio,
        enforces_disk_ratio=conf.enforce_disk_allocation_ratio,
        moving=migrations.holding_slots_at(db, host),
    )


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a migration under way will need at its destination."""

    migration_uuid: str
    memory_mib: int
    disk_bytes: int
    server_uuid: str
    disk_gib: int
    """Virtual size of its local disk."""


def claims_on(db: orm.Session, host: str, but: str) -> list[Claim]:
    """Claims of the migrations to `host` that are queued or running; of those still being checked, only of older ones, so
    that of two which want the last free memory one gets it.

    `but` is the uuid of the migration that asks, or of none.
    """
    own_id = migrations.id_of(db, but)
    claims = []
    for migration, instance in migrations.coming_to(db, host):
        is_older = own_id is None or migration.id < own_id
        if (migration.dest_compute == host or is_older) and migration.uuid != but and not migration.rolling_back:
            claims.append(_claim(migration, instance))
    return claims


def _claim(migration: models.Migration, instance: models.Instance) -> Claim:
    guest = from_primitive(GuestDescription, migration.guest) if migration.guest else None
    disk_bytes = guest.allocated_bytes if guest else 0
    if migration.disk_processed:
        disk_bytes = max(0, disk_bytes - migration.disk_processed)
    return Claim(migration.uuid, instance.memory_mib, disk_bytes, instance.uuid, instance.root_gib)


def promised_disk_gib(db: orm.Session, host: str, claims: Iterable[Claim]) -> int:
    """Virtual size of all disks that are on a host, or will be as `claims` on it say."""
    here = instances.disk_gib_on(db, host)
    return sum(here.values()) + sum(claim.disk_gib for claim in claims if claim.server_uuid not in here)


def candidates(
    conf: cfg.ConfigOpts, db: orm.Session, now: datetime.datetime, group: server_groups.Group | None = None
) -> list[Candidate]:
    """All compute hosts, for `scheduler.rank`; as many statements for one as for a thousand. `group`: that of the server which
    looks for one."""
    here, coming = instances.memory_mib_by_host(db), migrations.memory_mib_coming(db)
    moving = migrations.moving_by_host(db)
    found = [
        _candidate(conf, node, here.get(node.host, 0) + coming.get(node.host, 0), moving.get(node.host, 0), now)
        for node in compute_nodes.all(db)
    ]
    if group is None:
        return found
    return [dataclasses.replace(one, refusal=group.refusal(one.host), distance=group.distance(one.host)) for one in found]


def _candidate(conf: cfg.ConfigOpts, node: models.ComputeNode, promised_mib: int, moving: int, now: datetime.datetime) -> Candidate:
    total_mib = int(node.memory_mib * conf.ram_allocation_ratio) - conf.reserved_host_memory_mb
    return Candidate(
        host=node.host,
        up=services.is_up(node.service, now, conf.service_down_time),
        disabled=node.service.disabled,
        free_memory_mib=total_mib - max(node.memory_used_mib, promised_mib),
        free_disk_bytes=node.disk_free_bytes - conf.reserved_host_disk_mb * 1024**2,
        moving=moving,
    )
