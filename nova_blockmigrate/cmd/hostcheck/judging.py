"""What a host's facts mean for migrations (pure): a finding a check, each with its remedy."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
from collections.abc import Callable

from nova_blockmigrate.cmd.hostcheck import layouts
from nova_blockmigrate.cmd.hostcheck.layouts import Daemon, Layout
from nova_blockmigrate.conductor.preflight.registry import Answer, failed, passed, unknown, warning
from nova_blockmigrate.objects import Finding

FIRST_PORT, LAST_PORT = 49152, 49215
"""QEMU's migration_port_min and migration_port_max, for the memory stream and for disks."""
_MIB = 1024**2
NO_PEER = "no other host was named"
NAME_PEER = "repeat with --peer HOST"


class Reach(enum.StrEnum):
    """What became of an attempt to connect."""

    OPEN = "open"
    REFUSED = "refused"
    """The host answered that nobody listens: nothing in between stops us."""
    SILENT = "silent"
    """No answer, or one that forbids it: a firewall, or the host is down."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """The other host, as it looks from here."""

    name: str
    addresses: tuple[str, ...] = ()
    control: Reach = Reach.SILENT
    ports: tuple[tuple[int, Reach], ...] = ()
    """Of the migration range, those that were tried."""
    uri: str = ""
    uri_error: str = ""
    host_uuid: str = ""


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What was probed on this host."""

    host: str
    layout: Layout
    daemon: Daemon
    transport: str
    """Of live_migration_uri: tcp, tls, ssh, …"""
    port: int
    control: Reach = Reach.SILENT
    """Of our own port, at our own address."""
    settings: tuple[tuple[str, str], ...] | None = ()
    """Of the daemon's configuration file; None: it cannot be read."""
    addresses: tuple[str, ...] = ()
    """What our own name resolves to."""
    own_addresses: tuple[str, ...] = ()
    host_uuid: str = ""
    libvirt_error: str = ""
    options_error: str = ""
    instances_path: str = ""
    instances_error: str = ""
    free_bytes: int = 0
    reserved_bytes: int = 0
    qemu_img: str = ""
    """Its version; empty: it does not run."""
    emulator: str = ""
    emulator_usable: bool = False
    firewall_missing: tuple[str, ...] = ()
    """Programs that connecting and guarding guests needs and that are not here."""
    clock_synchronised: bool | None = None
    """None: nothing here knows."""
    peer: Peer | None = None

    def setting(self, name: str, default: str) -> str:
        return dict(self.settings or ()).get(name, default)


def libvirt(facts: HostFacts) -> Answer:
    if facts.libvirt_error:
        remedy = f"{facts.layout.libvirt_packages}; systemctl status {facts.daemon.name}"
        return failed(facts.libvirt_error, "libvirt of this host answers", remedy)
    return passed(f"libvirt of this host answers, host UUID {facts.host_uuid}")


def options(facts: HostFacts) -> Answer:
    if facts.options_error:
        return failed(facts.options_error, remedy="correct it in nova-blockmigrate.conf, then restart the compute service")
    return passed("live_migration_uri and the migration flags go together, and libvirt knows them")


def listening(facts: HostFacts) -> Answer:
    where = f"port {facts.port} ({facts.transport}) of {facts.host}"
    if facts.control is Reach.OPEN:
        return passed(f"{where} accepts connections")
    if facts.transport == "ssh":
        return failed(f"{where} does not", "the SSH server listens", "systemctl enable --now ssh (RHEL: sshd)")
    if facts.settings is None:
        said = f"{facts.daemon.configuration} cannot be read"
    else:
        default = "1" if facts.transport == "tls" else "0"
        said = f"listen_{facts.transport} = {facts.setting(f'listen_{facts.transport}', default)} in {facts.daemon.configuration}"
    return failed(
        f"{where} does not accept connections ({facts.control}); {said}",
        f"{facts.daemon.name} listens for {facts.transport}",
        facts.daemon.listen(facts.transport),
    )


def authentication(facts: HostFacts) -> Answer:
    """The connection of one libvirt to another can answer no question for a password."""
    if facts.transport not in ("tcp", "tls"):
        return passed(f"{facts.transport} authenticates by itself")
    if facts.settings is None:
        return unknown(f"{facts.daemon.configuration} cannot be read", "run this as root")
    name = f"auth_{facts.transport}"
    value = facts.setting(name, "sasl" if facts.transport == "tcp" else "none")
    if value == "none":
        return passed(f'{name} = "none"')
    return failed(
        f'{name} = "{value}" in {facts.daemon.configuration}',
        f'{name} = "none", or SASL credentials that need no questions',
        f'set {name} = "none" there, {facts.daemon.restart}; for tcp only on a closed network, else use qemu+tls',
    )


def own_name(facts: HostFacts) -> Answer:
    if not facts.addresses:
        return failed(f"{facts.host} does not resolve", "an address of this host", f"add {facts.host} to DNS or /etc/hosts")
    loops = [address for address in facts.addresses if _is_loopback(address)]
    if loops:
        remedy = f"remove {facts.host} from the line {loops[0]} in /etc/hosts, and give it this host's own address"
        return failed(f"{facts.host} is {', '.join(loops)} here", "an address that other hosts reach", remedy)
    strange = [address for address in facts.addresses if address not in facts.own_addresses]
    if strange:
        return failed(
            f"{facts.host} is {', '.join(strange)}, which this host does not have",
            f"one of {', '.join(facts.own_addresses)}",
            f"correct {facts.host} in DNS or /etc/hosts, or [DEFAULT] host",
        )
    return passed(f"{facts.host} is {', '.join(facts.addresses)}")


def peer_name(facts: HostFacts) -> Answer:
    if facts.peer is None:
        return unknown(NO_PEER, NAME_PEER)
    peer = facts.peer
    if not peer.addresses:
        return failed(f"{peer.name} does not resolve here", "its address", f"add {peer.name} to DNS or /etc/hosts of {facts.host}")
    wrong = [address for address in peer.addresses if _is_loopback(address) or address in facts.own_addresses]
    if wrong:
        return failed(f"{peer.name} is {', '.join(wrong)}, which is this host", "its own address", "correct DNS or /etc/hosts")
    return passed(f"{peer.name} is {', '.join(peer.addresses)}; run this on {peer.name} for the other way")


def peer_control(facts: HostFacts) -> Answer:
    if facts.peer is None:
        return unknown(NO_PEER, NAME_PEER)
    where = f"port {facts.port} of {facts.peer.name}"
    if facts.peer.control is Reach.OPEN:
        return passed(f"{where} accepts connections from here")
    if facts.peer.control is Reach.REFUSED:
        return failed(f"nobody listens at {where}", remedy=f"on {facts.peer.name}: {facts.daemon.listen(facts.transport)}")
    return failed(f"{where} does not answer", remedy=f"on {facts.peer.name}: {layouts.open_ports(facts.layout, facts.port)}")


def peer_ports(facts: HostFacts) -> Answer:
    """Mostly nobody listens there, and the host says so; silence is a firewall's."""
    if facts.peer is None or not facts.peer.ports:
        return unknown(NO_PEER if facts.peer is None else "no port was tried", NAME_PEER)
    silent = [str(port) for port, reach in facts.peer.ports if reach is Reach.SILENT]
    if not silent:
        tried = ", ".join(str(port) for port, _ in facts.peer.ports)
        return passed(f"no firewall stops ports {tried} of {facts.peer.name}, tried from {FIRST_PORT} to {LAST_PORT}")
    remedy = layouts.open_ports(facts.layout, FIRST_PORT, LAST_PORT)
    return failed(
        f"ports {', '.join(silent)} of {facts.peer.name} do not answer",
        f"ports {FIRST_PORT} to {LAST_PORT} let through",
        f"on {facts.peer.name}: {remedy}",
    )


def migration_uri(facts: HostFacts) -> Answer:
    if facts.peer is None:
        return unknown(NO_PEER, NAME_PEER)
    peer = facts.peer
    if peer.uri_error:
        remedy = f"on {peer.name}: {facts.daemon.listen(facts.transport)}; look at the findings above"
        return failed(f"{peer.uri}: {peer.uri_error}", "libvirt of the other host answers", remedy)
    if not facts.host_uuid:
        return unknown(f"{peer.uri} answers, but libvirt of this host does not: nothing to compare its UUID with")
    if peer.host_uuid == facts.host_uuid:
        return failed(
            f"{peer.uri} is a host with this one's UUID, {peer.host_uuid}",
            "another UUID, or libvirt takes both for one host",
            f"set host_uuid in {facts.daemon.configuration} of one of them (uuidgen makes one), {facts.daemon.restart}",
        )
    return passed(f"{peer.uri} opens, host UUID {peer.host_uuid}")


def instances(facts: HostFacts) -> Answer:
    if facts.instances_error:
        remedy = f"mkdir -p {facts.instances_path}, writable for the user of nova-blockmigrate-compute; look at the file system"
        return failed(facts.instances_error, f"{facts.instances_path} is a writable directory", remedy)
    free = facts.free_bytes - facts.reserved_bytes
    if free <= 0:
        found = f"{facts.free_bytes // _MIB} MiB free, {facts.reserved_bytes // _MIB} MiB reserved"
        return failed(found, "room for disks", "free disk, or lower reserved_host_disk_mb")
    return passed(f"{facts.instances_path} is writable, {free // _MIB} MiB are free for disks")


def qemu(facts: HostFacts) -> Answer:
    missing = [] if facts.qemu_img else ["qemu-img does not run"]
    if facts.libvirt_error and not facts.emulator:
        return unknown("; ".join([*missing, "libvirt did not say which emulator it has"]), facts.layout.qemu_packages)
    if not facts.emulator_usable:
        missing.append(f"the emulator {facts.emulator or '(none)'} cannot be run")
    if missing:
        return failed("; ".join(missing), "qemu-img and an emulator for this processor", facts.layout.qemu_packages)
    return passed(f"{facts.emulator}, qemu-img {facts.qemu_img}")


def networks(facts: HostFacts) -> Answer:
    if facts.firewall_missing:
        needed = "programs that connect guests and guard them"
        return failed(f"there is no {', '.join(facts.firewall_missing)}", needed, facts.layout.network_packages)
    return passed("ip, nft and conntrack are there")


def clock(facts: HostFacts) -> Answer:
    compare = "`nova-blockmigrate preflight` compares the clocks of two hosts"
    if facts.clock_synchronised is None:
        return unknown("neither timedatectl nor chronyc can say whether the clock is synchronised", f"{compare}")
    if facts.clock_synchronised:
        return passed("the clock is synchronised")
    return warning("the clock is not synchronised", f"{facts.layout.ntp}; {compare}")


CHECKS: tuple[tuple[str, str, Callable[[HostFacts], Answer]], ...] = (
    ("libvirt", "libvirt here", libvirt),
    ("options", "Options and flags", options),
    ("listening", "libvirt listens", listening),
    ("authentication", "Authentication", authentication),
    ("own_name", "Own name", own_name),
    ("peer_name", "Name of the other host", peer_name),
    ("peer_control", "Control port of the other host", peer_control),
    ("peer_ports", "Migration ports of the other host", peer_ports),
    ("migration_uri", "Migration URI", migration_uri),
    ("instances", "Instances directory", instances),
    ("qemu", "QEMU", qemu),
    ("networks", "Networks and firewall", networks),
    ("clock", "Clock", clock),
)


def judge(facts: HostFacts) -> list[Finding]:
    """All findings; none hides another."""
    answers = [(id, title, ask(facts)) for id, title, ask in CHECKS]
    return [Finding(id, facts.host, title, one.result, one.found, one.needed, one.remedy) for id, title, one in answers]


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
