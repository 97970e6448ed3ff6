"""The destination before a transfer: what must lie ready for the guest (whether it can come at all: `reception.py`).

Everything made here is in the ledger before it is made, so that `release` finds it after any crash; and everything may be
done twice: what is there already and right is kept.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable

from nova_blockmigrate.exceptions import StorageError, UnsafeRemoval
from nova_blockmigrate.image import cache
from nova_blockmigrate.network import bridge
from nova_blockmigrate.objects import (
    Artefact,
    Copy,
    DiskLayer,
    GuestDescription,
    GuestDisk,
    MigrationPlan,
    PreparedDestination,
    Server,
)
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.driver import FetchBase, Ledger
from nova_blockmigrate.virt.libvirt import disks, domain_xml, settle
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import observe
from nova_blockmigrate.virt.libvirt.unmake import DIRECTORY, DOMAIN, FILE, Site, unmake

# --- making ---------------------------------------------------------------------------------------------------------


class Preparation:
    """Makes one guest's place on this host."""

    def __init__(self, host: str, instances_path: str, ledger: Ledger, fetch: FetchBase) -> None:
        self._host, self._instances_path = host, instances_path
        self._ledger, self._fetch = ledger, fetch
        self._listed = set(ledger.artefacts())

    def make(self, plan: MigrationPlan, guest: GuestDescription, transfer_address: str) -> PreparedDestination:
        """Networks, directories, base images, overlays.

        :raises StorageError, HypervisorError: something could not be made; what was made is in the ledger.
        """
        bridge.plug(plan.server.vifs)
        with self._ledger.entry(DOMAIN, plan.server.uuid):
            pass  # libvirt makes it when the transfer begins
        copied = [disk for disk in guest.disks if disk.is_copied and plan.block_migration]
        media = [disk for disk in guest.disks if disk.is_local_file and disk.readonly]
        self._make_directories(plan.server, guest, copied + media)
        work: list[Callable[[], int]] = [functools.partial(self._make_disk, disk) for disk in copied]
        work += [functools.partial(self._bring_medium, disk) for disk in media]
        return PreparedDestination(
            libvirt_host=plan.destination_host,
            transfer_address=transfer_address,
            copied_disks=tuple(disk.target_dev for disk in copied),
            bytes_fetched=sum(in_parallel(work)),
        )

    def _make_directories(self, server: Server, guest: GuestDescription, local: list[GuestDisk]) -> None:
        own = str(domain_xml.instance_directory(self._instances_path, server.uuid))
        written = DomainFacts(guest.xml).character_files
        for directory in dict.fromkeys([own, *map(os.path.dirname, [*(disk.layers[0].path for disk in local), *written])]):
            self._make_directory(directory)
        for path in written:
            if not os.path.exists(path):
                with self._ledger.entry(FILE, path):
                    pass  # QEMU makes it

    def _make_directory(self, path: str) -> None:
        if os.path.isdir(path):
            return
        self._make_directory(os.path.dirname(path))
        with self._ledger.entry(DIRECTORY, path):
            os.makedirs(path, exist_ok=True)

    def _make_disk(self, disk: GuestDisk) -> int:
        top, *below = disk.layers
        backing, fetched = self._bring_chain(below)
        self._refuse_foreign(top.path)
        with self._ledger.entry(FILE, top.path):
            disks.create(top.path, top, backing, self._host)
        return fetched

    def _refuse_foreign(self, path: str) -> None:
        """A file that no preparation of this migration made is somebody's."""
        if os.path.exists(path) and Artefact(FILE, path) not in self._listed:
            raise StorageError(host=self._host, action=f"create {path}", reason="a file of that name exists already: move it away")

    def _bring_chain(self, layers: list[DiskLayer]) -> tuple[DiskLayer | None, int]:
        """The layer that an overlay stands on, with all below it; and the bytes that had to be fetched for that."""
        fetched = 0
        placed = []
        for layer in layers:
            path, bytes_here = self._bring(layer)
            placed.append(dataclasses.replace(layer, path=path))
            fetched += bytes_here
        for upper, below, original in zip(placed, placed[1:], layers[1:], strict=False):
            if below.path != original.path:
                raise StorageError(
                    host=self._host,
                    action=f"place {original.path} below {upper.path}",
                    reason="a file with other bytes has that name here, and the layer above names it: move that file away",
                )
        return (placed[0] if placed else None), fetched

    def _bring(self, layer: DiskLayer) -> tuple[str, int]:
        """Where the layer's bytes are on this host (under its own name, or beside a namesake with other bytes), fetched
        when they are not here."""
        for path in (layer.path, f"{layer.path}.{layer.sha256[:16]}"):
            if os.path.exists(path):
                if cache.file_hash(path, self._host) == layer.sha256:
                    return path, 0
                continue
            return path, self._fetch(layer.path, layer.sha256, path)
        raise StorageError(
            host=self._host, action=f"place {layer.path}", reason=f"{path} holds other bytes than its name says: move it away"
        )

    def _bring_medium(self, disk: GuestDisk) -> int:
        """A read-only medium (CD-ROM, configuration drive): as it is, where it is."""
        layer = disk.layers[0]
        if os.path.exists(layer.path) and cache.file_hash(layer.path, self._host) == layer.sha256:
            return 0
        self._refuse_foreign(layer.path)
        with self._ledger.entry(FILE, layer.path):
            return self._fetch(layer.path, layer.sha256, layer.path)


# --- unmaking -------------------------------------------------------------------------------------------------------


def release(host: Host, plan: MigrationPlan, ledger: Ledger) -> tuple[str, ...]:
    """Undo what the ledger lists (`unmake`), once no copy of the guest is left here; returns what stays, in words.

    :raises UnsafeRemoval: the guest runs here, or libvirt cannot say.
    """
    _refuse_running(host, plan)
    settle.destroy_copy(host, plan.server.uuid)
    bridge.unplug(plan.server.vifs)
    return unmake(Site(host, plan.server, ledger))


def _refuse_running(host: Host, plan: MigrationPlan) -> None:
    seen = observe(host, plan.server.uuid, is_destination=True)
    if seen.copy in (Copy.RUNNING, Copy.UNREACHABLE):
        raise UnsafeRemoval(name=f"the files of {plan.server.uuid}", host=host.name, reason=seen.detail)
