"""How much a running guest writes: memory by QEMU's dirty rate, disks by their counters, both over the same moment.

Reads only. QEMU samples pages for the dirty rate, so the guest is not slowed down.
"""

from __future__ import annotations

from typing import Any

import libvirt

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.objects import GuestLoad, PowerState, Server
from nova_blockmigrate.threads import call_within
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import power_state

MIB = 1024**2
_POLL_S = 0.05
_PATIENCE_S = 2.0
"""What libvirt may take beyond the time of measuring; a job that holds the domain would make it wait for half a minute."""
_MEASURED = 2
"""VIR_DOMAIN_DIRTYRATE_MEASURED"""


def measure(host: Host, server: Server, seconds: int) -> GuestLoad:
    """Watch a guest of this host for `seconds`.

    :raises GuestNotFound: libvirt does not know it.
    """
    connection = host.open()  # its own: no other call shall wait for this one; not closed, as one may be stuck on it in the end
    domain = host.find_domain(server.uuid, connection)
    try:
        if domain is None:
            domain = host.domain(server.uuid, server.domain_name)
        with host.errors("measure what the guest writes", server.domain_name):
            state = power_state(*domain.state())
            if state is not PowerState.RUNNING:
                return GuestLoad(0, _memory_used(domain), 0, 0, f"it is {state.name.lower()}")
            return call_within(seconds + _PATIENCE_S, lambda: _watch(connection, domain, seconds))
    except TimeoutError as error:
        return GuestLoad(0, reason=f"libvirt was busy with the guest: {error}")


def _watch(connection: Any, domain: Any, seconds: int) -> GuestLoad:
    if domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
        return GuestLoad(0, _memory_used(domain), reason="a job of the guest is running")
    reason = ""
    try:
        domain.startDirtyRateCalc(seconds, 0)
    except libvirt.libvirtError as error:  # QEMU older than 5.2, or not its architecture
        reason = f"no dirty rate: {error}"
    started, before = native.time.monotonic(), _written(connection, domain)
    native.time.sleep(seconds)
    after, elapsed = _written(connection, domain), native.time.monotonic() - started
    dirty = None if reason else _dirty_rate(connection, domain)
    if dirty is None and not reason:
        reason = "QEMU did not finish measuring the dirty rate"
    return GuestLoad(round(elapsed, 3), _memory_used(domain), dirty, max(0, int((after - before) / elapsed)), reason)


def _dirty_rate(connection: Any, domain: Any) -> int | None:
    """Bytes a second, once QEMU has them."""
    for _ in range(int(_PATIENCE_S / 2 / _POLL_S)):
        figures = _stats(connection, domain, libvirt.VIR_DOMAIN_STATS_DIRTYRATE)
        if figures.get("dirtyrate.calc_status") == _MEASURED:
            return int(figures.get("dirtyrate.megabytes_per_second", 0)) * MIB
        native.time.sleep(_POLL_S)
    return None


def _written(connection: Any, domain: Any) -> int:
    """Bytes that the guest has written to all its disks so far."""
    figures = _stats(connection, domain, libvirt.VIR_DOMAIN_STATS_BLOCK)
    return sum(value for name, value in figures.items() if name.startswith("block.") and name.endswith(".wr.bytes"))


def _stats(connection: Any, domain: Any, which: int) -> dict[str, Any]:
    figures: dict[str, Any] = connection.domainListGetStats([domain], which)[0][1]
    return figures


def _memory_used(domain: Any) -> int | None:
    """The resident set of QEMU, never more than the guest has; None when the guest does not run."""
    try:
        resident_kib = domain.memoryStats().get("rss")
        return None if resident_kib is None else min(resident_kib, domain.maxMemory()) * 1024
    except libvirt.libvirtError:
        return None
