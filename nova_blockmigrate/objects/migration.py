"""A live migration: what was agreed, how it goes, and what came of it."""

from __future__ import annotations

import dataclasses
import enum

from nova_blockmigrate.objects.network import Vif
from nova_blockmigrate.objects.server import Server
from nova_blockmigrate.objects.states import PowerState


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
    global_request_id: str | None = None
    """Of the program that asked, if it named itself so; for the logs, as the other one."""

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
    post_copy: bool = False
    """The guest runs on the destination already, and its memory follows."""

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
    POST_COPY = "half moved"
    """In post-copy: it runs at the destination, and the source's QEMU, which stands still for ever, sends its memory after it."""
    POST_COPY_BROKEN = "half moved, the stream is broken"
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
    alarmed: bool = False
    """Of a source's copy: two copies were found running once, says our journal there; from then on a person decides."""
    self_switching: bool = False
    """Of a source's copy: libvirt switches the guest by itself, as post-copy is permitted: a destination that cannot be seen may
    run."""
    switched: bool = False
    """Of a source's copy: the destination was seen running. The source's is never to run again."""
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A thing that was made on a host for a migration, as the ledger lists it."""

    kind: str
    """"directory", "file", "domain", "tap", "export", …"""
    name: str
