"""On the destination: a handover that was left half way is completed; after one, the guest is announced, persistent, and
its disks on stable storage."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import libvirt

from nova_blockmigrate import exceptions
from nova_blockmigrate.network.plumbing import Plumbing
from nova_blockmigrate.objects import Copy, MigrationPlan, Observation, PowerState, TransferOutcome, TransferProgress, Verdict
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.libvirt import disks, post_copy, settle
from nova_blockmigrate.virt.libvirt.decide import Action, decide
from nova_blockmigrate.virt.libvirt.describe import migratable_xml
from nova_blockmigrate.virt.libvirt.domain_xml import DomainFacts
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import observe
from nova_blockmigrate.virt.libvirt.transfer import progress_of


def settle_in(host: Host, plumbing: Plumbing, plan: MigrationPlan, autostart: bool) -> TransferProgress | None:
    """Finish what the transfer left; returns its final figures if libvirt still has them.

    `autostart`: libvirt is to start the guest at each boot of its host; it does not carry that along.

    QEMU has announced the guest's MAC by itself when it had received everything; frames are lost, so it is said again here.

    :raises GuestNotFound: libvirt does not have it.
    :raises WritesLost: a disk of it may lack what was written. To be asked again is no proof that it does not.
    """
    plumbing.announce(plan.server.vifs)
    plumbing.refresh({plan.server.uuid: plan.server.vifs})  # groups may have changed while it was on its way
    domain = host.domain(plan.server.uuid, plan.server.domain_name)
    with host.errors("see that the guest is persistent"):
        if not domain.isPersistent():
            host.connection().defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))
        if autostart:
            domain.setAutostart(1)
        xml, live = migratable_xml(domain), DomainFacts(domain.XMLDesc(0))
    ours = {vif.mac.lower() for vif in plan.server.vifs}
    for foreign in live.attachments:
        if foreign.mac.lower() not in ours:
            plumbing.announce_foreign(foreign.mac, foreign.tap, foreign.bridge, foreign.device)
    facts = DomainFacts(xml)
    written = [disk.path for disk in facts.disks if disk.source_type == "file" and disk.path and not disk.readonly]
    written += [path for path in facts.nvram[:1] if path]
    in_parallel([functools.partial(_flush, host, path) for path in written])
    return _final_figures(domain)


def _flush(host: Host, path: str) -> None:
    """The kernel tells of writes that failed once; it forgets them then, and the next fsync(2) succeeds (see its man page)."""
    try:
        disks.flush([path])
    except OSError as error:
        raise exceptions.WritesLost(host=host.name, path=path, reason=error.strerror or str(error)) from error


def complete(
    host: Host, source: Host, uuid: str, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]
) -> TransferOutcome:
    """Let a complete copy run here if the source's libvirt proves that it never runs there again (see `decide`).

    `source_is_dead`: somebody vouches for that while the source's libvirt cannot be reached. libvirt here has ended a copy whose
    source is dead, unless it was complete: then it is kept, and persistent. So one that is absent never ran here.
    `goes_on`: whether the migration is under way still. It may be over: its guest stayed, unseen from here, and has moved to a
    third host since, or was deleted. Then its source looks the same, but the copy here is stale. So it is asked after looking.
    """
    looks: list[Callable[[], Observation]] = [
        lambda: observe(source, uuid, is_destination=False, timeout_s=settle.ANSWER_LIMIT_S),
        lambda: observe(host, uuid, is_destination=True),
    ]
    there, here = in_parallel(looks)
    if source_is_dead and there.copy is Copy.UNREACHABLE:
        if here.copy is Copy.ABSENT:
            reason = f"{there.detail}: an operator says that {source.name} is dead, and no copy of the guest was complete here."
            return TransferOutcome(Verdict.STAYED, reason, power_state=PowerState.SHUTDOWN)
        there = dataclasses.replace(there, copy=Copy.CRASHED if here.copy in post_copy.HALF_MOVED else Copy.MIGRATED_AWAY)
    if there.copy in post_copy.DEAD:
        here = post_copy.lost_half(host, uuid, here)
    is_half_moved = here.copy in post_copy.HALF_MOVED or there.copy in post_copy.HALF_MOVED
    action = decide(dataclasses.replace(there, self_switching=is_half_moved), here)  # (the journal that says so is the source's)
    nobody_sends = source_is_dead and there.copy is Copy.CRASHED and here.copy is Copy.POST_COPY
    if nobody_sends or (action is Action.GIVE_UP and here.copy is not Copy.ABSENT):
        return _give_up(host, uuid)
    if action is Action.RESUME_DESTINATION:
        if not goes_on():
            reason = f"nobody says that its migration is under way, so this copy may be stale: {there.detail}; {here.detail}"
            return TransferOutcome(Verdict.UNDECIDED, reason)
        if not was_paused:
            settle.resume_destination(host, uuid)
        return TransferOutcome(Verdict.HANDED_OVER, power_state=PowerState.PAUSED if was_paused else PowerState.RUNNING)
    if action is Action.FINISH:
        return TransferOutcome(Verdict.HANDED_OVER, power_state=here.power_state)
    return TransferOutcome(Verdict.UNDECIDED, f"{there.detail}; {here.detail}")


def _give_up(host: Host, uuid: str) -> TransferOutcome:
    """The memory that is missing here will never come: the guest has ended, and its disks here are the last word."""
    if (now := observe(host, uuid, is_destination=True)).copy not in post_copy.HALF_MOVED:
        return TransferOutcome(Verdict.UNDECIDED, now.detail)  # it has just arrived
    post_copy.end_half(host, uuid)
    return TransferOutcome(Verdict.HANDED_OVER, post_copy.HALF_LOST, power_state=PowerState.CRASHED)


def _final_figures(domain: Any) -> TransferProgress | None:
    """libvirt sends the completed job's statistics along to the destination, where they can be read once."""
    try:
        job = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    except libvirt.libvirtError:
        return None
    return progress_of(job) if job.get("type") == libvirt.VIR_DOMAIN_JOB_COMPLETED else None
