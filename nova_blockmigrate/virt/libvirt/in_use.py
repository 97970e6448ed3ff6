"""Who uses a file on this host, according to libvirt: asked before something that may be shared is removed. Reads only."""

from __future__ import annotations

import os
from typing import Any

import libvirt

from nova_blockmigrate.exceptions import StorageError
from nova_blockmigrate.virt.libvirt import disks
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host


def users_of(host: Host, path: str, but: str) -> str:
    """In words, which domains (other than the one with the UUID `but`) use a file or may do so; empty when none does.

    A domain whose disks cannot be read may use it.
    """
    with host.errors("list domains"):
        domains = host.connection().listAllDomains()
    return ", ".join(words for domain in domains if domain.UUIDString() != but and (words := _use(host, domain, path)))


def used_files(host: Host) -> set[str]:
    """Real paths of all files that domains of this host use, now or when they start next.

    :raises StorageError: the disks of one cannot be read.
    """
    with host.errors("list domains"):
        domains = host.connection().listAllDomains()
    found: set[str] = set()
    for domain in domains:
        for text in _texts(domain):
            found |= _files(DomainFacts(text), host)
    return {os.path.realpath(path) for path in found if path}


def _texts(domain: Any) -> set[str]:
    """Its definitions; none when it is gone meanwhile."""
    try:
        return {domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)}
    except libvirt.libvirtError:
        return set()


def _use(host: Host, domain: Any, path: str) -> str:
    try:
        used = any(path in _files(DomainFacts(text), host) for text in _texts(domain))
    except StorageError as error:
        return f"domain {domain.name()} may use it ({error.message})"
    return f"domain {domain.name()} uses it" if used else ""


def _files(facts: DomainFacts, host: Host) -> set[str]:
    """All files of a domain, with the chains of its disks."""
    found = {*facts.boot_files, facts.nvram[0]}
    for disk in facts.disks:
        if disk.source_type == "file" and disk.path:
            found |= {layer.path for layer in disks.read_chain(disk.path, disk.format, host.name)}
    return found
