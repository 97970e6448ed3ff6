"""A way out of a trap in libvirt (seen with 9.0.0, in one of three runs): a guest that powers off while its disks are
copied can leave its migration job waiting for ever, as the last wake-up comes before the domain counts as inactive.
Then nothing may be done to the domain, not even starting it, until libvirt is restarted.

The job is woken by the end of libvirt's own connection to the destination's libvirt. So that is cut, in the kernel, when
it can be told from others: it is the only one of its kind.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from nova_blockmigrate import processes

GRACE_S = 2.0
"""How long after the end of its guest a healthy job may take."""
_PORTS = {"tcp": 16509, "tls": 16514}
_LINE = re.compile(r'\S+:(?P<local>\d+)\s+\S+:\d+\s+users:\(\("(?:libvirtd|virtqemud|prio-rpc-\S*|rpc-\S*)"')


def wake(destination_uri: str) -> bool:
    """Cut libvirt's connection to a destination; False when there is none, or more than one, or it cannot be cut."""
    port = port_of(destination_uri)
    if port is None:
        return False
    to_port = ["state", "established", "dport", "=", f":{port}"]
    ports = local_ports(_ss("-H", "-tnp", *to_port))
    if len(ports) != 1:
        return False
    _ss("-H", "-K", "-tn", *to_port, "and", "sport", "=", f":{ports[0]}")
    return True


def port_of(uri: str) -> int | None:
    """The TCP port behind a connection URI; None for transports that have none of their own (ssh)."""
    parts = urlsplit(uri)
    return parts.port or _PORTS.get(parts.scheme.partition("+")[2] or "tls")


def local_ports(listing: str) -> list[int]:
    """Local ports of libvirt's own connections in the output of `ss -Htnp`."""
    return [int(match["local"]) for match in _LINE.finditer(listing)]


def _ss(*arguments: str) -> str:
    try:
        return processes.run(["ss", *arguments], timeout_s=5).stdout.decode()
    except (FileNotFoundError, TimeoutError):
        return ""
