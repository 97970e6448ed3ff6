"""The source's account of a guest before a migration: state, devices, disks with their chains and hashes. Reads only."""

from __future__ import annotations

import dataclasses
import functools
import os
import stat
from typing import Any

import libvirt

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.image import cache, manifest
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.objects import DiskLayer, GuestDescription, GuestDisk, Server
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.libvirt import disks, layouts
from nova_blockmigrate.virt.libvirt.domain_xml import DomainDisk, DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import power_state


def describe(host: Host, server: Server, manifests: Manifests) -> GuestDescription:
    """Describe a guest of this host.

    :raises GuestNotFound: libvirt does not know it.
    :raises StorageError: a disk's chain, or a file that it boots from, cannot be read.
    """
    domain = host.domain(server.uuid, server.domain_name)
    with host.errors("describe the guest", server.domain_name):
        xml = migratable_xml(domain)
        state, persistent, autostart = domain.state(), bool(domain.isPersistent()), bool(domain.autostart())
    facts = DomainFacts(xml)
    volumes = {volume.volume_id for volume in server.volumes}
    chains = in_parallel(
        [functools.partial(_volume if disk.serial in volumes else _disk, disk, manifests, host.name) for disk in facts.disks]
    )
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
        boot_files=tuple(_file(path, manifests, host.name) for path in facts.boot_files),
        nvram=_nvram(facts, host.name),
        autostart=autostart,
    )


def migratable_xml(domain: Any) -> str:
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE))


def _disk(disk: DomainDisk, manifests: Manifests, host: str) -> GuestDisk:
    layers: tuple[DiskLayer, ...] = ()
    problem = layouts.problem_of_source(disk)
    if not problem and disk.source_type == "file" and disk.path:
        info = disks.chain_info(disk.path, disk.format, host)
        problem = layouts.problem_of_chain(info, disk.readonly, is_regular_file)
        layers = disks.parse_chain(info)
        if not problem:
            layers = with_hashes(layers, disk.readonly, manifests, host)
    return GuestDisk(disk.target_dev, disk.device, disk.source_type, disk.readonly, layers, problem)


def _volume(disk: DomainDisk, manifests: Manifests, host: str) -> GuestDisk:
    """A volume is never copied, whatever it looks like on this host."""
    return GuestDisk(disk.target_dev, disk.device, disk.source_type, disk.readonly)


def is_regular_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def with_hashes(layers: tuple[DiskLayer, ...], readonly: bool, manifests: Manifests, host: str) -> tuple[DiskLayer, ...]:
    """The layers, with the hash of each that nobody writes to."""
    written = 0 if readonly else 1
    hashed = [dataclasses.replace(layer, sha256=cache.file_hash(manifests, layer.path, host)) for layer in layers[written:]]
    return (*layers[:written], *hashed)


def _file(path: str, manifests: Manifests, host: str) -> DiskLayer:
    """A file that is nothing but its bytes."""
    sha256 = cache.file_hash(manifests, path, host)
    status = os.stat(path)
    return DiskLayer(path, "raw", status.st_size, status.st_blocks * 512, sha256=sha256)


def _nvram(facts: DomainFacts, host: str) -> DiskLayer | None:
    path, file_format = facts.nvram
    if not path:
        return None
    layer = disks.read_chain(path, file_format, host)[0]
    try:
        return dataclasses.replace(layer, sha256=manifest.compute(path))
    except OSError as error:
        raise StorageError(host=host, action=f"read {path}", reason=str(error)) from error
