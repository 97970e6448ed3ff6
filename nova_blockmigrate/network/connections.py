"""Connections that a guest has open, handed from host to host: what they allow must not end because the guest moved.

A host that never saw a connection begin takes a packet in its middle for the beginning of a new one. Where the rules allow
that direction it goes on anyhow; where they do not (an answer to what the guest has asked), it would be dropped until the
guest itself sends the next packet. So the entries of the source's connection tracking are given to the destination's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence

from nova_blockmigrate import processes
from nova_blockmigrate.network import ruleset
from nova_blockmigrate.objects import Vif

MOST = 20_000
"""Connections that are handed over at the most: beyond it, the transfer of their list would take seconds."""
_TIMEOUT_S = 20.0
_ENTRY = re.compile(r"-A( -{1,2}[a-z][a-z-]* [0-9A-Za-z.:,_]+)+")
_OPTIONS = frozenset(
    {
        *("-t", "-u", "-w", "-s", "-d", "-r", "-q", "-p", "--sport", "--dport", "--reply-port-src", "--reply-port-dst", "--state"),
        *("--icmp-type", "--icmp-code", "--icmp-id", "--icmpv6-type", "--icmpv6-code", "--icmpv6-id"),
    }
)


def read(vifs: Iterable[Vif]) -> list[str]:
    """The connections of a guest's interfaces, as `conntrack` writes them for reading them again; none without `conntrack`."""
    if shutil.which("conntrack") is None:
        return []
    found: dict[str, None] = {}
    for vif in vifs:
        for address in _addresses(vif):
            family = "ipv6" if ":" in address else "ipv4"
            for side in ("--orig-src", "--orig-dst"):
                zone = ["--zone", str(ruleset.zone_of(vif))]
                answer = processes.run(["conntrack", "-L", "-f", family, *zone, side, address, "-o", "save"], _TIMEOUT_S)
                found |= dict.fromkeys(line for line in answer.stdout.decode().splitlines() if is_entry(line))
    return list(found)[:MOST]


def write(entries: Sequence[str]) -> int:
    """Add connections that another host has read; returns how many of them were well-formed. Known ones are brought up to date."""
    known = [entry for entry in entries if is_entry(entry)][:MOST]
    if known and shutil.which("conntrack") is not None:
        processes.run(["conntrack", "-R", "-"], _TIMEOUT_S, ("\n".join(known) + "\n").encode())
    return len(known)


def is_entry(line: str) -> bool:
    """Whether a line is one entry to add, and nothing else: it comes from another host and becomes a command here."""
    return _ENTRY.fullmatch(line.strip()) is not None and set(line.split()[1::2]) <= _OPTIONS


def _addresses(vif: Vif) -> list[str]:
    return [vif.ip_address] if vif.port_security and vif.ip_address else []
