"""A host looked over before a migration: clock, directory, flags, certificates, a free port to be reached at. Reads only.

The port is one of libvirt's migration range, from its upper end (libvirt takes them from the lower), open for a few seconds.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from nova_blockmigrate.concurrency import native, original
from nova_blockmigrate.survey import HostSurvey, TlsUser
from nova_blockmigrate.threads import Task
from nova_blockmigrate.virt.libvirt import certificates, daemon_conf
from nova_blockmigrate.virt.libvirt.flags import KNOWN
from nova_blockmigrate.virt.libvirt.resources import Capabilities
from nova_blockmigrate.virt.libvirt.transfer import TransferSettings

FIRST_PORT, LAST_PORT = 49152, 49215
LISTEN_S = 4.0
_PORTS_TRIED = 16
_USERFAULTFD = Path("/proc/sys/vm/unprivileged_userfaultfd")
_ROOT = ("root", "0", "+0")


def survey(capabilities: Capabilities, settings: TransferSettings, instances_path: str, address: str) -> HostSurvey:
    port, problem = listen(address)
    return HostSurvey(
        libvirt_uuid=capabilities.host_uuid(),
        time_s=native.time.time(),
        directory_problem=why_not_writable(instances_path),
        address=address,
        listening_port=port,
        listening_problem=problem,
        flags=tuple(sorted(name for name, number in KNOWN.items() if number and settings.block_flags & number == number)),
        parallel_connections=settings.parallel_connections,
        tls_for=_tls_for(settings),
        certificates=certificates.survey(),
        post_copy_problem=why_no_post_copy(daemon_conf.QEMU),
    )


def _tls_for(settings: TransferSettings) -> tuple[TlsUser, ...]:
    chosen = {TlsUser.LIBVIRT: "+tls:" in settings.uri, TlsUser.QEMU: settings.native_tls}
    return tuple(user for user, encrypts in chosen.items() if encrypts)


def why_not_writable(path: str) -> str:
    """Why no file can be made in a directory; found out without making one."""
    try:
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return f"{path} is on a read-only file system"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return "" if os.access(path, os.W_OK | os.X_OK) else f"{path}: permission denied"


def why_no_post_copy(qemu_conf: Path, switch: Path = _USERFAULTFD) -> str:
    """Why QEMU may not handle the page faults of a guest whose memory follows it. It must be root, or all may."""
    user = daemon_conf.read(qemu_conf).get("user", "")
    try:
        allowed_to_all = switch.read_text().strip() == "1"
    except FileNotFoundError:
        return "its kernel has no userfaultfd"
    except OSError as error:
        return f"{switch}: {error.strerror}"
    if allowed_to_all or user in _ROOT:
        return ""
    return f"QEMU runs as {user or 'a user of its own'}, and only root may use userfaultfd ({switch} is 0)"


def listen(address: str) -> tuple[int, str]:
    """Accept connections on a free port of the migration range for a few seconds; returns (port, why there is none)."""
    first, last = migration_ports(daemon_conf.QEMU)
    module: Any = original("socket")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    problem = f"no port from {first} to {last} is free"
    for port in range(last, max(first, last - _PORTS_TRIED) - 1, -1):
        server = module.socket(family, socket.SOCK_STREAM)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            server.listen(4)
        except OSError as error:
            server.close()
            problem = f"port {port} of {address or 'all addresses'}: {error.strerror}"
            continue
        Task("reachable", lambda server=server: _accept(server))  # type: ignore[misc]
        return port, ""
    return 0, problem


def _accept(server: Any) -> None:
    """Take one connection and drop it; give up after a while."""
    server.settimeout(LISTEN_S)
    try:
        connection, _ = server.accept()
        connection.close()
    except OSError:
        pass
    finally:
        server.close()


def migration_ports(qemu_conf: Path) -> tuple[int, int]:
    """First and last port of libvirt's migration range, which disks (NBD) use as well."""
    found = daemon_conf.read(qemu_conf)
    return int(found.get("migration_port_min") or FIRST_PORT), int(found.get("migration_port_max") or LAST_PORT)
