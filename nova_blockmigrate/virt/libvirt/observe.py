"""What libvirt says of one host's copy of a guest: state, reason and job, as an `Observation`."""

from __future__ import annotations

from typing import Any

import libvirt

from nova_blockmigrate.exceptions import HypervisorUnavailable
from nova_blockmigrate.objects import Copy, Observation, PowerState
from nova_blockmigrate.threads import call_within
from nova_blockmigrate.virt.libvirt.host import Host

ANSWER_TIMEOUT_S = 10.0
_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}
_DIED = {libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_FAILED}
_RUNS = {libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED, libvirt.VIR_DOMAIN_SHUTDOWN, libvirt.VIR_DOMAIN_PMSUSPENDED}
_NOT_OVER = {libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN}
"""How libvirt refuses statistics of an incoming job (unsupported: "available only on the source host"), or has no such guest."""
_POST_COPY = {
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): Copy.POST_COPY,
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): Copy.POST_COPY,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): Copy.POST_COPY_BROKEN,
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): Copy.POST_COPY_BROKEN,
}
"""Source and destination have these alike: the source is paused, the destination runs, or stands where it needs a page."""
_BY_MIGRATION = {libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP}


def power_state(state: int, reason: int) -> PowerState:
    """Nova's power state for libvirt's state and reason."""
    if state == libvirt.VIR_DOMAIN_SHUTOFF and reason in _DIED:
        return PowerState.CRASHED
    return _POWER.get(state, PowerState.NOSTATE)


def classify(state: int, reason: int, job_active: bool, is_destination: bool) -> Copy:
    """The copy that libvirt's state, reason and job mean, on the source or on the destination of a migration."""
    if (state, reason) in _POST_COPY:
        return _POST_COPY[state, reason]
    if state in _RUNS:
        return Copy.RUNNING_JOB if job_active and not is_destination else Copy.RUNNING
    if state == libvirt.VIR_DOMAIN_PAUSED and reason in _BY_MIGRATION:
        if is_destination:
            return Copy.INCOMING
        return Copy.PAUSED_MIGRATION_JOB if job_active else Copy.PAUSED_MIGRATION
    if state == libvirt.VIR_DOMAIN_PAUSED:
        if is_destination:
            return Copy.PAUSED_COMPLETE
        return Copy.PAUSED_MIGRATION_JOB if job_active else Copy.PAUSED_BY_USER
    if state == libvirt.VIR_DOMAIN_CRASHED or (state == libvirt.VIR_DOMAIN_SHUTOFF and reason in _DIED):
        return Copy.CRASHED
    if state == libvirt.VIR_DOMAIN_SHUTOFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED:
        return Copy.MIGRATED_AWAY
    return Copy.SHUT_OFF


def observe(host: Host, uuid: str, is_destination: bool, fenced: bool = False, timeout_s: float = ANSWER_TIMEOUT_S) -> Observation:
    """Look at a guest on `host`. A host that does not answer in time is `UNREACHABLE`, never an error."""
    try:
        return call_within(timeout_s, lambda: _look(host, uuid, is_destination, fenced))
    except HypervisorUnavailable as error:
        return Observation(Copy.UNREACHABLE, fenced=fenced, detail=str(error))
    except TimeoutError as error:
        return Observation(Copy.UNREACHABLE, fenced=fenced, detail=f"libvirt on {host.name}: {error}")


def _look(host: Host, uuid: str, is_destination: bool, fenced: bool) -> Observation:
    domain = host.find_domain(uuid)
    if domain is None:
        return Observation(Copy.ABSENT, fenced=fenced, detail=f"no such domain on {host.name}")
    try:
        state, reason = domain.state()
        job = not is_destination and state != libvirt.VIR_DOMAIN_SHUTOFF and outgoing_job_is_active(domain)
        copy = classify(state, reason, job, is_destination)
        if copy is Copy.PAUSED_COMPLETE and not incoming_job_is_over(domain):
            copy = Copy.INCOMING
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Observation(Copy.ABSENT, fenced=fenced, detail=str(error))
        return Observation(Copy.UNREACHABLE, fenced=fenced, detail=str(error))
    return Observation(copy, power_state(state, reason), fenced, detail=f"{copy} on {host.name} (libvirt: {state}/{reason})")


def outgoing_job_is_active(domain: Any) -> bool:
    """Whether libvirt is migrating the domain away."""
    try:
        job = domain.jobStats()
    except libvirt.libvirtError as error:
        # not running (any more), an incoming one, or gone since it was looked up
        if error.get_error_code() in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
            return False
        raise
    return bool(
        job.get("type") in (libvirt.VIR_DOMAIN_JOB_UNBOUNDED, libvirt.VIR_DOMAIN_JOB_BOUNDED)
        and job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
    )


def incoming_job_is_over(domain: Any) -> bool:
    """Whether the destination's libvirt has ended its part of a migration, and has that on disk.

    Until then it kills the copy when it is restarted, complete or not; afterwards it keeps it. While the job lasts libvirt refuses
    statistics (they are the source's).
    """
    try:
        domain.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NOT_OVER:
            return False
        raise
    return True
