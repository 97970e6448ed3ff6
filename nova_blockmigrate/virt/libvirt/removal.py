"""Deleting a guest's files: only where libvirt says that it is not, and while it is verified to be elsewhere or unwanted."""

from __future__ import annotations

import contextlib
import os

from nova_blockmigrate.breakpoints import reached
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import UnsafeRemoval
from nova_blockmigrate.objects import Copy, GuestDescription, MigrationPlan, Observation
from nova_blockmigrate.virt.libvirt.guest import Guest
from nova_blockmigrate.virt.libvirt.host import Host, LifecycleEvents
from nova_blockmigrate.virt.libvirt.observe import observe
from nova_blockmigrate.virt.libvirt.unmake import Site, unmake

LIBVIRT_DONE_LIMIT_S = 30.0
_GONE = {Copy.ABSENT, Copy.MIGRATED_AWAY, Copy.SHUT_OFF, Copy.CRASHED}
_NOT_THERE = {Copy.ABSENT, Copy.INCOMING, Copy.UNREACHABLE, Copy.MIGRATED_AWAY}


def delete_server(site: Site) -> tuple[str, ...]:
    """Delete a server: its domain, then what its ledger lists; returns what stays, in words. One that is not here is fine."""
    Guest(site.host, site.server.uuid, site.server.domain_name).remove()
    site.plumbing.note(site.server.vifs, site.ledger)
    return unmake(site)


def clean_source(site: Site, destination: Host, plan: MigrationPlan, guest: GuestDescription) -> tuple[str, ...]:
    """Delete what a guest left here that has moved away, as far as its ledger lists it; returns what stays, in words.

    :raises UnsafeRemoval: it is here still, or the destination's libvirt does not say that it is there.
    """
    source = site.host
    refuse_unless_moved(source, destination, plan)
    reached("clean.proved")
    Guest(source, plan.server.uuid, plan.server.domain_name).undefine()
    reached("clean.undefined")
    site.plumbing.note(plan.server.vifs, site.ledger)
    left = unmake(site)
    reached("clean.unmade")
    copied = [disk.layers[0].path for disk in guest.disks if disk.is_copied]
    stale = [path for path in copied if os.path.exists(path)]
    return (
        *left,
        *(f"{path} stays on {source.name}, though the guest has left: nova-blockmigrate did not make it" for path in stale),
    )


def refuse_unless_moved(source: Host, destination: Host, plan: MigrationPlan) -> None:
    """Before anything of a guest is deleted that has moved away.

    :raises UnsafeRemoval: it is here still, or the destination's libvirt does not say that it is there.
    """
    here = wait_until_gone(source, plan.server.uuid)
    if here.copy not in _GONE:
        raise UnsafeRemoval(name=f"the disks of {plan.server.uuid}", host=source.name, reason=here.detail)
    there = observe(destination, plan.server.uuid, is_destination=True)
    if there.copy in _NOT_THERE:
        raise UnsafeRemoval(name=f"the disks of {plan.server.uuid}", host=source.name, reason=f"not safe elsewhere: {there.detail}")


def wait_until_gone(host: Host, uuid: str, limit_s: float = LIBVIRT_DONE_LIMIT_S) -> Observation:
    """What libvirt says of a guest that is about to end here; waits (by events) while it still has it."""
    queue = native.queue.SimpleQueue()
    deadline = native.time.monotonic() + limit_s
    with LifecycleEvents(host.connection(), uuid, "here", queue):
        while True:
            seen = observe(host, uuid, is_destination=False)
            left_s = deadline - native.time.monotonic()
            if seen.copy in _GONE or seen.copy is Copy.RUNNING or left_s <= 0:
                return seen
            with contextlib.suppress(native.queue.Empty):
                queue.get(timeout=min(left_s, 1.0))
