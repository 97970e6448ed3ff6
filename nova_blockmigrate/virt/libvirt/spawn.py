"""New servers: disks from their image, then the domain. When it fails, nothing stays behind."""

from __future__ import annotations

import os

from nova_blockmigrate.exceptions import FlavorTooSmall, Invalid
from nova_blockmigrate.image.cache import BaseImages
from nova_blockmigrate.network.plumbing import Plumbing
from nova_blockmigrate.objects import DiskLayer, Server
from nova_blockmigrate.virt.driver import BASE, Ledger
from nova_blockmigrate.virt.libvirt import disks, domain_xml, removal, volumes
from nova_blockmigrate.virt.libvirt.guest import Guest
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.unmake import DIRECTORY, DOMAIN, FILE, Site, scratch_beside
from nova_blockmigrate.virt.libvirt.volume_access import VolumeAccess


def spawn(
    host: Host,
    images: BaseImages,
    plumbing: Plumbing,
    server: Server,
    settings: domain_xml.DomainSettings,
    instances_path: str,
    ledger: Ledger,
    access: VolumeAccess,
) -> None:
    """Make and start a server; `access` finds the way to its volume, if it boots from one. One that libvirt
    knows was made before (a crash came between): it is only started."""
    guest = Guest(host, server.uuid, server.domain_name)
    if guest.find() is not None:
        plumbing.plug(server.vifs, ledger)
        guest.start()
        return
    try:
        plumbing.plug(server.vifs, ledger)
        root = server.root_volume_at(host.name)
        if root is None:
            _make_disk(host, images, server, instances_path, ledger)
        else:
            _make_directory(server, instances_path, ledger)
        root_disk = volumes.disk_xml(root, access.grant(root, ledger)) if root else ""
        with ledger.entry(FILE, domain_xml.console_log(instances_path, server.uuid)), ledger.entry(DOMAIN, server.uuid):
            guest.define_and_start(domain_xml.build(server, settings, instances_path, root_disk))
    except BaseException:  # the border of the method: nothing stays behind, whatever failed
        removal.delete_server(Site(host, plumbing, server, ledger, access))
        raise


def _make_disk(host: Host, images: BaseImages, server: Server, instances_path: str, ledger: Ledger) -> None:
    if server.image is None:
        raise Invalid(f"Server {server.uuid} has no image to start from.")
    directory = str(domain_xml.instance_directory(instances_path, server.uuid))
    path = images.path_of(server.image)
    with ledger.entry(BASE, path), scratch_beside(ledger, path):  # it stays; what is left of one that was cut off does not
        base = images.base_for(server.image)
    layer = disks.read_chain(base.path, base.format, host.name)[0]
    if server.root_gib and layer.virtual_size_bytes > server.root_gib * disks.GIB:
        raise FlavorTooSmall(
            flavor=f"with {server.root_gib} GiB of disk", image=server.image.id, needed=f"{layer.virtual_size_bytes} bytes of disk"
        )
    _make_directory(server, instances_path, ledger)
    path = os.path.join(directory, "disk")
    with ledger.entry(FILE, path):
        disks.new_overlay(
            path, DiskLayer(base.path, base.format, layer.virtual_size_bytes, 0), server.root_gib * disks.GIB, host.name
        )


def _make_directory(server: Server, instances_path: str, ledger: Ledger) -> None:
    directory = str(domain_xml.instance_directory(instances_path, server.uuid))
    with ledger.entry(DIRECTORY, directory):
        os.makedirs(directory, exist_ok=True)
