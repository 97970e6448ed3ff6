"""Guests that somebody else made: what they are, and which of their files belong to each alone. Changes nothing of them."""

from __future__ import annotations

from typing import Any

import libvirt

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.objects import Artefact, Server
from nova_blockmigrate.survey import FoundGuest
from nova_blockmigrate.virt.driver import Ledger
from nova_blockmigrate.virt.libvirt import addresses, disks, in_use
from nova_blockmigrate.virt.libvirt.domain_xml import DomainDisk, DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import power_state
from nova_blockmigrate.virt.libvirt.unmake import ADOPTED, DOMAIN


def find(host: Host, names: tuple[str, ...]) -> tuple[FoundGuest, ...]:
    """Guests of this host by name or UUID; without any, all."""
    with host.errors("list domains"):
        domains = host.connection().listAllDomains()
    wanted = [domain for domain in domains if not names or {domain.name(), domain.UUIDString()} & {*names}]
    return tuple(found for domain in wanted if (found := _found(domain, host.name)))


def _found(domain: Any, host: str) -> FoundGuest | None:
    try:
        xml = domain.XMLDesc(0)
        facts = DomainFacts(xml)
        return FoundGuest(
            uuid=domain.UUIDString(),
            name=domain.name(),
            memory_mib=facts.memory_mib,
            vcpus=facts.vcpus,
            disk_bytes=sum(_virtual_size(disk, host) for disk in facts.disks),
            power_state=int(power_state(*domain.state())),
            saved=bool(domain.hasManagedSaveImage(0)),
            persistent=bool(domain.isPersistent()),
            interfaces=facts.interfaces,
            volumes=facts.volumes,
            addresses=addresses.read(domain, xml) if domain.isActive() else (),
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # it is gone meanwhile
            return None
        raise


def _virtual_size(disk: DomainDisk, host: str) -> int:
    if disk.source_type != "file" or not disk.path or disk.device != "disk":
        return 0
    try:
        return disks.read_chain(disk.path, disk.format, host)[0].virtual_size_bytes
    except StorageError:  # a finding of the checks
        return 0


def adopt(host: Host, server: Server, ledger: Ledger) -> tuple[str, ...]:
    """List what belongs to a guest alone: the files that it writes to. What is below or beside them may be others', too.

    Returns what is not listed, in words.
    :raises GuestNotFound: it is not here.
    """
    domain = host.domain(server.uuid, server.domain_name)
    with host.errors("read the guest's definition", server.domain_name):
        facts = DomainFacts(domain.XMLDesc(0))
    users = {path: in_use.users_of(host, path, but=server.uuid) for path in own_files(facts)}
    listed = [Artefact(ADOPTED, path) for path, words in users.items() if not words]
    for artefact in [*listed, Artefact(DOMAIN, server.uuid)]:  # (all has been looked at: a guest that cannot be is not half listed)
        with ledger.entry(artefact.kind, artefact.name):
            pass
    return tuple(f"{path} will stay when the server goes: {words}" for path, words in users.items() if words)


def own_files(facts: DomainFacts) -> tuple[str, ...]:
    """Files that a guest writes to and that no other guest is meant to."""
    written = [disk for disk in facts.disks if disk.source_type == "file" and not disk.readonly and not disk.shareable]
    return tuple(dict.fromkeys(path for path in [*(disk.path for disk in written), facts.nvram[0]] if path))
