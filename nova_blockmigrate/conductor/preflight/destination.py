"""Checks of what the guest would find at its destination: free names, networks, CPU, machine."""

from __future__ import annotations

from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown
from nova_blockmigrate.survey import Reception


@check("names", where="destination", title="Name and UUID are free")
def names(facts: Facts) -> Answer:
    if facts.reception is None:
        return _not_asked(facts)
    return _none_of(facts, facts.reception.names_taken, "libvirt has", "rename or undefine it there")


@check("macs", where="destination", title="MAC addresses are free")
def macs(facts: Facts) -> Answer:
    if facts.reception is None:
        return _not_asked(facts)
    return _none_of(facts, facts.reception.macs_taken, "another guest has", "give one of them another port")


@check("networks", where="destination", title="Networks are there")
def networks(facts: Facts) -> Answer:
    if facts.reception is None:
        return _not_asked(facts)
    parted = [words.partition(": ") for words in facts.reception.networks_missing]  # what is wrong: what to do
    found, remedies = tuple(wrong for wrong, _, _ in parted), dict.fromkeys(remedy for _, _, remedy in parted if remedy)
    return _none_of(facts, found, "", "; ".join(remedies), "every network can be had")


@check("cpu", where="destination", title="CPU is acceptable")
def cpu(facts: Facts) -> Answer:
    """The destination's libvirt compares (virConnectCompareHypervisorCPU), for KVM and for emulation."""
    if facts.reception is None or facts.guest is None:
        return _not_asked(facts)
    model = facts.guest.cpu_model or "of the guest"
    if facts.reception.machine_problem and not facts.reception.cpu_problem:
        return unknown("CPUs can be compared for known machines only")
    if facts.reception.cpu_problem:
        return failed(
            f"CPU {model} cannot be had on {facts.destination.name}: {facts.reception.cpu_problem}",
            remedy="give guests a model that all hosts have ([libvirt] cpu_mode custom and cpu_models)",
        )
    return passed(f"CPU {model} can be had on {facts.destination.name}")


@check("post_copy", where="destination", title="Guests can come by post-copy")
def post_copy(facts: Facts) -> Answer:
    """Asked only where the source permits it: a transfer that is begun like that ends at once where QEMU cannot."""
    here, there = facts.source.survey, facts.destination.survey
    if here is None or there is None:
        return unknown(facts.source.error or facts.destination.silence)
    if "VIR_MIGRATE_POSTCOPY" not in here.flags:
        return passed(f"{facts.source.name} does not permit post-copy")
    if there.post_copy_problem:
        return failed(
            f"{facts.destination.name}: {there.post_copy_problem}",
            remedy=f"sysctl vm.unprivileged_userfaultfd=1 on {facts.destination.name}, or turn off "
            f"[libvirt] live_migration_permit_post_copy on {facts.source.name}",
        )
    return passed(f"{facts.destination.name} can handle the page faults of a guest whose memory follows")


@check("machine", where="destination", title="Machine type and firmware are known")
def machine(facts: Facts) -> Answer:
    if facts.reception is None or facts.guest is None:
        return _not_asked(facts)
    found: Reception = facts.reception
    if found.machine_problem:
        return failed(found.machine_problem, remedy="install the same version of QEMU as on the source, or a later one")
    if found.firmware_missing:
        return failed(
            f"{facts.destination.name} lacks {', '.join(found.firmware_missing)}",
            remedy="install the same firmware package as on the source",
        )
    return passed(f"{facts.guest.machine_type or 'its machine'} is known to {facts.destination.name}")


@check("secrets", where="destination", title="Secrets are there")
def secrets(facts: Facts) -> Answer:
    """An encrypted vTPM or disk cannot be opened without its libvirt secret, which libvirt does not bring along."""
    if facts.reception is None:
        return _not_asked(facts)
    missing = tuple(f"secret {uuid}" for uuid in facts.reception.secrets_missing)
    return _none_of(facts, missing, "libvirt lacks", "define it there (`virsh secret-define`)", "none is missing")


@check("server_group", where="conductor", title="Server group allows the host")
def server_group(facts: Facts) -> Answer:
    if not facts.group:
        return passed("the server is in no group")
    if facts.group_refusal:
        return failed(facts.group_refusal, remedy="choose another host, or delete the group")
    return passed(f"server group {facts.group} allows {facts.destination.name}")


@check("volumes", where="destination", title="Volumes can be had and reached")
def volumes(facts: Facts) -> Answer:
    """Their backend answers and knows them, and the destination gets through to where they are served (TCP)."""
    if not facts.volumes:
        return passed("the server has no volumes")
    if facts.volume_problems:
        return failed("; ".join(facts.volume_problems), remedy="see that the volume backend works and that nothing is done to them")
    if facts.reception is None:
        return _not_asked(facts)
    unreachable = facts.reception.volumes_unreachable
    if unreachable:
        remedy = "see that the storage network of that host works and that nothing filters the port"
        return failed(f"{facts.destination.name} does not reach {'; '.join(unreachable)}", remedy=remedy)
    return passed(f"{facts.destination.name} reaches all {len(facts.volumes)} volumes")


def _none_of(facts: Facts, found: tuple[str, ...], verb: str, remedy: str, good: str = "") -> Answer:
    host = facts.destination.name
    if not found:
        return passed(f"{good or 'nothing of the guest is taken'}, on {host}")
    return failed(f"on {host} {verb} {'; '.join(found)}".replace("  ", " "), remedy=remedy)


def _not_asked(facts: Facts) -> Answer:
    if facts.guest is None:
        return unknown(facts.source.error or f"{facts.source.name} could not describe the guest")
    return unknown(facts.destination.silence)
