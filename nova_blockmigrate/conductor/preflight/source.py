"""Checks of the guest on its own host, as its libvirt and QEMU tell."""

from __future__ import annotations

from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown


@check("snapshots", where="source", title="No libvirt snapshot")
def snapshots(facts: Facts) -> Answer:
    """libvirt refuses to migrate a domain that has snapshots, in words that name none of them."""
    if facts.guest_survey is None:
        return unknown(facts.source.silence)
    if facts.guest_survey.snapshots:
        return failed(
            f"the guest has libvirt snapshots: {', '.join(facts.guest_survey.snapshots)}",
            needed="none",
            remedy=f"delete them on {facts.source.name} (`virsh snapshot-delete`), or their metadata (`--metadata`)",
        )
    return passed("none")


@check("jobs", where="source", title="No active job")
def jobs(facts: Facts) -> Answer:
    if facts.guest_survey is None:
        return unknown(facts.source.silence)
    if facts.guest_survey.jobs:
        return failed(
            f"under way: {'; '.join(facts.guest_survey.jobs)}",
            needed="none",
            remedy=f"wait for its end, or end it on {facts.source.name} (`virsh blockjob --abort`, `virsh domjobabort`)",
        )
    return passed("none")


@check("devices", where="source", title="Every device can move")
def devices(facts: Facts) -> Answer:
    if facts.guest_survey is None:
        return unknown(facts.source.silence)
    if facts.guest_survey.immovable:
        return failed("; ".join(facts.guest_survey.immovable), remedy="detach them, or migrate the server cold")
    return passed("no device is tied to the host")


@check("blockers", where="source", title="QEMU has nothing against it")
def blockers(facts: Facts) -> Answer:
    """Passes when QEMU was not asked: libvirt asks by itself when the migration begins, before anything is copied."""
    if facts.guest_survey is None:
        return unknown(facts.source.silence)
    if facts.guest_survey.blockers is None:
        return passed("not asked now, as that would mark the domain as tainted; libvirt asks before anything is copied")
    if facts.guest_survey.blockers:
        return failed("; ".join(facts.guest_survey.blockers), remedy="remove the device that QEMU names")
    return passed("QEMU names no reason")
