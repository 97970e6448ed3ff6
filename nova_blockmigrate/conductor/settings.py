"""What the conductor derives from rows and options for its pure functions."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from oslo_config import cfg
from sqlalchemy import orm

from nova_blockmigrate.conductor.preflight import HostFacts
from nova_blockmigrate.conductor.scheduler import Candidate
from nova_blockmigrate.db import models
from nova_blockmigrate.db.queries import compute_nodes, instances, migrations, services
from nova_blockmigrate.objects import ImageRef, Server, Vif


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
        vifs=tuple(
            Vif(
                port_id=port.id,
                mac=port.mac_address,
                bridge=port.network.bridge,
                tap=f"tap{port.id[:11]}",
                ip_address=port.ip_address,
                mtu=port.network.mtu,
            )
            for port in instance.ports
        ),
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
    )


def candidates(conf: cfg.ConfigOpts, db: orm.Session, now: datetime.datetime) -> list[Candidate]:
    """All compute hosts, for `scheduler.rank`."""
    moving = migrations.unfinished(db)
    return [_candidate(conf, db, node, moving, now) for node in compute_nodes.all(db)]


def _candidate(
    conf: cfg.ConfigOpts,
    db: orm.Session,
    node: models.ComputeNode,
    moving: Iterable[models.Migration],
    now: datetime.datetime,
) -> Candidate:
    here = instances.on_host(db, node.host)
    arriving = [migration for migration in moving if migration.dest_compute == node.host]
    arriving_mib = sum(instances.get(db, migration.instance_uuid).memory_mib for migration in arriving)
    promised_mib = sum(instance.memory_mib for instance in here if instance.vm_state != "stopped") + arriving_mib
    total_mib = int(node.memory_mib * conf.ram_allocation_ratio) - conf.reserved_host_memory_mb
    return Candidate(
        host=node.host,
        up=services.is_up(node.service, now, conf.service_down_time),
        disabled=node.service.disabled,
        free_memory_mib=total_mib - max(node.memory_used_mib, promised_mib),
        free_disk_bytes=node.disk_free_bytes - conf.reserved_host_disk_mb * 1024**2,
        moving=sum(node.host in (migration.source_compute, migration.dest_compute) for migration in moving),
    )
