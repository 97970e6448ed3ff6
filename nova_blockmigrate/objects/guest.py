"""Guests as their hypervisor runs them."""

from __future__ import annotations

import dataclasses

from nova_blockmigrate.objects.states import PowerState


@dataclasses.dataclass(frozen=True)
class DiskLayer:
    """One file of a disk's backing chain."""

    path: str
    format: str
    virtual_size_bytes: int
    allocated_bytes: int
    cluster_size_bytes: int = 0
    compat: str = ""
    """qcow2's compatibility level ("0.10" or "1.1"); empty for other formats."""
    sha256: str = ""
    """Hash of the file's bytes; only of layers that nobody writes to (every layer but the first)."""
    file_size_bytes: int = 0
    backing_format: str = ""
    """Format of the file below it, as this one's header says; empty: it says none, or there is none below."""
    features: tuple[str, ...] = ()
    """What else an equal file must be created with, as qemu-img's options: "lazy_refcounts=on", …"""


@dataclasses.dataclass(frozen=True)
class GuestDisk:
    """A disk of a guest: its chain from the layer the guest writes to, down to the base."""

    target_dev: str
    device: str
    """libvirt's: "disk", "cdrom", "floppy" or "lun"."""
    source_type: str
    """libvirt's: "file", "block", "network", …"""
    readonly: bool
    layers: tuple[DiskLayer, ...] = ()
    problem: str = ""
    """Why it cannot be moved, in words; empty when it can."""

    @property
    def is_local_file(self) -> bool:
        return self.source_type == "file" and bool(self.layers)

    @property
    def is_copied(self) -> bool:
        """Whether the transfer mirrors it: what the guest writes to and lies on the host itself."""
        return self.is_local_file and not self.readonly

    @property
    def unchanging_layers(self) -> tuple[DiskLayer, ...]:
        """Those that nobody writes to: of a medium all, of other disks all below the first."""
        return self.layers[0 if self.readonly else 1 :] if self.is_local_file else ()


@dataclasses.dataclass(frozen=True)
class GuestDescription:
    """A guest as its source host's libvirt describes it, before a migration."""

    uuid: str
    domain_name: str
    power_state: PowerState
    memory_mib: int
    vcpus: int
    disks: tuple[GuestDisk, ...]
    persistent: bool
    xml: str
    """The migratable XML of the domain."""
    machine_type: str = ""
    cpu_model: str = ""
    boot_files: tuple[DiskLayer, ...] = ()
    """Kernel, initial ramdisk and the like, which QEMU reads whenever the guest starts."""
    nvram: DiskLayer | None = None
    """Where its firmware keeps its variables, with the hash that it had just now. QEMU carries their content along in the memory
    stream, too, and writes it down when the guest goes on at the destination."""
    autostart: bool = False
    """libvirt starts it at each boot of its host."""

    @property
    def readable_paths(self) -> set[str]:
        """Files that the destination may have from the source."""
        return {layer.path for layer in [*self.unchanging_files, *([self.nvram] if self.nvram else [])]}

    @property
    def unchanging_files(self) -> tuple[DiskLayer, ...]:
        """All files that must lie at the destination as they are here, each once."""
        layers = [layer for disk in self.disks for layer in disk.unchanging_layers]
        return tuple({layer.path: layer for layer in [*layers, *self.boot_files]}.values())

    @property
    def allocated_bytes(self) -> int:
        return sum(disk.layers[0].allocated_bytes for disk in self.disks if disk.is_copied)


@dataclasses.dataclass(frozen=True)
class GuestLoad:
    """What a guest did over a moment, as measured: what a transfer has to keep up with. None: could not be measured."""

    seconds: float
    memory_used_bytes: int | None = None
    """Memory that the guest has ever touched: pages beyond it are zero, and cost a transfer next to nothing."""
    dirty_bytes_s: int | None = None
    """Memory written to, each page counted once a second."""
    disk_written_bytes_s: int | None = None
    reason: str = ""
    """Why something could not be measured."""
