"""Checks of the way between the hosts: libvirt's URI, ports, certificates, clocks, and the queue before it."""

from __future__ import annotations

import time

from nova_blockmigrate.conductor.preflight import certificates
from nova_blockmigrate.conductor.preflight.certificates import End
from nova_blockmigrate.conductor.preflight.facts import Facts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown, warning
from nova_blockmigrate.survey import HostSurvey

CLOCKS_APART_S = 2.0


@check("uri", where="source", title="Migration URI opens")
def uri(facts: Facts) -> Answer:
    """The source opens it and must find the destination: neither itself nor a third host."""
    host, route = facts.destination, facts.route
    if route is None or host.survey is None or facts.source.survey is None:
        return unknown(facts.source.error or host.silence)
    if route.uri_problem:
        return failed(
            f"from {facts.source.name}: {route.uri_problem}",
            remedy=f"see that libvirtd of {host.name} listens as [libvirt] live_migration_uri says, with no firewall between",
        )
    if route.peer_uuid == facts.source.survey.libvirt_uuid:
        return failed(
            f"{route.uri} leads {facts.source.name} to itself (host UUID {route.peer_uuid})",
            needed=f"the host UUID of {host.name}",
            remedy="correct the name's address; hosts made from one image may share a UUID: set host_uuid in libvirtd.conf",
        )
    if route.peer_uuid != host.survey.libvirt_uuid:
        return failed(
            f"{route.uri} leads to the host with UUID {route.peer_uuid}",
            needed=f"{host.survey.libvirt_uuid}, which is {host.name}",
            remedy=f"correct the address of {host.name} on {facts.source.name}",
        )
    return passed(f"{facts.source.name} reaches {host.name} by {route.uri}")


@check("ports", where="source", title="Migration ports are reachable")
def ports(facts: Facts) -> Answer:
    """Memory and disks (NBD) use ports of one range; the destination listens on one of it and the source connects."""
    host, route = facts.destination, facts.route
    if host.survey is None:
        return unknown(host.silence)
    if host.survey.listening_problem:
        return failed(
            f"{host.name} cannot listen for migrations: {host.survey.listening_problem}",
            remedy="correct [libvirt] live_migration_inbound_addr, or free the ports of migration_port_min to _max in qemu.conf",
        )
    if route is None:
        return unknown(facts.source.error or f"{facts.source.name} was not asked")
    where = f"port {route.port} of {host.survey.address or host.name}"
    if route.port_problem:
        return failed(
            f"{facts.source.name} cannot connect to {where}: {route.port_problem}",
            remedy=f"open TCP ports 49152 to 49215 on {host.name} for {facts.source.name}",
        )
    return passed(f"{facts.source.name} connects to {where}")


@check("tls", where="destination", title="TLS certificates are valid")
def tls(facts: Facts) -> Answer:
    """Found beforehand, as libvirt and QEMU say it in the middle of a migration, and not always in words that help."""
    hosts = (facts.source, facts.destination)
    source, destination = facts.source.survey, facts.destination.survey
    if source is None or destination is None:
        return unknown("; ".join(host.silence for host in hosts if host.survey is None))
    if not source.tls_for:
        return _in_the_clear(facts, destination)
    used = certificates.needed(End(facts.source.name, source), End(facts.destination.name, destination))
    now_s = time.time()
    wrong = certificates.problems(used, facts.destination.name, now_s)
    if wrong:
        return failed("; ".join(wrong), remedy="install certificates that are valid and name the host as live_migration_uri does")
    soon = certificates.expiring(used, now_s)
    if soon:
        return warning("; ".join(soon), remedy="renew it")
    return passed(f"{len(used)} certificates are valid")


def _in_the_clear(facts: Facts, destination: HostSurvey) -> Answer:
    if not destination.tls_for:
        return passed("TLS is not used")
    return warning(
        f"{facts.source.name} is not configured for TLS, {facts.destination.name} is: the guest travels in the clear",
        remedy=f"configure {facts.source.name} as {facts.destination.name}",
    )


@check("clocks", where="conductor", title="Clocks are in step")
def clocks(facts: Facts) -> Answer:
    """A warning only: the order of times in logs and in the outcome's marks is wrong when clocks are apart."""
    ahead = {host.name: host.clock_ahead_s for host in (facts.source, facts.destination)}
    known = {name: seconds for name, seconds in ahead.items() if seconds is not None}
    if len(known) < len(ahead):
        return unknown("; ".join(host.silence for host in (facts.source, facts.destination) if host.clock_ahead_s is None))
    everyone = {"the conductor": 0.0, **known}
    apart = max(everyone.values()) - min(everyone.values())
    if apart > CLOCKS_APART_S:
        said = ", ".join(f"{name} is {abs(s):.1f} s {'ahead' if s > 0 else 'behind'}" for name, s in known.items())
        return warning(f"{said} of the conductor", remedy="run chronyd on all hosts")
    return passed(f"within {max(apart, 0.1):.1f} s")


@check("queue", where="conductor", title="A slot is free")
def queue(facts: Facts) -> Answer:
    """A warning only: the migration waits until others are over."""
    busy = [f"{host.moving} on {host.name}" for host in (facts.source, facts.destination) if host.moving >= facts.slots]
    if busy:
        return warning(
            f"it will wait: {', '.join(busy)} under way, {facts.slots} at a time may run (max_concurrent_live_migrations)",
            remedy="wait, or choose another host",
        )
    return passed("it starts at once")
