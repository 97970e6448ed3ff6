"""Checks of disks: their files on the source, and their place on the destination."""

from __future__ import annotations

import itertools

from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown, warning

MIB = 1024**2


@check("chain", where="source", title="Backing chains complete and readable")
def chain(facts: Facts) -> Answer:
    """A base that is missing, damaged or of another format would be found in the middle of the first copy."""
    if facts.guest_survey is None:
        return unknown(facts.source.silence)
    if facts.guest_survey.chain_problem:
        return failed(facts.guest_survey.chain_problem, remedy=f"restore that file on {facts.source.name}")
    if facts.guest is None:
        return unknown(facts.source.silence)
    sound = [disk for disk in facts.guest.disks if not disk.problem]
    odd = [disk.target_dev for disk in sound if not all(layer.sha256 for layer in disk.unchanging_layers)]
    if odd:
        return failed(f"the base of {', '.join(odd)} has no hash, so it cannot be verified on {facts.destination.name}")
    files = sum(len(disk.layers) for disk in facts.guest.disks)
    return passed(f"{files} files of {len(facts.guest.disks)} disks read on {facts.source.name}")


@check("formats", where="source", title="Formats of base files are recorded")
def formats(facts: Facts) -> Answer:
    """A qcow2 file should say what its base is: else each reader guesses from bytes that a guest may have written.

    libvirt guesses for a base without a base of its own only, and refuses to start on any other. The overlay is made anew on
    the destination, with the format recorded; the files below it are brought as they are.
    """
    if facts.guest_survey is None or facts.guest is None:
        return unknown(facts.source.silence)
    wrong: list[str] = []
    unrecorded: list[str] = []
    for disk in facts.guest.disks:
        for depth, (layer, base) in enumerate(itertools.pairwise(disk.layers)):
            read_as = facts.guest_survey.base_formats.get(base.path, base.format)
            is_brought, has_base = disk.readonly or depth > 0, depth + 2 < len(disk.layers)
            guessed = f"{layer.path} does not say that {base.path} is {base.format}"
            if read_as != base.format:
                wrong.append(f"the guest reads {base.path} as {read_as}, and qemu-img takes it for {base.format}")
            elif not layer.backing_format:
                (wrong if is_brought and has_base else unrecorded).append(guessed)
    remedy = "record it while the server is stopped: qemu-img rebase -u -F FORMAT -b BASE FILE"
    if wrong:
        return failed("; ".join(wrong), needed="a format that libvirt need not guess", remedy=remedy)
    if unrecorded:
        return warning("; ".join(unrecorded), remedy=remedy)
    return passed("each file says which format its base has")


@check("layout", where="source", title="Disks have a layout that can be carried over")
def layout(facts: Facts) -> Answer:
    """Files of any depth and place can; what is shared with others, encrypted or no file of the host cannot, nor what a copy
    would lose."""
    if facts.guest is None:
        return unknown(facts.source.silence)
    problems = [f"{disk.target_dev}: {disk.problem}" for disk in facts.guest.disks if disk.problem]
    if problems:
        return failed("; ".join(problems), remedy="change or detach those disks, or move the server by other means")
    formats = sorted({layer.format for disk in facts.guest.disks for layer in disk.layers})
    return passed(f"{len(facts.guest.disks)} disks, {' and '.join(formats) or 'no'} files")


@check("directory", where="destination", title="Instances directory can be written to")
def directory(facts: Facts) -> Answer:
    survey = facts.destination.survey
    if survey is None:
        return unknown(facts.destination.silence)
    if survey.directory_problem:
        return failed(f"{facts.destination.name}: {survey.directory_problem}", remedy="mount it writable or correct instances_path")
    return passed(f"on {facts.destination.name}")


@check("not_shared", where="destination", title="Storage is not shared")
def not_shared(facts: Facts) -> Answer:
    """A file system that both hosts see shows the guest's own file on the destination: same name and same number.

    Found by looking only: no marker is written anywhere. An independent file system has no such file; one that has a file of
    that name by chance gives it another number.
    """
    if facts.guest_survey is None or facts.reception is None:
        return _not_compared(facts)
    taken = facts.reception.files_taken
    shared = [path for path, inode in facts.guest_survey.inodes.items() if taken.get(path) == inode]
    if shared:
        return failed(
            f"{shared[0]} is the same file on {facts.source.name} and {facts.destination.name}",
            needed="disks that are local to each host",
            remedy="migrate it without block migration, with a service that knows shared storage",
        )
    return passed(f"{facts.destination.name} sees none of the guest's disk files")


@check("files", where="destination", title="Names of the guest's files are free")
def files(facts: Facts) -> Answer:
    if facts.reception is None:
        return _not_compared(facts)
    if facts.reception.files_taken:
        return failed(f"{', '.join(facts.reception.files_taken)} on {facts.destination.name} exists already", remedy="move it away")
    return passed(f"nothing of that name on {facts.destination.name}")


@check("disk", where="destination", title="Enough free disk")
def enough_disk(facts: Facts) -> Answer:
    """What the overlays occupy now and the base that is missing, beside what was promised to guests on their way."""
    host = facts.destination
    if host.resources is None or facts.guest is None or facts.reception is None:
        return _not_compared(facts)
    free = host.resources.disk_free_bytes - host.reserved_disk_mib * MIB - host.claimed_disk_bytes
    needed = facts.guest.allocated_bytes + facts.reception.missing_base_bytes
    parts = f"{_mib(facts.guest.allocated_bytes)} MiB are allocated now"
    if facts.reception.missing_base_bytes:
        parts += f", {_mib(facts.reception.missing_base_bytes)} MiB of base images are to be brought"
    if free >= needed:
        return passed(f"{_mib(free)} MiB free on {host.name}; {parts}")
    promised = f" beside {_mib(host.claimed_disk_bytes)} MiB promised to others" if host.claimed_disk_bytes else ""
    return failed(
        f"{_mib(max(0, free))} MiB free on {host.name}{promised}",
        needed=f"{_mib(needed)} MiB ({parts})",
        remedy="choose another host, or free disk on this one",
    )


@check("disk_promises", where="destination", title="Virtual disks within the over-commit ratio")
def disk_promises(facts: Facts) -> Answer:
    """Mostly a warning: it says what may happen once guests fill their disks. enforce_disk_allocation_ratio forbids it."""
    host = facts.destination
    if host.resources is None:
        return unknown(host.silence)
    limit = int(host.resources.disk_gib * host.disk_allocation_ratio)
    promised = host.promised_disk_gib + facts.disk_gib
    if promised <= limit:
        return passed(f"{promised} GiB of virtual disks on {host.name}, {limit} GiB may be promised")
    found = f"{promised} GiB of virtual disks on {host.name}, disk_allocation_ratio allows {limit} GiB"
    remedy = "guests that fill their disks will find the host full: add disk, or raise disk_allocation_ratio"
    if host.enforces_disk_ratio:
        return failed(found, needed=f"{facts.disk_gib} GiB that are not promised", remedy=remedy)
    return warning(found, remedy=remedy)


def _not_compared(facts: Facts) -> Answer:
    if facts.guest is None:
        return unknown(facts.source.error or f"{facts.source.name} could not describe the guest's disks")
    return unknown(facts.destination.silence)


def _mib(size_bytes: int) -> int:
    return -(-size_bytes // MIB)
