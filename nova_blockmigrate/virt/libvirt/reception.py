"""What a guest would find on this host: whether its names are free, its networks, machine and CPU there. Reads only."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import libvirt
from lxml import etree

from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.network import links, openvswitch
from nova_blockmigrate.network.plumbing import Plumbing
from nova_blockmigrate.objects import GuestDescription, Server
from nova_blockmigrate.survey import Reception
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.libvirt import domain_xml, placing
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.inspect_route import why_unreachable
from nova_blockmigrate.virt.libvirt.resources import Capabilities, why_cpu_unfit
from nova_blockmigrate.virt.libvirt.volumes import without_volumes
from nova_blockmigrate.volume import brick, connecting


def survey(
    host: Host,
    capabilities: Capabilities,
    manifests: Manifests,
    plumbing: Plumbing,
    server: Server,
    guest: GuestDescription,
    instances_path: str,
    connected: Callable[[str], bool],
) -> Reception:
    """`connected`: whether volumes of a protocol are connected by os-brick here."""
    tree = without_volumes(etree.fromstring(guest.xml.encode()), server)
    facts = DomainFacts(etree.tostring(tree, encoding="unicode"))
    names, macs = _taken(host, server, tree)
    machine_problem = _machine_problem(host, capabilities, facts, tree)
    cpu_problem = ""
    if facts.cpu_xml and not machine_problem:
        cpu_problem = why_cpu_unfit(host, facts.virt_type, facts.machine_type, facts.cpu_xml)
    missing_bytes, unplaced = _find_places(guest, manifests, host.name)
    return Reception(
        names_taken=tuple(names),
        macs_taken=tuple(macs),
        files_taken=_taken_files(server, guest, instances_path) | unplaced,
        networks_missing=_missing_networks(plumbing, server, facts),
        cpu_problem=cpu_problem,
        machine_problem=machine_problem,
        firmware_missing=tuple(path for path in _firmware(tree) if not os.access(path, os.R_OK)),
        secrets_missing=tuple(secret for secret in _secrets(tree) if not _has_secret(host, secret)),
        volumes_unreachable=_unreachable(server, connected),
        libvirt_networks_missing=tuple(name for name in facts.libvirt_networks if not _has_network(host, name)),
        devices_missing=tuple(path for path in facts.host_devices if not os.path.exists(path)),
        missing_base_bytes=missing_bytes,
    )


def _missing_networks(plumbing: Plumbing, server: Server, facts: DomainFacts) -> tuple[str, ...]:
    """Networks that the guest cannot have here; bridges that only its domain names must be there already."""
    ours = {vif.bridge for vif in server.vifs}
    switches = facts.ovs_bridges
    there = {name: openvswitch.has_bridge(name) if name in switches else links.is_bridge(name) for name in facts.bridges}
    foreign = [name for name, is_there in there.items() if name not in ours and not is_there]
    return (*plumbing.why_not(server.vifs), *(f"bridge {name} does not exist on this host: create it" for name in foreign))


def _unreachable(server: Server, connected: Callable[[str], bool]) -> tuple[str, ...]:
    """What volumes are behind that this host does not get to, or cannot connect."""
    missing = [brick.why_not(protocol) for protocol in sorted({each.protocol for each in server.volumes}) if connected(protocol)]
    portals = dict.fromkeys(filter(None, map(connecting.portal, server.volumes)))
    tried = in_parallel([functools.partial(why_unreachable, *portal) for portal in portals])
    unreached = [f"{address} port {port}: {why}" for (address, port), why in zip(portals, tried, strict=True) if why]
    return (*filter(None, missing), *unreached)


def _taken(host: Host, server: Server, tree: Any) -> tuple[list[str], list[str]]:
    """Names and UUIDs, and MAC addresses, of the guest that domains of this host have already."""
    names, macs = [], []
    wanted = {mac.lower() for mac in tree.xpath("devices/interface/mac/@address")} | {vif.mac.lower() for vif in server.vifs}
    with host.errors("list domains"):
        for domain in host.connection().listAllDomains():
            name = domain.name()
            if domain.UUIDString() == server.uuid:
                names.append(f"a domain with the UUID {server.uuid} ({name})")
            elif name == server.domain_name:
                names.append(f"another domain named {name}")
            for mac in wanted & _macs(domain):
                macs.append(f"{mac} (domain {name})")
    return names, sorted(macs)


def _macs(domain: Any) -> set[str]:
    try:
        tree: Any = etree.fromstring(domain.XMLDesc(0).encode())
    except libvirt.libvirtError:  # it is gone meanwhile
        return set()
    return {mac.lower() for mac in tree.xpath("devices/interface/mac/@address")}


def _taken_files(server: Server, guest: GuestDescription, instances_path: str) -> dict[str, int]:
    """Number of each file that is where one of the guest's shall be; of its directory when that holds anything."""
    directory = str(domain_xml.instance_directory(instances_path, server.uuid))
    paths = [f"{directory}/disk", *(disk.layers[0].path for disk in guest.disks if disk.is_copied)]
    paths += [guest.nvram.path] if guest.nvram else []
    found = {path: os.stat(path).st_ino for path in dict.fromkeys(paths) if os.path.exists(path)}
    if not found and os.path.isdir(directory) and os.listdir(directory):
        found[directory] = os.stat(directory).st_ino
    return found


def _find_places(guest: GuestDescription, manifests: Manifests, host: str) -> tuple[int, dict[str, int]]:
    """Bytes of files that have to be brought, and (with its number) each file that has the name of one of them and other bytes."""
    missing_bytes, taken = 0, {}
    movable = placing.movable(guest)
    for layer in guest.unchanging_files:
        place = placing.find(layer, layer.path in movable, manifests, host)
        if place is None:
            taken[layer.path] = os.stat(layer.path).st_ino
        elif not place.is_there:
            missing_bytes += layer.allocated_bytes
    return missing_bytes, taken


def _machine_problem(host: Host, capabilities: Capabilities, facts: DomainFacts, tree: Any) -> str:
    if facts.machine_type and facts.machine_type not in capabilities.machine_types(facts.arch):
        return f"machine type {facts.machine_type} is unknown to the QEMU of {host.name}"
    emulator = tree.findtext("devices/emulator", "")
    if emulator and not os.access(emulator, os.X_OK):
        return f"{emulator}, which runs the guest, cannot be run on {host.name}"
    return ""


def _firmware(tree: Any) -> list[str]:
    """Firmware, which comes from packages; each file must lie on the destination under the same name."""
    nodes = tree.xpath("os/loader/text()")
    return list(dict.fromkeys(str(node) for node in nodes))


def _secrets(tree: Any) -> list[str]:
    """UUIDs of libvirt secrets of vTPMs and disks: libvirt does not bring them along. (Those of volumes are made beforehand.)"""
    nodes = [*tree.xpath("devices/tpm/backend/encryption/@secret"), *tree.xpath("devices/disk//secret/@uuid")]
    return list(dict.fromkeys(str(node) for node in nodes))


def _has_network(host: Host, name: str) -> bool:
    """Whether a libvirt network runs here."""
    try:
        return bool(host.connection().networkLookupByName(name).isActive())
    except libvirt.libvirtError:
        return False


def _has_secret(host: Host, uuid: str) -> bool:
    try:
        host.connection().secretLookupByUUIDString(uuid)
    except libvirt.libvirtError:
        return False
    return True
