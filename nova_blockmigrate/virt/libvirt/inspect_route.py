"""The way to another host, tried from here: libvirt's URI, and a port of the migration range. Reads only.

A way that was found good is believed for a minute: opening a URI costs some ten milliseconds of each migration.
"""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

from lxml import etree

from nova_blockmigrate.concurrency import native, original
from nova_blockmigrate.exceptions import BlockMigrateError
from nova_blockmigrate.survey import Route
from nova_blockmigrate.threads import Task
from nova_blockmigrate.virt.libvirt.host import Host, close_connection

OPEN_S = 4.0
CONNECT_S = 1.0
BELIEVED_S = 60.0


class Routes:
    """The ways from this host to others."""

    def __init__(self) -> None:
        self._good: dict[tuple[str, str], tuple[float, str]] = {}

    def survey(self, uri: str, name: str, address: str, port: int, own_uuid: str) -> Route:
        """Try `uri` (libvirt of the host `name`), and `port` of `address` on which that host listens; 0: it does not.

        `own_uuid`: libvirt's of this host; a way that leads back here is not believed.
        """
        trying = Task("port", lambda: why_unreachable(address, port)) if port else None
        route = self._opened(uri, name, own_uuid)
        return dataclasses.replace(route, port=port, port_problem=trying.result() if trying else "")

    def _opened(self, uri: str, name: str, own_uuid: str) -> Route:
        now = native.time.monotonic()
        tried_at, peer = self._good.get((uri, name), (-BELIEVED_S, ""))
        if now - tried_at < BELIEVED_S:
            return Route(uri, peer_uuid=peer)
        try:
            peer = _ask_uuid(Host(uri, name))
        except BlockMigrateError as error:
            return Route(uri, uri_problem=error.message)
        if peer != own_uuid:
            self._good[(uri, name)] = (now, peer)
        return Route(uri, peer_uuid=peer)


def _ask_uuid(host: Host) -> str:
    connection = host.open(OPEN_S)
    try:
        with host.errors("describe the host"):
            return uuid_of(connection.getCapabilities())
    finally:
        close_connection(connection)


def uuid_of(capabilities_xml: str) -> str:
    return str(etree.fromstring(capabilities_xml.encode()).findtext("host/uuid", ""))


def why_unreachable(address: str, port: int, timeout_s: float = CONNECT_S) -> str:
    """Why no TCP connection can be had, in words."""
    module: Any = original("socket")
    connection = module.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect((address, port))
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
    finally:
        connection.close()
    return ""
