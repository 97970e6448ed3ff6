"""Checks of what the destination's disks and hypervisor would say to the guest."""

from __future__ import annotations

from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown


@check("disk", where="destination", title="Enough free disk")
def enough_disk(facts: Facts) -> Answer:
    host = facts.destination
    if host.resources is None or facts.guest is None:
        return unknown("the guest's disks and the destination's must be known to be compared")
    free = host.resources.disk_free_bytes - host.reserved_disk_mib * 1024**2
    if free >= facts.guest.allocated_bytes:
        return passed(f"{_mib(free)} MiB free on {host.name}, {_mib(facts.guest.allocated_bytes)} MiB are allocated now")
    return failed(
        f"{_mib(max(0, free))} MiB free on {host.name}",
        needed=f"{_mib(facts.guest.allocated_bytes)} MiB",
        remedy="choose another host, or free disk on this one",
    )


@check("acceptable", where="destination", title="Guest acceptable to the destination")
def acceptable(facts: Facts) -> Answer:
    host = facts.destination
    if host.resources is None:
        return unknown(host.error or f"{host.name} was not asked")
    if host.problems:
        return failed("; ".join(host.problems))
    return passed(f"{host.name} has nothing against it")


def _mib(size_bytes: int) -> int:
    return size_bytes // 1024**2
