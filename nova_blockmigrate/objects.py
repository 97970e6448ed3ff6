"""The values that cross borders: between services, between layers, between hosts.

Frozen dataclasses with full types. They become dictionaries only at RPC, JSON and SQL, and only through
`to_primitive` and `from_primitive`. Nothing here does I/O. Sizes carry their unit in the name.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, TypeVar

import cattrs

T = TypeVar("T")
_converter = cattrs.Converter(prefer_attrib_converters=False)


def to_primitive(value: Any) -> Any:
    """`value` (a dataclass of this module, or a container of them) as what JSON can carry."""
    return _converter.unstructure(value)


def from_primitive(cls: type[T], data: Any) -> T:
    """The inverse of `to_primitive`; keys that this version does not know are left out (rolling upgrades)."""
    return _converter.structure(data, cls)


class PowerState(enum.IntEnum):
    """Nova's power states, with Nova's numbers (`OS-EXT-STS:power_state`)."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


class VmState(enum.StrEnum):
    """Nova's `OS-EXT-STS:vm_state`: what the server is for its user."""

    BUILDING = "building"
    ACTIVE = "active"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    DELETED = "deleted"
    ERROR = "error"


class GroupPolicy(enum.StrEnum):
    """What a server group asks for. The soft ones are wishes."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    SOFT_AFFINITY = "soft-affinity"
    SOFT_ANTI_AFFINITY = "soft-anti-affinity"


class TaskState(enum.StrEnum):
    """Nova's `OS-EXT-STS:task_state`: what is being done to the server; None when nothing is."""

    SCHEDULING = "scheduling"
    SPAWNING = "spawning"
    DELETING = "deleting"
    MIGRATING = "migrating"
    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    SUSPENDING = "suspending"
    RESUMING = "resuming"
    REBOOTING = "rebooting"
    ATTACHING_VOLUME = "attaching-volume"
    DETACHING_VOLUME = "detaching-volume"


class MappingState(enum.StrEnum):
    """Where a volume stands with its server."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


class MigrationStatus(enum.StrEnum):
    """Nova's migration statuses for live migrations."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    POST_MIGRATING = "post-migrating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERROR = "error"

    @property
    def is_final(self) -> bool:
        return self in _FINAL_STATUSES


_FINAL_STATUSES = frozenset({MigrationStatus.COMPLETED, MigrationStatus.FAILED, MigrationStatus.CANCELLED, MigrationStatus.ERROR})
IN_PROGRESS_STATUSES = frozenset(set(MigrationStatus) - _FINAL_STATUSES)


@dataclasses.dataclass(frozen=True)
class ImageRef:
    """An image as a compute host needs it: enough to find, fetch and verify it."""

    id: str
    disk_format: str
    size_bytes: int
    sha256: str


class VifType(enum.StrEnum):
    """What an interface is plugged into on its host."""

    BRIDGE = "bridge"
    OVS = "ovs"


class SegmentKind(enum.StrEnum):
    """What carries a network from host to host."""

    FLAT = "flat"
    VLAN = "vlan"
    VXLAN = "vxlan"


@dataclasses.dataclass(frozen=True)
class Segment:
    """The carrier of a network, named so that each host can find its own end of it."""

    kind: SegmentKind = SegmentKind.FLAT
    id: int = 0
    """VLAN tag (1 to 4094) or VXLAN network identifier (1 to 16,777,215); 0 for a flat network."""
    physical_network: str = ""
    """Name that each host maps to one of its interfaces. Empty, for a flat network: the bridge is there already."""


@dataclasses.dataclass(frozen=True)
class SecurityRule:
    """What a guest may receive or send, beside the answers to what was allowed."""

    direction: str
    """"ingress" (to the guest) or "egress"."""
    ethertype: str = "IPv4"
    """"IPv4" or "IPv6"."""
    protocol: str = ""
    """"tcp", "udp", "icmp", "icmpv6", the number of another; empty: any."""
    port_min: int | None = None
    """First port; of ICMP the type. None: all."""
    port_max: int | None = None
    """Last port; of ICMP the code."""
    remote_cidr: str = ""
    """Whom it is about, by address; empty, without a group: everybody."""
    remote_group: str = ""
    """Id of a security group whose members it is about."""


@dataclasses.dataclass(frozen=True)
class Vif:
    """One network interface of a guest, with all that a host needs to connect and to guard it."""

    port_id: str
    mac: str
    bridge: str
    """On the host that it is for."""
    tap: str
    """Name of the tap device on the host: "tap" and the first eleven characters of the port's id, as Nova names it."""
    ip_address: str = ""
    mtu: int = 1500
    vif_type: VifType = VifType.BRIDGE
    segment: Segment = Segment()
    port_security: bool = False
    """Whether only what `rules` allow passes, and only with the guest's own addresses."""
    rules: tuple[SecurityRule, ...] = ()
    group_members: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Addresses of the members of each group that a rule names."""
    allowed_addresses: tuple[str, ...] = ()
    """More addresses (or ranges) that the guest may send from."""
    is_bound: bool = True
    """False where a network service has not yet said what it is plugged into: only a binding says that of a host."""


ROOT_DEVICE = "vda"
"""The guest's name of the disk that it boots from."""


@dataclasses.dataclass(frozen=True)
class VolumeConnection:
    """A volume as one host reaches it for one server."""

    volume_id: str
    attachment_id: str
    """The backend's name for this host's right to the volume."""
    host: str
    target_dev: str
    """The guest's name of the disk: vdb, …"""
    protocol: str
    """How it is reached: "iscsi", or another that os-brick knows."""
    data: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """What the backend says of the way there (it may hold a password: never logged)."""


@dataclasses.dataclass(frozen=True)
class FixedIp:
    """An address of a port."""

    ip_address: str
    subnet_id: str


@dataclasses.dataclass(frozen=True)
class WantedPort:
    """What the request for a server says of one interface: a port that is there, or a network to make one on."""

    network_id: str = ""
    port_id: str = ""
    fixed_ip: str = ""
    """Address that a port made for it shall have; empty: any."""


@dataclasses.dataclass(frozen=True)
class NetworkPort:
    """A server's port as the service that owns it (Neutron) describes it, kept with the server for those who ask often."""

    network_id: str
    network_name: str
    fixed_ips: tuple[FixedIp, ...]
    status: str
    """Neutron's: "ACTIVE" once it is wired, "DOWN", "BUILD" or "ERROR"."""
    vif: Vif
    """The interface on the host that has the server."""
    given: bool = False
    """Its user made it: it outlives the server."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server as hosts know it: what to run, not what its user sees."""

    uuid: str
    domain_name: str
    """libvirt's name of it: Nova's `instance-%08x`."""
    display_name: str
    memory_mib: int
    vcpus: int
    root_gib: int
    image: ImageRef | None
    vifs: tuple[Vif, ...] = ()
    volumes: tuple[VolumeConnection, ...] = ()
    """Its volumes as each host reaches them: during a migration two hosts may."""

    def root_volume_at(self, host: str) -> VolumeConnection | None:
        """The volume that a server without an image boots from."""
        roots = [each for each in self.volumes_at(host) if each.target_dev == ROOT_DEVICE]
        return roots[0] if roots and self.image is None else None

    def volumes_at(self, host: str) -> tuple[VolumeConnection, ...]:
        return tuple(each for each in self.volumes if each.host == host)


@dataclasses.dataclass(frozen=True)
class HostResources:
    """What a host reports of itself: Nova's compute node, less what the database computes."""

    host: str
    hypervisor_hostname: str
    hypervisor_type: str
    hypervisor_version: int
    """QEMU's version as libvirt counts: major * 1,000,000 + minor * 1,000 + release."""
    libvirt_version: int
    host_ip: str
    vcpus: int
    vcpus_used: int
    memory_mib: int
    memory_used_mib: int
    disk_gib: int
    disk_used_gib: int
    disk_free_bytes: int
    running_vms: int
    cpu_info: str
    """JSON object: arch, model, vendor, topology, features; Nova's `cpu_info`."""
    uptime: str = ""

    @property
    def memory_free_mib(self) -> int:
        return self.memory_mib - self.memory_used_mib


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


@dataclasses.dataclass(frozen=True)
class MigrationPlan:
    """All that a host must know to do its part of one migration. Small, and the same for every step."""

    migration_id: int
    migration_uuid: str
    server: Server
    source_host: str
    destination_host: str
    block_migration: bool
    request_id: str = ""

    @property
    def label(self) -> str:
        """How log lines name the migration."""
        return f"[migration {self.migration_id} server {self.server.uuid}]"


@dataclasses.dataclass(frozen=True)
class PreparedDestination:
    """What the destination answers once it is ready to receive the guest."""

    libvirt_host: str
    """What replaces %s in `live_migration_uri`."""
    transfer_address: str = ""
    """Address for the migration stream and NBD (`live_migration_inbound_addr`); empty: libvirt's own choice."""
    copied_disks: tuple[str, ...] = ()
    """Target names (vda, …) of the disks that the transfer mirrors."""
    destination_xml: str = ""
    """The domain as it shall look on the destination; empty: as on the source."""
    bytes_fetched: int = 0
    """Bytes of base images that had to be brought here."""
    vifs: tuple[Vif, ...] | None = None
    """The guest's interfaces as they are here; None: as on the source."""
    awaited_ports: tuple[str, ...] = ()
    """Ports whose owner says when they are wired here; the transfer waits for it."""


@dataclasses.dataclass(frozen=True)
class TransferProgress:
    """How far a transfer is; bytes as libvirt's job statistics count them."""

    memory_total_bytes: int = 0
    memory_processed_bytes: int = 0
    memory_remaining_bytes: int = 0
    disk_total_bytes: int = 0
    disk_processed_bytes: int = 0
    disk_remaining_bytes: int = 0
    memory_iteration: int = 0
    elapsed_s: float = 0.0

    @property
    def percent(self) -> int:
        """Share of all bytes, memory and disks, that is over; 99 at the most until the guest has moved."""
        total = self.memory_total_bytes + self.disk_total_bytes
        if total <= 0:
            return 0
        remaining = self.memory_remaining_bytes + self.disk_remaining_bytes
        return max(0, min(99, 100 * (total - remaining) // total))

    @property
    def remaining_s(self) -> float | None:
        """Seconds to go at the rate so far; None while nothing can be said."""
        processed = self.memory_processed_bytes + self.disk_processed_bytes
        if processed <= 0 or self.elapsed_s <= 0:
            return None
        remaining = self.memory_remaining_bytes + self.disk_remaining_bytes
        return remaining * self.elapsed_s / processed


class Verdict(enum.StrEnum):
    """How a transfer ended: where the guest is now."""

    HANDED_OVER = "handed over"
    """It runs (or is, if it was paused before, paused) on the destination; the source's copy is dead."""
    STAYED = "stayed"
    """It is on the source, as it was or as its user left it; the destination's copy is dead."""
    UNDECIDED = "undecided"
    """Not known: nothing was started and nothing destroyed; look again."""


@dataclasses.dataclass(frozen=True)
class TransferOutcome:
    """What became of a transfer and its handover."""

    verdict: Verdict
    reason: str = ""
    """Why it did not move, in words, with libvirt's original text."""
    cancelled: bool = False
    """A user's abort ended it."""
    progress: TransferProgress = TransferProgress()
    paused_ms: float = 0.0
    """How long no copy executed: from the source's pause to the destination's resume."""
    power_state: PowerState = PowerState.RUNNING
    ports_moved: bool = True
    """Whether the network learnt at the switch where the guest is; else it is still to be told."""
    marks_s: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds since the Epoch, by name: transfer_started, source_paused, destination_complete, fenced, resumed, …"""


class Copy(enum.StrEnum):
    """One host's copy of a guest, as its libvirt and journal tell."""

    ABSENT = "absent"
    RUNNING = "running"
    RUNNING_JOB = "running, migration job active"
    PAUSED_MIGRATION = "paused by migration"
    PAUSED_MIGRATION_JOB = "paused by migration, job active"
    INCOMING = "incoming"
    PAUSED_COMPLETE = "paused, complete"
    PAUSED_BY_USER = "paused by its user"
    MIGRATED_AWAY = "shut off, migrated"
    SHUT_OFF = "shut off"
    CRASHED = "crashed"
    UNREACHABLE = "unreachable"


@dataclasses.dataclass(frozen=True)
class Observation:
    """What is known of one host's copy of a guest at one moment."""

    copy: Copy
    power_state: PowerState = PowerState.NOSTATE
    fenced: bool = False
    """The copy was fenced in a handover: our journal on that host says so, and its QEMU is dead."""
    never_ran: bool = False
    """Of a destination's copy: it is known that it was never let run."""
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A thing that was made on a host for a migration, as the ledger lists it."""

    kind: str
    """"directory", "file", "domain", "tap", "export", …"""
    name: str


class StepState(enum.StrEnum):
    """Where a step stands on the host that runs it."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class StepReport:
    """A host's answer about one step: finished or not, and with what."""

    state: StepState
    result: Any = None
    """The step's result as a primitive (see the step's function); None while it runs."""
    error: str = ""
    """Why it failed, in words for the user."""
    progress: TransferProgress | None = None
    seconds: float = 0.0


class CheckResult(enum.StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    where: str
    title: str
    result: CheckResult
    found: str = ""
    needed: str = ""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        parts = [self.title + ":", self.found]
        if self.needed:
            parts.append(f"(needed: {self.needed})")
        if self.remedy:
            parts.append(f"- {self.remedy}")
        return " ".join(part for part in parts if part)
