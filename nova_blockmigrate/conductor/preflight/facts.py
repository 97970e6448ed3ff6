"""What the checks look at: gathered beforehand, as far as it could be had."""

from __future__ import annotations

import dataclasses

from nova_blockmigrate.objects import GuestDescription, HostResources


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What is known of a host. `error` says why its own answer is missing."""

    name: str
    exists: bool = True
    service_up: bool = False
    disabled: bool = False
    resources: HostResources | None = None
    problems: tuple[str, ...] = ()
    """Why the host's hypervisor would refuse the guest, in words."""
    claimed_memory_mib: int = 0
    reserved_memory_mib: int = 0
    reserved_disk_mib: int = 0
    ram_allocation_ratio: float = 1.0
    error: str = ""


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
