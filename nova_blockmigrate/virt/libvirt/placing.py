"""Where a guest's unchanging files (bases, media, kernels) have their place on this host. Looks only.

A file is taken for what its bytes are, never for its name: a base of the right name with other bytes is not used.
"""

from __future__ import annotations

import dataclasses
import os

from nova_blockmigrate.image import cache
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.objects import DiskLayer, GuestDescription
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts


@dataclasses.dataclass(frozen=True)
class Place:
    """A file's place on this host."""

    path: str
    is_there: bool = False
    """The right bytes are there already."""
    bytes_brought: int = 0


def movable(guest: GuestDescription) -> set[str]:
    """Files that may have another name here: what only new overlays stand on, as those can name anything. What a file that
    is carried as it is, or the guest's XML, names must keep its name."""
    naming = {disk.target_dev for disk in DomainFacts(guest.xml).disks if disk.names_backing}
    below = {disk.layers[1].path for disk in guest.disks if disk.is_copied and disk.layers[1:] and disk.target_dev not in naming}
    fixed = {layer.path for disk in guest.disks if disk.is_copied for layer in disk.layers[2:]}
    fixed |= {layer.path for disk in guest.disks if disk.readonly for layer in disk.layers}
    fixed |= {disk.layers[1].path for disk in guest.disks if disk.target_dev in naming and disk.layers[1:]}
    return below - fixed - {layer.path for layer in guest.boot_files}


def names(layer: DiskLayer, may_move: bool) -> tuple[str, ...]:
    """Names that a file may have here, the best first: its own, or one beside a namesake with other bytes."""
    return (layer.path, cache.beside(layer.path, layer.sha256)) if may_move else (layer.path,)


def find(layer: DiskLayer, may_move: bool, manifests: Manifests, host: str) -> Place | None:
    """The file's place, or None when files with other bytes have all its names.

    :raises StorageError: a file cannot be read.
    """
    for path in names(layer, may_move):
        if not os.path.lexists(path):
            return Place(path)
        if holds(path, layer, manifests, host):
            return Place(path, is_there=True)
    return None


def holds(path: str, layer: DiskLayer, manifests: Manifests, host: str) -> bool:
    """Whether a file has the layer's bytes."""
    return os.path.isfile(path) and cache.file_hash(manifests, path, host) == layer.sha256
