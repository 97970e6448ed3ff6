"""Values of ours for what Nova and libvirt say of a guest that is to be moved."""

from __future__ import annotations

import os
from typing import Any

import libvirt

from nova_blockmigrate.objects import DiskLayer, GuestDescription, GuestDisk, MigrationPlan, PowerState, Server
from nova_blockmigrate.virt.libvirt.describe import migratable_xml
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts
from nova_blockmigrate.virt.libvirt.observe import power_state


def plan(instance: Any, migration: Any, source: str, destination: str, block_migration: bool) -> MigrationPlan:
    """`instance` and `migration` are Nova's objects."""
    server = Server(
        uuid=instance.uuid,
        domain_name=instance.name,
        display_name=instance.display_name or "",
        memory_mib=instance.flavor.memory_mb,
        vcpus=instance.flavor.vcpus,
        root_gib=instance.flavor.root_gb,
        image=None,
    )
    return MigrationPlan(migration.id, migration.uuid, server, source, destination, block_migration)


def describe(domain: Any, copied_disks: tuple[str, ...]) -> GuestDescription:
    """A guest of this host; of its disks those that are copied, with what they take."""
    xml = migratable_xml(domain)
    facts = DomainFacts(xml)
    disks = [disk for disk in facts.disks if disk.target_dev in copied_disks]
    return GuestDescription(
        uuid=domain.UUIDString(),
        domain_name=domain.name(),
        power_state=power_state(*domain.state()),
        memory_mib=facts.memory_mib,
        vcpus=facts.vcpus,
        disks=tuple(GuestDisk(disk.target_dev, disk.device, disk.source_type, False, _layers(disk)) for disk in disks),
        persistent=bool(domain.isPersistent()),
        xml=xml,
    )


def _layers(disk: Any) -> tuple[DiskLayer, ...]:
    try:
        return (DiskLayer(disk.path, disk.format, 0, os.stat(disk.path).st_blocks * 512),)
    except OSError:  # its size only limits how long the transfer may take
        return ()


def on_its_way(instance: Any) -> GuestDescription:
    """What the destination must know of a guest before it comes: whether it is paused, above all."""
    flavor = instance.flavor
    return GuestDescription(
        uuid=instance.uuid,
        domain_name=instance.name,
        power_state=PowerState.PAUSED if instance.vm_state == "paused" else PowerState.RUNNING,
        memory_mib=flavor.memory_mb,
        vcpus=flavor.vcpus,
        disks=(),
        persistent=True,
        xml="",
    )


def without_impossible(flags: int) -> int:
    """Flags of Nova's that cannot be had: post-copy lets the destination start the guest by itself, and the switch is ours."""
    return flags & ~int(libvirt.VIR_MIGRATE_POSTCOPY)


def flags(chosen: int, copies_disks: bool) -> int:
    """Flags of one transfer. NON_SHARED_INC without a list of disks would copy every writable disk, volumes, too."""
    wanted = without_impossible(chosen)
    return wanted if copies_disks else wanted & ~int(libvirt.VIR_MIGRATE_NON_SHARED_INC)
