"""What hosts find when they are looked over before a migration: facts, not judgements. The checks judge them.

Values like those of `objects`, and made into primitives by the same functions. An empty text means that nothing is wrong.
"""

from __future__ import annotations

import dataclasses
import enum


class TlsUser(enum.StrEnum):
    """Who encrypts: each has certificates of its own."""

    LIBVIRT = "libvirt"
    """Between the daemons (qemu+tls://)."""
    QEMU = "QEMU"
    """Memory and disks of guests on their way (VIR_MIGRATE_TLS)."""


class CertificateRole(enum.StrEnum):
    AUTHORITY = "authority"
    SERVER = "server"
    """Shown to who connects: by the destination of a migration."""
    CLIENT = "client"
    """Shown when connecting: by the source."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """One X.509 certificate that TLS needs, as far as it could be read."""

    path: str
    problem: str = ""
    """Of the file, its key, or its authority's signature."""
    names: tuple[str, ...] = ()
    """DNS names and addresses it is good for."""
    not_before_s: float = 0.0
    not_after_s: float = 0.0
    """Seconds since the Epoch."""
    user: TlsUser = TlsUser.QEMU
    role: CertificateRole = CertificateRole.SERVER
    signer: str = ""
    """Fingerprint of the authority that signed it, of those that its host knows; empty: none did."""
    authorities: tuple[str, ...] = ()
    """Fingerprints of all that an authority's file holds."""
    asks_clients: bool = True
    """Who connects must show a certificate, too (a server's)."""


@dataclasses.dataclass(frozen=True)
class HostSurvey:
    """A host by itself, whatever guest is to leave or to come."""

    libvirt_uuid: str
    """libvirt's UUID of the host: equal ones mean that it is one host."""
    time_s: float
    """Its clock, seconds since the Epoch."""
    directory_problem: str = ""
    """Why no file can be made in its instances directory."""
    address: str = ""
    """Where it receives guests."""
    listening_port: int = 0
    """A free port of its migration range, on which it accepts connections for a few seconds; 0: none."""
    listening_problem: str = ""
    flags: tuple[str, ...] = ()
    """VIR_MIGRATE_ flags with which it sends guests whose disks are copied."""
    parallel_connections: int = 1
    tls_for: tuple[TlsUser, ...] = ()
    """Who encrypts what it sends."""
    certificates: tuple[Certificate, ...] = ()
    """Those that TLS would need here, whether it is used or not."""
    post_copy_problem: str = ""
    """Why no guest can come here by post-copy."""


@dataclasses.dataclass(frozen=True)
class GuestSurvey:
    """What stands in the way of a guest on its own host."""

    chain_problem: str = ""
    """Why a disk's backing chain cannot be read; names the file."""
    snapshots: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    """What libvirt or QEMU is doing to it: block jobs by disk, a job of the domain."""
    immovable: tuple[str, ...] = ()
    """Devices that cannot be moved, each with the reason."""
    blockers: tuple[str, ...] | None = None
    """QEMU's own reasons; None when asking would have marked the domain as tainted."""
    inodes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Numbers of the files of its local disks: by them a host sees that it looks at the same file system."""
    base_formats: dict[str, str] = dataclasses.field(default_factory=dict)
    """Formats of the files below its disks, as its QEMU reads them."""
    expands_zeroes: bool = False
    """Some disk is not told to give zeroed clusters back (discard=unmap)."""


@dataclasses.dataclass(frozen=True)
class GuestAddress:
    """An address that a guest is known to have."""

    mac: str
    network: str
    """What the interface hangs on: a bridge, a network of libvirt, a device."""
    address: str


@dataclasses.dataclass(frozen=True)
class FoundGuest:
    """A guest that the hypervisor knows, whoever made it, as its definition tells."""

    uuid: str
    name: str
    memory_mib: int
    vcpus: int
    disk_bytes: int
    """Virtual size of its local disks, as far as their files can be read."""
    power_state: int
    """`objects.PowerState`."""
    saved: bool = False
    """Its memory is saved to disk (libvirt's managed save)."""
    persistent: bool = True
    interfaces: tuple[str, ...] = ()
    """Each in words: MAC address and what it hangs on."""
    volumes: tuple[str, ...] = ()
    """Disks that lie on the network, each in words."""
    addresses: tuple[GuestAddress, ...] = ()
    """As far as its host can know."""


@dataclasses.dataclass(frozen=True)
class Reception:
    """What a guest would find at its destination."""

    names_taken: tuple[str, ...] = ()
    macs_taken: tuple[str, ...] = ()
    files_taken: dict[str, int] = dataclasses.field(default_factory=dict)
    """Files that are where the guest's shall be, with their numbers."""
    networks_missing: tuple[str, ...] = ()
    """Why it cannot be connected to each of its networks, in words with what to do."""
    cpu_problem: str = ""
    machine_problem: str = ""
    firmware_missing: tuple[str, ...] = ()
    secrets_missing: tuple[str, ...] = ()
    """UUIDs of libvirt secrets that it needs and that are not there."""
    volumes_unreachable: tuple[str, ...] = ()
    """Where its volumes are served, and why this host does not get there."""
    libvirt_networks_missing: tuple[str, ...] = ()
    """libvirt networks that its interfaces hang on and that do not run here."""
    devices_missing: tuple[str, ...] = ()
    """Devices of the host that it needs by their name: of macvtap interfaces, of drives."""
    missing_base_bytes: int = 0
    """Bytes of base images and media that have to be brought."""


@dataclasses.dataclass(frozen=True)
class Route:
    """The way from one host to another, as the source finds it."""

    uri: str
    """What it opened."""
    uri_problem: str = ""
    peer_uuid: str = ""
    """libvirt's UUID of the host that answered."""
    port: int = 0
    port_problem: str = ""
