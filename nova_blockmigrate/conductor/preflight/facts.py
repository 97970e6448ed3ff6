"""What the checks look at: gathered beforehand, as far as it could be had."""

from __future__ import annotations

import dataclasses

from nova_blockmigrate.objects import GuestDescription, HostResources
from nova_blockmigrate.survey import GuestSurvey, HostSurvey, Reception, Route


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What is known of a host. `error` says why its own answer is missing."""

    name: str
    exists: bool = True
    service_up: bool = False
    disabled: bool = False
    resources: HostResources | None = None
    survey: HostSurvey | None = None
    clock_ahead_s: float | None = None
    """How far its clock is ahead of the conductor's; negative: behind. As exact as half the time that its answer took."""
    claimed_memory_mib: int = 0
    """Memory promised to guests that are on their way, running there or queued, and that its figures do not show yet."""
    claimed_disk_bytes: int = 0
    """The same for disk."""
    promised_disk_gib: int = 0
    """Virtual size of all disks that are there or on their way."""
    moving: int = 0
    """Migrations from it and to it that are under way."""
    reserved_memory_mib: int = 0
    reserved_disk_mib: int = 0
    ram_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    enforces_disk_ratio: bool = False
    error: str = ""

    @property
    def silence(self) -> str:
        """Why nothing more is known of it, in words."""
        return self.error or f"{self.name} was not asked"


@dataclasses.dataclass(frozen=True)
class Facts:
    """One server, where it is and where it shall go."""

    server_uuid: str
    vm_state: str
    memory_mib: int
    requested_by: str
    block_migration: str
    source: HostFacts
    destination: HostFacts
    guest: GuestDescription | None = None
    guest_survey: GuestSurvey | None = None
    reception: Reception | None = None
    route: Route | None = None
    disk_gib: int = 0
    """Virtual size of its local disk."""
    volumes: tuple[str, ...] = ()
    """Ids of its volumes."""
    volume_problems: tuple[str, ...] = ()
    """Why their backend can give them to no host now."""
    group: str = ""
    """Name of its server group."""
    group_refusal: str = ""
    """Why that group does not allow the destination."""
    slots: int = 1
    """Migrations that may run at a time, from one host and to one host."""
