"""The source's account of a guest before a migration: state, devices, disks with their chains and hashes. Reads only."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import libvirt

from nova_blockmigrate.image import cache
from nova_blockmigrate.objects import DiskLayer, GuestDescription, GuestDisk, Server
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.libvirt import disks
from nova_blockmigrate.virt.libvirt.domain_xml import DomainDisk, DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import power_state


def describe(host: Host, server: Server) -> GuestDescription:
    """Describe a guest of this host.

    :raises GuestNotFound: libvirt does not know it.
    :raises StorageError: a disk's chain cannot be read.
    """
    domain = host.domain(server.uuid, server.domain_name)
    with host.errors("describe the guest", server.domain_name):
        xml = migratable_xml(domain)
        state, persistent = domain.state(), bool(domain.isPersistent())
    facts = DomainFacts(xml)
    chains = in_parallel([functools.partial(_disk, disk, host.name) for disk in facts.disks])
    return GuestDescription(
        uuid=server.uuid,
        domain_name=server.domain_name,
        power_state=power_state(*state),
        memory_mib=facts.memory_mib,
        vcpus=facts.vcpus,
        disks=tuple(chains),
        persistent=persistent,
        xml=xml,
        machine_type=facts.machine_type,
        cpu_model=facts.cpu_model,
    )


def migratable_xml(domain: Any) -> str:
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE))


def _disk(disk: DomainDisk, host: str) -> GuestDisk:
    layers: tuple[DiskLayer, ...] = ()
    if disk.source_type == "file" and disk.path:
        layers = disks.read_chain(disk.path, disk.format, host)
        layers = with_hashes(layers, disk.readonly, host)
    return GuestDisk(disk.target_dev, disk.device, disk.source_type, disk.readonly, layers)


def with_hashes(layers: tuple[DiskLayer, ...], readonly: bool, host: str) -> tuple[DiskLayer, ...]:
    """The layers, with the hash of each that nobody writes to."""
    written = 0 if readonly else 1
    hashed = [dataclasses.replace(layer, sha256=cache.file_hash(layer.path, host)) for layer in layers[written:]]
    return (*layers[:written], *hashed)
