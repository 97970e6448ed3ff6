"""Volumes as disks of a domain: network disks that QEMU itself opens, and devices or files that os-brick has connected.

A disk is known by its serial number, which is the volume's id: names such as vdb may change hands, serial numbers do not.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable
from typing import Any

import libvirt
from lxml import etree
from lxml.builder import E

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import HypervisorError, StorageError
from nova_blockmigrate.objects import Server, VolumeConnection
from nova_blockmigrate.virt.libvirt import volume_access
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.volume_access import Way
from nova_blockmigrate.volume import connecting

REMOVAL_LIMIT_S = 30.0
"""How long a guest may take to let go of a disk."""
ASK_AGAIN_S = 5.0
"""A guest that was still booting may not have heard the request."""


# --- XML (pure) -------------------------------------------------------------------------------------------------------


def disk_xml(connection: VolumeConnection, way: Way) -> str:
    """The disk that a volume is in a guest.

    :raises StorageError: QEMU cannot reach such a volume by itself, or could not read what it holds.
    """
    if connection.data.get("encrypted"):
        raise StorageError(
            host=connection.host,
            action=f"use volume {connection.volume_id}",
            reason="it is encrypted, and the guest would get it as it lies there, without its key",
        )
    disk = E.disk(
        E.driver(name="qemu", type=way.format, cache="none", discard="unmap"),
        _source(connection, way),
        E.target(dev=connection.target_dev, bus="virtio"),
        E.serial(connection.volume_id),
        *([E.readonly()] if connection.data.get("access_mode") == "ro" else []),
        type=_disk_type(way),
        device="disk",
    )
    return str(etree.tostring(disk, encoding="unicode"))


def _disk_type(way: Way) -> str:
    return "network" if not way.path else "block" if way.is_block else "file"


def _source(connection: VolumeConnection, way: Way) -> Any:
    if way.path:
        return E.source(**{"dev" if way.is_block else "file": way.path})
    where = connecting.portal(connection)
    if connection.protocol != "iscsi" or where is None:
        raise StorageError(
            host=connection.host,
            action=f"reach volume {connection.volume_id}",
            reason=f"it is served as {connection.protocol or 'nothing'}, and QEMU's own initiator speaks iscsi only",
        )
    address, port = where
    secret = volume_access.secret_of(connection)
    user = connection.data.get("auth_username", "")
    return E.source(
        E.host(name=address, port=str(port)),
        E.initiator(E.iqn(name=way.initiator)),
        *([E.auth(E.secret(type="iscsi", uuid=secret), username=user)] if secret else []),
        protocol="iscsi",
        name=f"{connection.data['target_iqn']}/{connection.data.get('target_lun', 1)}",
    )


def with_volumes(xml: str, ways: Iterable[tuple[VolumeConnection, Way]]) -> str:
    """A domain's XML with its volumes as another host reaches them; all else stays, so the guest sees the same disks.

    :raises StorageError: the domain lacks one of them, or QEMU cannot reach it by itself.
    """
    tree: Any = etree.fromstring(xml.encode())
    for connection, way in ways:
        disk = _find(tree, connection.volume_id)
        if disk is None:
            raise StorageError(
                host=connection.host,
                action=f"prepare volume {connection.volume_id}",
                reason="the guest has no disk of that serial number",
            )
        disk.set("type", _disk_type(way))
        for driver in disk.findall("driver"):
            driver.set("type", way.format)
        disk.replace(disk.find("source"), _source(connection, way))
        for backing in disk.findall("backingStore"):  # (libvirt's account of the chain, as the other host had it)
            disk.remove(backing)
    return str(etree.tostring(tree, encoding="unicode"))


def without_volumes(tree: Any, server: Server) -> Any:
    """A domain's XML without a server's volumes, for looking at what the host itself has of it."""
    rest = copy.deepcopy(tree)
    for volume in server.volumes:
        disk = _find(rest, volume.volume_id)
        if disk is not None:
            disk.getparent().remove(disk)
    return rest


def _find(tree: Any, volume_id: str) -> Any | None:
    """The disk of a volume in a domain's XML."""
    return next((disk for disk in tree.iterfind("devices/disk") if disk.findtext("serial") == volume_id), None)


# --- attach and detach ------------------------------------------------------------------------------------------------


def disk_names(host: Host, server: Server) -> list[str]:
    """The names that disks of a guest have, running and at its next start."""
    domain = host.domain(server.uuid, server.domain_name)
    with host.errors("list its disks", server.domain_name):
        trees = [_tree(domain, flags) for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE)]
    return sorted({str(name) for tree in trees for name in tree.xpath("devices/disk/target/@dev")})


def attach(host: Host, server: Server, connection: VolumeConnection, way: Way) -> None:
    """Give a guest the disk, now if it runs and for its next start; where it has it already nothing is done.

    :raises HypervisorError: libvirt or QEMU refuses, as when the target does not let this host in.
    """
    domain = host.domain(server.uuid, server.domain_name)
    action = f"attach volume {connection.volume_id} as {connection.target_dev}"
    with host.errors(action, server.domain_name):
        flags = sum(flag for flag, tree in _definitions(domain) if _find(tree, connection.volume_id) is None)
        if flags:
            domain.attachDeviceFlags(disk_xml(connection, way), flags)


def reconnect(host: Host, server: Server, connect: Callable[[VolumeConnection], Way]) -> None:
    """Before a guest starts: devices and files that are its volumes may have gone, or got other names, with a boot of the host."""
    domain = host.find_domain(server.uuid)
    if domain is None or not server.volumes_at(host.name):
        return
    with host.errors("point it to its volumes", server.domain_name):
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    ways = [(each, connect(each)) for each in server.volumes_at(host.name) if path_of(xml, each)]
    if any(path_of(xml, each) != way.path for each, way in ways):
        with host.errors("point it to its volumes", server.domain_name):
            host.connection().defineXML(with_volumes(xml, ways))


def path_of(xml: str, connection: VolumeConnection) -> str:
    """The device or file that a volume is for a guest; empty when QEMU itself opens it, or the guest does not have it."""
    disk = _find(etree.fromstring(xml.encode()), connection.volume_id)
    source = None if disk is None else disk.find("source")
    return "" if source is None else str(source.get("dev") or source.get("file") or "")


def detach(host: Host, server: Server, connection: VolumeConnection) -> None:
    """Take the disk from a guest; from its next start only once the running guest has let go of it, so that both agree.

    :raises HypervisorError: libvirt refuses, or the guest does not let go of it.
    """
    domain = host.find_domain(server.uuid)
    if domain is None:
        return
    with host.errors(f"detach volume {connection.volume_id}", server.domain_name):
        if domain.isActive() and _find(_tree(domain, 0), connection.volume_id) is not None:
            _detach_from_running(host, domain, connection)
        disk = _find(_tree(domain, libvirt.VIR_DOMAIN_XML_INACTIVE), connection.volume_id)
        if disk is not None and domain.isPersistent():
            domain.detachDeviceFlags(etree.tostring(disk, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def _definitions(domain: Any) -> list[tuple[int, Any]]:
    """What a change of a domain must affect, by libvirt's flag: the running guest, if it runs, and its definition."""
    found = []
    if domain.isActive():
        found.append((libvirt.VIR_DOMAIN_AFFECT_LIVE, _tree(domain, 0)))
    if domain.isPersistent():
        found.append((libvirt.VIR_DOMAIN_AFFECT_CONFIG, _tree(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)))
    return found


def _tree(domain: Any, flags: int) -> Any:
    return etree.fromstring(domain.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_SECURE).encode())


def _detach_from_running(host: Host, domain: Any, connection: VolumeConnection) -> None:
    """Ask the guest to let go of the disk, again now and then, and wait for libvirt's word that it did."""
    clock = native.time.monotonic
    deadline = clock() + REMOVAL_LIMIT_S
    events = native.queue.SimpleQueue()
    with _Removals(host.connection(), domain.UUIDString(), events):
        while (disk := _find(_tree(domain, 0), connection.volume_id)) is not None:
            left_s = deadline - clock()
            if left_s <= 0:
                raise HypervisorError(
                    action=f"detach volume {connection.volume_id}",
                    reason=f"the guest did not let go of {connection.target_dev} within {REMOVAL_LIMIT_S:.0f} s: unmount it there",
                )
            with contextlib.suppress(libvirt.libvirtError):  # one that is being detached already must not be asked again
                domain.detachDeviceFlags(etree.tostring(disk, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
            with contextlib.suppress(native.queue.Empty):
                events.get(timeout=min(left_s, ASK_AGAIN_S))


class _Removals:
    """Puts an item into a queue whenever a device of a domain was removed."""

    def __init__(self, connection: Any, uuid: str, queue: Any) -> None:
        self._connection, self._uuid, self._queue = connection, uuid, queue

    def __enter__(self) -> None:
        event = libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED
        self._id = self._connection.domainEventRegisterAny(None, event, self._removed, None)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.domainEventDeregisterAny(self._id)

    def _removed(self, _connection: Any, domain: Any, device: str, _opaque: Any) -> None:
        if domain.UUIDString() == self._uuid:
            self._queue.put(device)
