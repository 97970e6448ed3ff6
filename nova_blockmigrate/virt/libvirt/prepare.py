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
from nova_blockmigrate.network.plumbing import Plumbing
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
from nova_blockmigrate.virt.driver import Ledger
from nova_blockmigrate.virt.libvirt import disks, domain_xml, interfaces, placing, settle, volumes
from nova_blockmigrate.virt.libvirt.bringing import Bringing
from nova_blockmigrate.virt.libvirt.decide import Action, decide
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import observe
from nova_blockmigrate.virt.libvirt.placing import Place
from nova_blockmigrate.virt.libvirt.unmake import DIRECTORY, DOMAIN, FILE, Site, directories_change, unmake
from nova_blockmigrate.virt.libvirt.volume_access import VolumeAccess

# --- making ---------------------------------------------------------------------------------------------------------


class Preparation:
    """Makes one guest's place on this host."""

    def __init__(self, host: str, instances_path: str, files: Bringing, plumbing: Plumbing, ledger: Ledger) -> None:
        self._host, self._instances_path = host, instances_path
        self._files, self._plumbing, self._ledger = files, plumbing, ledger
        self._listed = set(ledger.artefacts())

    def make(
        self, plan: MigrationPlan, guest: GuestDescription, transfer_address: str, access: VolumeAccess
    ) -> PreparedDestination:
        """Networks, directories, base images, overlays; volumes, and the way to them.

        :raises StorageError, HypervisorError: something could not be made; what was made is in the ledger.
        """
        self._plumbing.plug(plan.server.vifs, self._ledger)
        with self._ledger.entry(DOMAIN, plan.server.uuid):
            pass  # libvirt makes it when the transfer begins
        copied = [disk for disk in guest.disks if disk.is_copied and plan.block_migration]
        try:
            self._make_directories(plan.server, guest, copied)
            places = self._bring_files(plan.server, guest, copied)
            self._make_disks(guest, copied, places)
        except OSError as error:
            raise StorageError(host=self._host, action="make the guest's files", reason=str(error)) from error
        xml = interfaces.with_bridges(guest.xml, plan.server.vifs)
        if connections := plan.server.volumes_at(self._host):
            xml = volumes.with_volumes(xml, [(each, access.grant(each, self._ledger)) for each in connections])
        return PreparedDestination(
            libvirt_host=plan.destination_host,
            transfer_address=transfer_address,
            copied_disks=tuple(disk.target_dev for disk in copied),
            destination_xml=xml if xml != guest.xml else "",
            bytes_fetched=sum(place.bytes_brought for place in places.values()),
        )

    def _make_directories(self, server: Server, guest: GuestDescription, copied: list[GuestDisk]) -> None:
        said = DomainFacts(guest.xml).character_files
        written = [disk.layers[0] for disk in copied] + ([guest.nvram] if guest.nvram else [])
        files = [*(layer.path for layer in [*guest.unchanging_files, *written]), *said]
        own = str(domain_xml.instance_directory(self._instances_path, server.uuid))
        for directory in dict.fromkeys([own, *map(os.path.dirname, files)]):
            self._make_directory(directory)
        for path in said:
            if not os.path.exists(path):
                with self._ledger.entry(FILE, path):
                    pass  # QEMU makes it

    def _bring_files(self, server: Server, guest: GuestDescription, copied: list[GuestDisk]) -> dict[str, Place]:
        """Places of the files that nobody writes to, by their paths on the source; of bases only what copies stand on."""
        needed = {layer.path for disk in guest.disks if disk.readonly or disk in copied for layer in disk.unchanging_layers}
        needed |= {layer.path for layer in guest.boot_files}
        brought = [layer for layer in guest.unchanging_files if layer.path in needed]
        movable = placing.movable(guest)
        work: list[Callable[[], Place]] = [
            functools.partial(self._files.bring, layer, server.image, layer.path in movable) for layer in brought
        ]
        return dict(zip([layer.path for layer in brought], in_parallel(work), strict=True))

    def _make_disks(self, guest: GuestDescription, copied: list[GuestDisk], places: dict[str, Place]) -> None:
        for disk in copied:
            top, *below = disk.layers
            self._make_disk(top, dataclasses.replace(below[0], path=places[below[0].path].path) if below else None)
        if guest.nvram is not None:
            self._make_nvram(guest.nvram)

    def _make_nvram(self, layer: DiskLayer) -> None:
        """As it was when the guest was described, for a guest that stays paused. When the firmware has written since, an empty
        one will do: QEMU fills it when the guest goes on here."""
        self._refuse_foreign(layer.path)
        with self._ledger.entry(FILE, layer.path):
            if not self._files.bring_now(layer):
                disks.create(layer.path, layer, None, self._host)

    def _make_directory(self, path: str) -> None:
        if cache.is_cache(path):
            os.makedirs(path, exist_ok=True)
            return
        if not os.path.isdir(os.path.dirname(path)):
            self._make_directory(os.path.dirname(path))
        with directories_change:
            if os.path.isdir(path) and not self._ledger.is_shared(Artefact(DIRECTORY, path)):
                return  # somebody else's, or listed already
            with self._ledger.entry(DIRECTORY, path):
                os.makedirs(path, exist_ok=True)

    def _make_disk(self, layer: DiskLayer, backing: DiskLayer | None) -> None:
        self._refuse_foreign(layer.path)
        with self._ledger.entry(FILE, layer.path):
            disks.create(layer.path, layer, backing, self._host)

    def _refuse_foreign(self, path: str) -> None:
        """A file that no preparation of this migration made is somebody's."""
        if os.path.exists(path) and Artefact(FILE, path) not in self._listed:
            raise StorageError(host=self._host, action=f"create {path}", reason="a file of that name exists already: move it away")


# --- unmaking -------------------------------------------------------------------------------------------------------


def release(site: Site, plan: MigrationPlan, source: Host, stayed: bool = False) -> tuple[str, ...]:
    """Undo what the ledger lists (`unmake`), once no copy of the guest is left here; returns what stays, in words.

    `stayed`: the migration is over, and the guest did not come.
    :raises UnsafeRemoval: the guest runs here, or may have no other copy, or libvirt cannot say.
    """
    discard_copy(site.host, source, plan, stayed)
    return unmake(site)


def discard_copy(host: Host, source: Host, plan: MigrationPlan, stayed: bool = False) -> None:
    """Remove the domain of a guest that did not come.

    :raises UnsafeRemoval: as `refuse_the_only_copy`.
    """
    refuse_the_only_copy(host, source, plan, stayed)
    settle.destroy_copy(host, plan.server.uuid)


def refuse_the_only_copy(host: Host, source: Host, plan: MigrationPlan, stayed: bool = False) -> None:
    """A copy that is complete may be all there is of the guest while its migration lasts, whoever says that it stayed: its source's
    libvirt is asked. When the migration is over and the guest `stayed`, that proves nothing any more: it may have moved on.

    :raises UnsafeRemoval: the guest runs here, or may have no other copy, or libvirt cannot say.
    """
    here = observe(host, plan.server.uuid, is_destination=True)
    name = f"the files of {plan.server.uuid}"
    if here.copy in (Copy.RUNNING, Copy.POST_COPY, Copy.POST_COPY_BROKEN, Copy.UNREACHABLE):
        raise UnsafeRemoval(name=name, host=host.name, reason=here.detail)
    if here.copy is Copy.PAUSED_COMPLETE and not stayed:
        there = observe(source, plan.server.uuid, is_destination=False, timeout_s=settle.ANSWER_LIMIT_S)
        if decide(there, here) is not Action.DESTROY_DESTINATION:
            raise UnsafeRemoval(name=name, host=host.name, reason=f"it may be the only copy: {there.detail}; {here.detail}")
