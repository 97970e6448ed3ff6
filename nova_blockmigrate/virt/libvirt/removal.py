"""Deleting a guest's files: only where libvirt says that it is not, and while it is verified to be elsewhere or unwanted."""

from __future__ import annotations

import contextlib
import os
import shutil

from nova_blockmigrate.breakpoints import reached
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import UnsafeRemoval
from nova_blockmigrate.network import bridge
from nova_blockmigrate.objects import Copy, GuestDescription, MigrationPlan, Observation, Server
from nova_blockmigrate.virt.libvirt import domain_xml
from nova_blockmigrate.virt.libvirt.guest import Guest
from nova_blockmigrate.virt.libvirt.host import Host, LifecycleEvents
from nova_blockmigrate.virt.libvirt.observe import observe

LIBVIRT_DONE_LIMIT_S = 30.0
_GONE = {Copy.ABSENT, Copy.MIGRATED_AWAY, Copy.SHUT_OFF, Copy.CRASHED}
_NOT_THERE = {Copy.ABSENT, Copy.INCOMING, Copy.UNREACHABLE, Copy.MIGRATED_AWAY}


def delete_server(host: Host, server: Server, instances_path: str) -> None:
    """Delete a server: its domain, then its files. One that is not here is fine."""
    Guest(host, server.uuid, server.domain_name).remove()
    bridge.unplug(server.vifs)
    delete_directory(instances_path, server.uuid)


def clean_source(source: Host, destination: Host, plan: MigrationPlan, guest: GuestDescription, instances_path: str) -> None:
    """Delete what a guest left here that has moved away.

    :raises UnsafeRemoval: it is here still, or the destination's libvirt does not say that it is there.
    """
    here = wait_until_gone(source, plan.server.uuid)
    if here.copy not in _GONE:
        raise UnsafeRemoval(name=f"the disks of {plan.server.uuid}", host=source.name, reason=here.detail)
    there = observe(destination, plan.server.uuid, is_destination=True)
    if there.copy in _NOT_THERE:
        raise UnsafeRemoval(name=f"the disks of {plan.server.uuid}", host=source.name, reason=f"not safe elsewhere: {there.detail}")
    reached("clean.proved")
    Guest(source, plan.server.uuid, plan.server.domain_name).undefine()
    reached("clean.undefined")
    bridge.unplug(plan.server.vifs)
    for disk in guest.disks:
        if disk.is_copied:
            _unlink(disk.layers[0].path)
    reached("clean.disks_deleted")
    delete_directory(instances_path, plan.server.uuid)
    reached("clean.directory_deleted")


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


def delete_directory(instances_path: str, uuid: str) -> None:
    """Delete a server's own directory."""
    path = str(domain_xml.instance_directory(instances_path, uuid))
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
