"""The eight checks of the article that block migration is known by."""

from __future__ import annotations

from nova_blockmigrate import exceptions
from nova_blockmigrate.conductor.preflight.facts import Facts, HostFacts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown
from nova_blockmigrate.objects import PowerState, VmState

_MOVABLE = (VmState.ACTIVE, VmState.PAUSED)


@check("permission", where="conductor", title="Permission", error=exceptions.Forbidden)
def permission(facts: Facts) -> Answer:
    """The API has asked the policy before it accepted the request; what no user asked for is not run."""
    if not facts.requested_by:
        return failed("the request names no user", remedy="send it through the API")
    return passed(f"user {facts.requested_by} may do it, says the policy")


@check("parameters", where="conductor", title="Parameters", error=exceptions.ValidationError)
def parameters(facts: Facts) -> Answer:
    if not _has_local_disks(facts):
        if facts.block_migration == "true":
            return failed(
                "block_migration is true, and no disk of this server is local",
                needed="block_migration false or auto",
                remedy="repeat the request without --block-migrate",
            )
        return passed(f"block_migration is {facts.block_migration}, and all disks are volumes: none is copied")
    if facts.block_migration == "false":
        return failed(
            "block_migration is false, and the disks of this server are local",
            needed="block_migration true or auto",
            remedy="repeat the request with --block-migrate",
        )
    return passed(f"block_migration is {facts.block_migration}")


def _has_local_disks(facts: Facts) -> bool:
    """Also when it is not known: most servers have."""
    return facts.guest is None or not facts.volumes or any(disk.is_copied for disk in facts.guest.disks)


@check("destination_exists", where="conductor", title="Destination exists", error=exceptions.ComputeHostNotFound)
def destination_exists(facts: Facts) -> Answer:
    if facts.destination.exists:
        return passed(f"{facts.destination.name} is a compute host")
    return failed(
        f"{facts.destination.name} is not a compute host known here",
        remedy="look at `nova hypervisor-list`, and that nova-blockmigrate-compute runs on it",
    )


@check("destination_is_not_source", where="conductor", title="Destination is another host", error=exceptions.UnableToMigrateToSelf)
def destination_is_not_source(facts: Facts) -> Answer:
    if facts.destination.name != facts.source.name:
        return passed(f"from {facts.source.name} to {facts.destination.name}")
    return failed(f"the server is on {facts.source.name} already", remedy="name another host, or none")


@check("guest_running", where="source", title="Guest is running", error=exceptions.InstanceInvalidState)
def guest_running(facts: Facts) -> Answer:
    if facts.vm_state not in _MOVABLE:
        return failed(f"the server is {facts.vm_state}", needed="active or paused", remedy="start it, or migrate it cold")
    if facts.guest is None:
        return unknown(facts.source.error or f"{facts.source.name} said nothing of the guest")
    if facts.guest.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
        return failed(
            f"the hypervisor of {facts.source.name} says that the guest is {facts.guest.power_state.name.lower()}",
            needed="running or paused",
            remedy="start the server",
        )
    return passed(f"{facts.guest.power_state.name.lower()} on {facts.source.name}")


def _service(host: HostFacts) -> Answer:
    if not host.exists:
        return unknown(f"{host.name} is not a compute host known here")
    if not host.service_up:
        return failed(
            f"the compute service of {host.name} does not report", remedy=f"start nova-blockmigrate-compute on {host.name}"
        )
    if host.error:
        return unknown(host.error, remedy=f"look at the log of nova-blockmigrate-compute on {host.name}")
    return passed(f"the compute service of {host.name} is up and answers")


@check("source_service", where="source", title="Source's compute service", error=exceptions.ComputeServiceUnavailable)
def source_service(facts: Facts) -> Answer:
    return _service(facts.source)


@check(
    "destination_service", where="destination", title="Destination's compute service", error=exceptions.ComputeServiceUnavailable
)
def destination_service(facts: Facts) -> Answer:
    if facts.destination.disabled:
        return failed(
            f"the compute service of {facts.destination.name} is disabled",
            remedy=f"enable it with `nova service-enable`, or choose another host than {facts.destination.name}",
        )
    return _service(facts.destination)


@check("memory", where="destination", title="Enough free memory")
def enough_memory(facts: Facts) -> Answer:
    host = facts.destination
    if host.resources is None:
        return unknown(host.silence)
    total = int(host.resources.memory_mib * host.ram_allocation_ratio)
    free = total - host.reserved_memory_mib - host.resources.memory_used_mib - host.claimed_memory_mib
    if free >= facts.memory_mib:
        return passed(f"{free} MiB free on {host.name}, {facts.memory_mib} MiB needed")
    return failed(
        f"{max(0, free)} MiB free on {host.name}",
        needed=f"{facts.memory_mib} MiB",
        remedy="choose another host, or free memory on this one",
    )


@check("hypervisor", where="destination", title="Same hypervisor", error=exceptions.MigrationPreCheckError)
def same_hypervisor(facts: Facts) -> Answer:
    source, destination = facts.source.resources, facts.destination.resources
    if source is None or destination is None:
        return unknown("the hypervisor of both hosts must be known to be compared")
    if source.hypervisor_type != destination.hypervisor_type:
        return failed(
            f"{facts.source.name} runs {source.hypervisor_type}, {facts.destination.name} runs {destination.hypervisor_type}",
            needed="the same on both",
        )
    if not destination.hypervisor_version:
        return failed(
            f"{destination.hypervisor_type} cannot be run on {facts.destination.name}",
            needed=f"at least {_version(source.hypervisor_version)}",
            remedy=f"install it; ask `virsh version` on {facts.destination.name}",
        )
    versions = f"{_version(source.hypervisor_version)} to {_version(destination.hypervisor_version)}"
    if destination.hypervisor_version < source.hypervisor_version:
        return failed(
            f"{source.hypervisor_type} {versions} is a step back, which QEMU does not support",
            needed=f"at least {_version(source.hypervisor_version)} on {facts.destination.name}",
            remedy="upgrade the destination, or choose another host",
        )
    return passed(f"{source.hypervisor_type} {versions}")


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
