"""The laboratory's network: one namespace a machine, a management and a tenant bridge in the controller's, cables between them.

Nothing is created in the machine's own network namespace: both ends of each cable are born where they belong.
"""

import contextlib
import ctypes
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from labkit.commands import run
from labkit.errors import LabError
from labkit.layout import Layout, Machine

MANAGEMENT_BRIDGE, TENANT_BRIDGE, GUEST_BRIDGE = "brmgmt", "brtenant", "br100"
NETWORKS = ("management", "tenant")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def namespace_file(namespace: str) -> Path:
    return Path("/run/netns") / namespace


def exists(machine: Machine) -> bool:
    return namespace_file(machine.namespace).exists()


def build(layout: Layout) -> None:
    """Create the namespaces, bridges, cables and addresses; none of them may exist."""
    for machine in layout.machines:
        run(["ip", "netns", "add", machine.namespace])
    controller = layout.controller
    _configure(
        controller,
        [
            "link set lo up",
            f"link add {MANAGEMENT_BRIDGE} type bridge",
            f"link add {TENANT_BRIDGE} type bridge",
            f"addr add {controller.management_ip}/24 dev {MANAGEMENT_BRIDGE}",
            f"addr add {controller.tenant_ip}/24 dev {TENANT_BRIDGE}",
            f"link set {MANAGEMENT_BRIDGE} up",
            f"link set {TENANT_BRIDGE} up",
        ],
    )
    for host in layout.hosts:
        _plug(controller, host)


def _plug(controller: Machine, host: Machine) -> None:
    _configure(
        host,
        [
            "link set lo up",
            f"link add eth0 type veth peer name {_port(host, 'management')} netns {controller.namespace}",
            f"link add eth1 type veth peer name {_port(host, 'tenant')} netns {controller.namespace}",
            f"addr add {host.management_ip}/24 dev eth0",
            "link set eth0 up",
            "link set eth1 up",
            f"link add {GUEST_BRIDGE} type bridge",
            f"link set {GUEST_BRIDGE} up",
            f"link set eth1 master {GUEST_BRIDGE}",
        ],
    )
    _configure(
        controller,
        [
            f"link set {_port(host, 'management')} master {MANAGEMENT_BRIDGE} up",
            f"link set {_port(host, 'tenant')} master {TENANT_BRIDGE} up",
        ],
    )


def _port(host: Machine, network: str) -> str:
    """The controller's end of a host's cable."""
    return f"{network[0]}{host.number}"


def _configure(machine: Machine, commands: list[str]) -> None:
    run(["ip", "-n", machine.namespace, "-batch", "-"], input="\n".join(commands) + "\n")


def cut(layout: Layout, host: Machine, network: str = "management") -> None:
    """Pull a host's cable out of the fabric, until `heal`; the host sees its carrier go."""
    _set_cable(layout, host, network, "down")


def heal(layout: Layout, host: Machine, network: str = "management") -> None:
    _set_cable(layout, host, network, "up")


def separate(host: Machine, address: str) -> None:
    """Have a host drop what it sends to and gets from an address of the management network; silence, as in a broken switch."""
    rules = f"""
table inet separation {{
    chain incoming {{ type filter hook input priority -300; ip saddr {address} drop; }}
    chain outgoing {{ type filter hook output priority -300; ip daddr {address} drop; }}
}}
"""
    run(["ip", "netns", "exec", host.namespace, "nft", "-f", "-"], input=rules)


def deafen(host: Machine, address: str, ports: tuple[int, ...]) -> None:
    """Have a host hear nothing that comes from an address by these TCP ports; what it says itself arrives."""
    of_ports = f"{{ {', '.join(map(str, ports))} }}"
    rules = f"""
table inet separation {{
    chain incoming {{
        type filter hook input priority -300;
        ip saddr {address} tcp sport {of_ports} drop;
        ip saddr {address} tcp dport {of_ports} drop;
    }}
}}
"""
    run(["ip", "netns", "exec", host.namespace, "nft", "-f", "-"], input=rules)


def rejoin(host: Machine) -> None:
    run(["ip", "netns", "exec", host.namespace, "nft", "delete", "table", "inet", "separation"], check=False)


def limit_rate(host: Machine, mbit_s: int | None) -> None:
    """Shape what a host sends over the management network, so that a transfer lasts long enough to be looked at."""
    queue = ["ip", "netns", "exec", host.namespace, "tc", "qdisc"]
    if mbit_s is None:
        run([*queue, "del", "dev", "eth0", "root"], check=False)
    else:
        run([*queue, "replace", "dev", "eth0", "root", "tbf", "rate", f"{mbit_s}mbit", "burst", "256kb", "latency", "100ms"])


def _set_cable(layout: Layout, host: Machine, network: str, state: str) -> None:
    if network not in NETWORKS or host.is_controller:
        raise LabError(f"only a host's {' or '.join(NETWORKS)} network can be cut")
    _configure(layout.controller, [f"link set {_port(host, network)} {state}"])


def tenant_port_of(layout: Layout, mac: str) -> str:
    """The port of the tenant network's bridge behind which a MAC was seen last; empty when it was not."""
    show = ["bridge", "-j", "fdb", "show", "br", TENANT_BRIDGE]
    entries = json.loads(run(["ip", "netns", "exec", layout.controller.namespace, *show]).stdout)
    return next((str(entry["ifname"]) for entry in entries if entry["mac"] == mac.lower() and "master" in entry), "")


def remove(namespaces: list[str]) -> None:
    """Delete namespaces; bridges and cables go with them. No process may be left in them, else they live on unnamed."""
    for namespace in namespaces:
        run(["ip", "netns", "del", namespace], check=False)
        if namespace_file(namespace).exists():
            raise LabError(f"network namespace {namespace} cannot be deleted")


def namespaces_of(layout: Layout) -> list[str]:
    """Names of this laboratory's network namespaces that exist, whatever else of it does."""
    return sorted(path.name for path in Path("/run/netns").glob(f"nbm-{layout.id}-*"))


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in the network namespace: sockets made here belong to it for good."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        other = os.open(namespace_file(namespace), os.O_RDONLY)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def connect(namespace: str | None, address: str, port: int, timeout_s: float = 5) -> socket.socket:
    """A TCP connection from inside a network namespace (None: from where we are)."""
    with inside(namespace) if namespace else contextlib.nullcontext():
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect((address, port))
        # as HTTP clients do: a request in two writes would otherwise wait 40 ms for an acknowledgement
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        connection.close()
        raise
    return connection
