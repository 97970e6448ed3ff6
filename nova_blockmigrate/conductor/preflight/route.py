"""Checks of the way between the hosts: libvirt's URI, ports, certificates, clocks, and the queue before it."""

from __future__ import annotations

import time

from nova_blockmigrate.conductor.preflight.facts import Facts, HostFacts
from nova_blockmigrate.conductor.preflight.registry import Answer, check, failed, passed, unknown, warning
from nova_blockmigrate.survey import Certificate, HostSurvey

CLOCKS_APART_S = 2.0
EXPIRES_SOON_S = 14 * 86400.0


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
    hosts = (facts.source, facts.destination)
    surveys = [(host, host.survey) for host in hosts if host.survey is not None]
    if len(surveys) < len(hosts):
        return unknown("; ".join(host.silence for host in hosts if host.survey is None))
    if not any(survey.uses_tls for _, survey in surveys):
        return passed("TLS is not used")
    now = time.time()
    wrong = [words for host, survey in surveys for words in _invalid(host, survey, now)]
    if wrong:
        return failed("; ".join(wrong), remedy="install certificates that are valid and name the host as live_migration_uri does")
    soon = [
        f"{host.name}: {one.path} expires in {(one.not_after_s - now) / 86400:.0f} days"
        for host, survey in surveys
        for one in survey.certificates
        if one.not_after_s - now < EXPIRES_SOON_S
    ]
    if soon:
        return warning("; ".join(soon), remedy="renew it")
    return passed(f"{sum(len(survey.certificates) for _, survey in surveys)} certificates are valid")


def _invalid(host: HostFacts, survey: HostSurvey, now: float) -> list[str]:
    reasons = [(one, why_invalid(one, {host.name, survey.address} - {""}, now)) for one in survey.certificates]
    if not survey.uses_tls:
        return [f"{host.name} is not configured for TLS, the other host is"]
    return [f"{host.name}: {one.path}: {reason}" for one, reason in reasons if reason]


def why_invalid(one: Certificate, names: set[str], now: float) -> str:
    """Why a certificate will not do for a host of these names, in words."""
    if one.problem:
        return one.problem
    if now > one.not_after_s:
        return f"it expired {(now - one.not_after_s) / 86400:.0f} days ago"
    if now < one.not_before_s:
        return "it is not valid yet"
    if one.is_own and not any(_covers(pattern, name) for pattern in one.names for name in names):
        return f"it is good for {', '.join(one.names) or 'no name'}, not for {' or '.join(sorted(names))}"
    return ""


def _covers(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return name.partition(".")[2].lower() == pattern[2:].lower()
    return pattern.lower() == name.lower()


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
