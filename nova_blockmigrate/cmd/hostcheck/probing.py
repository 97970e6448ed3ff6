"""Asks the system for what `judging` judges: files, sockets, libvirt, programs. Changes nothing but a file of a moment in the
instances directory. Every question has a limit of time."""

from __future__ import annotations

import errno
import functools
import os
import pathlib
import re
import shutil
import socket
import tempfile
import urllib.parse
from collections.abc import Callable
from typing import Any

from lxml import etree
from oslo_config import cfg

from nova_blockmigrate import exceptions, processes
from nova_blockmigrate.cmd.hostcheck import layouts
from nova_blockmigrate.cmd.hostcheck.judging import FIRST_PORT, LAST_PORT, HostFacts, Peer, Reach
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.libvirt import daemon_conf

_PORTS = {"tcp": 16509, "tls": 16514, "ssh": 22}
CONNECT_S = 2.0
PROGRAM_S = 10.0
_ANSWERED = (errno.ECONNREFUSED,)


def probe(conf: cfg.ConfigOpts, peer: str | None) -> HostFacts:
    """All facts of this host; those of the way to `peer`, too, when one is named."""
    uri = str(conf.libvirt.live_migration_uri)
    transport, port = transport_of(uri)
    daemon = _daemon()
    own_uuid, emulator, libvirt_error = _libvirt(conf.libvirt.connection_uri, conf.host)
    found_instances, free = _instances(conf.instances_path)
    addresses = resolve(conf.host)
    return HostFacts(
        host=conf.host,
        layout=layouts.choose(_read("/etc/os-release") or ""),
        daemon=daemon,
        transport=transport,
        port=port,
        control=reach(addresses[0] if addresses else conf.my_ip, port),
        settings=_settings(daemon.configuration),
        addresses=addresses,
        own_addresses=_own_addresses(),
        host_uuid=own_uuid,
        libvirt_error=libvirt_error,
        options_error=_options_error(conf),
        instances_path=conf.instances_path,
        instances_error=found_instances,
        free_bytes=free,
        reserved_bytes=conf.reserved_host_disk_mb * 1024**2,
        qemu_img=_qemu_img(),
        emulator=emulator,
        emulator_usable=bool(emulator) and os.access(emulator, os.X_OK),
        firewall_missing=tuple(name for name in ("ip", "bridge", "nft", "conntrack") if shutil.which(name) is None),
        clock_synchronised=_clock(),
        peer=_peer(peer, uri, port) if peer else None,
    )


def transport_of(uri: str) -> tuple[str, int]:
    """What carries `live_migration_uri`, and the port; unix and 0 when it names none."""
    parts = urllib.parse.urlsplit(uri.replace("%s", "host"))
    transport = parts.scheme.partition("+")[2] or "unix"
    return transport, parts.port or _PORTS.get(transport, 0)


def resolve(name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(address[4][0]) for address in found))


def reach(address: str, port: int) -> Reach:
    """Try to connect, for a moment."""
    try:
        socket.create_connection((address, port), CONNECT_S).close()
    except OSError as error:
        return Reach.REFUSED if error.errno in _ANSWERED else Reach.SILENT
    return Reach.OPEN


# --- the host --------------------------------------------------------------------------------------------------------


def _read(path: str) -> str | None:
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return None


def _daemon() -> layouts.Daemon:
    """The modular daemons, when one of them has a socket here and libvirtd has none of its own."""
    modular = os.path.exists("/run/libvirt/virtqemud-sock") and not os.path.exists("/run/libvirtd.pid")
    return layouts.VIRTPROXYD if modular else layouts.LIBVIRTD


def _settings(path: str) -> tuple[tuple[str, str], ...] | None:
    text = _read(path)
    return None if text is None else tuple(daemon_conf.parse(text).items())


def _own_addresses() -> tuple[str, ...]:
    done = _run("ip", "-o", "address")
    return tuple(word.partition("/")[0] for line in done.splitlines() for word in line.split()[3:4])


def _libvirt(uri: str, host: str) -> tuple[str, str, str]:
    """(host's UUID, path of the emulator, error)"""
    try:
        tree = _capabilities(uri, host)
    except exceptions.BlockMigrateError as error:
        return "", "", error.message
    arch = os.uname().machine
    return tree.findtext("host/uuid", ""), tree.findtext(f"guest/arch[@name='{arch}']/emulator", ""), ""


def _capabilities(uri: str, host: str) -> Any:
    from nova_blockmigrate.virt.libvirt.host import Host

    connection = Host(uri, host)
    try:
        with connection.errors("describe the host"):
            return etree.fromstring(connection.connection().getCapabilities().encode())
    finally:
        connection.close()


def _options_error(conf: cfg.ConfigOpts) -> str:
    from nova_blockmigrate.virt.libvirt.driver import transfer_settings

    try:
        transfer_settings(conf.libvirt)
    except exceptions.ConfigurationError as error:
        return error.message
    return ""


def _instances(path: str) -> tuple[str, int]:
    """(why it cannot be used, free bytes)"""
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".preflight-"):
            status = os.statvfs(path)
    except OSError as error:
        return f"{path}: {error.strerror}", 0
    return "", status.f_bavail * status.f_frsize


def _qemu_img() -> str:
    match = re.search(r"version (\S+)", _run("qemu-img", "--version"))
    return match[1] if match else ""


def _clock() -> bool | None:
    """What timedatectl says, else chronyc."""
    said = _run("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    if said in ("yes", "no"):
        return said == "yes"
    match = re.search(r"Leap status\s*:\s*(.+)", _run("chronyc", "-n", "tracking"))
    return match[1].strip() != "Not synchronised" if match else None


def _run(*words: str) -> str:
    """What a program prints; nothing when it is not there, fails or takes too long."""
    try:
        done = processes.run(words, PROGRAM_S)
    except (OSError, TimeoutError):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


# --- the other host --------------------------------------------------------------------------------------------------


def _peer(name: str, uri: str, port: int) -> Peer:
    addresses = resolve(name)
    full = uri.replace("%s", name)
    if not addresses:
        return Peer(name, uri=full, uri_error=f"{name} does not resolve")
    tried = (port, FIRST_PORT, (FIRST_PORT + LAST_PORT) // 2, LAST_PORT)
    attempts: list[Callable[[], Reach]] = [functools.partial(reach, addresses[0], each) for each in tried]
    control, *others = in_parallel(attempts)
    host_uuid, _, error = _libvirt(full, name)
    return Peer(name, addresses, control, tuple(zip(tried[1:], others, strict=True)), full, error, host_uuid)
