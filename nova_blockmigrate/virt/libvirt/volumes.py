"""Volumes as disks of a domain: QEMU itself is the iSCSI initiator, so nothing of them is on the host.

A disk is known by its serial number, which is the volume's id: names such as vdb may change hands, serial numbers do not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import libvirt
from lxml import etree
from lxml.builder import E

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import HypervisorError, StorageError
from nova_blockmigrate.objects import Server, VolumeConnection
from nova_blockmigrate.virt.libvirt import volume_access
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.volume import connecting

REMOVAL_LIMIT_S = 30.0
"""How long a guest may take to let go of a disk."""
ASK_AGAIN_S = 5.0
"""A guest that was still booting may not have heard the request."""


# --- XML (pure) -------------------------------------------------------------------------------------------------------


def disk_xml(connection: VolumeConnection, initiator: str) -> str:
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
        E.driver(name="qemu", type="raw", cache="none", discard="unmap"),
        _source(connection, initiator),
        E.target(dev=connection.target_dev, bus="virtio"),
        E.serial(connection.volume_id),
        *([E.readonly()] if connection.data.get("access_mode") == "ro" else []),
        type="network",
        device="disk",
    )
    return str(etree.tostring(disk, encoding="unicode"))


def _source(connection: VolumeConnection, initiator: str) -> Any:
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
        E.initiator(E.iqn(name=initiator)),
        *([E.auth(E.secret(type="iscsi", uuid=secret), username=user)] if secret else []),
        protocol="iscsi",
        name=f"{connection.data['target_iqn']}/{connection.data.get('target_lun', 1)}",
    )


def with_volumes(xml: str, connections: Iterable[VolumeConnection], initiator: str) -> str:
    """A domain's XML with its volumes as another host reaches them; all else stays, so the guest sees the same disks.

    :raises StorageError: the domain lacks one of them, or QEMU cannot reach it by itself.
    """
    tree: Any = etree.fromstring(xml.encode())
    for connection in connections:
        disk = _find(tree, connection.volume_id)
        if disk is None:
            raise StorageError(
                host=connection.host,
                action=f"prepare volume {connection.volume_id}",
                reason="the guest has no disk of that serial number",
            )
        disk.replace(disk.find("source"), _source(connection, initiator))
    return str(etree.tostring(tree, encoding="unicode"))


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


def attach(host: Host, server: Server, connection: VolumeConnection, initiator: str) -> None:
    """Give a guest the disk, now if it runs and for its next start; where it has it already nothing is done.

    :raises HypervisorError: libvirt or QEMU refuses, as when the target does not let this host in.
    """
    domain = host.domain(server.uuid, server.domain_name)
    action = f"attach volume {connection.volume_id} as {connection.target_dev}"
    with host.errors(action, server.domain_name):
        flags = sum(flag for flag, tree in _definitions(domain) if _find(tree, connection.volume_id) is None)
        if flags:
            domain.attachDeviceFlags(disk_xml(connection, initiator), flags)


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
