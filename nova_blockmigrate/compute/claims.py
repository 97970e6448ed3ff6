"""What a host still has to give, less what it promised to guests that are on their way (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from nova_blockmigrate import exceptions
from nova_blockmigrate.objects import GuestDescription, HostResources, MigrationPlan


def outstanding(plans: Iterable[MigrationPlan], present_uuids: Collection[str], but: str) -> list[MigrationPlan]:
    """Promises that the hypervisor's own figures do not show yet: guests that are coming and not defined here so far."""
    return [plan for plan in plans if plan.migration_uuid != but and plan.server.uuid not in present_uuids]


def usable_memory_mib(resources: HostResources, reserved_mib: int, allocation_ratio: float) -> int:
    """Memory that may still be given to guests, before claims."""
    return int(resources.memory_mib * allocation_ratio) - reserved_mib - resources.memory_used_mib


def check_memory(
    plan: MigrationPlan,
    resources: HostResources,
    coming: Iterable[MigrationPlan],
    reserved_mib: int,
    allocation_ratio: float,
) -> None:
    """:raises NotEnoughMemory: the guest does not fit beside what runs here and what is coming."""
    free = usable_memory_mib(resources, reserved_mib, allocation_ratio)
    free -= sum(other.server.memory_mib for other in coming)
    if free < plan.server.memory_mib:
        raise exceptions.NotEnoughMemory(host=plan.destination_host, free_mib=max(0, free), needed_mib=plan.server.memory_mib)


def check_disk(
    plan: MigrationPlan, guest: GuestDescription, resources: HostResources, claimed_bytes: int, reserved_mib: int
) -> None:
    """:raises NotEnoughDisk: what the guest's disks occupy now does not fit beside what is claimed."""
    free = resources.disk_free_bytes - claimed_bytes - reserved_mib * 1024**2
    if free < guest.allocated_bytes:
        raise exceptions.NotEnoughDisk(host=plan.destination_host, free_bytes=max(0, free), needed_bytes=guest.allocated_bytes)
