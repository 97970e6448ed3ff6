"""Telling a network where a guest is: the frames, and their way out. QEMU does it by itself; frames get lost."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

from nova_blockmigrate.concurrency import original
from nova_blockmigrate.network import links
from nova_blockmigrate.objects import Vif

_BROADCAST = b"\xff" * 6
_ARP, _RARP = b"\x08\x06", b"\x80\x35"
_ETHERNET_IPV4 = b"\x00\x01\x08\x00\x06\x04"
_REQUEST, _REVERSE_REQUEST = b"\x00\x01", b"\x00\x03"
_SHORTEST = 60


def frames(vif: Vif) -> list[bytes]:
    """What makes switches and neighbours look for the guest here: RARP by its MAC, gratuitous ARP by its address."""
    mac = bytes.fromhex(vif.mac.replace(":", ""))
    nobody = bytes(4)
    found = [_BROADCAST + mac + _RARP + _ETHERNET_IPV4 + _REVERSE_REQUEST + mac + nobody + mac + nobody]
    with contextlib.suppress(ValueError):
        own = ipaddress.IPv4Address(vif.ip_address).packed
        found.append(_BROADCAST + mac + _ARP + _ETHERNET_IPV4 + _REQUEST + mac + own + bytes(6) + own)
    return [frame.ljust(_SHORTEST, b"\0") for frame in found]


def send(vif: Vif, device: str = "") -> list[str]:
    """Send the frames out of every other port of the vif's bridge, or out of the device that it is on without a bridge; returns
    the ports. The guest itself hears nothing of it."""
    ports = [device] if device else [port for port in links.ports_of(vif.bridge) if port != vif.tap]
    for port in ports:
        with contextlib.suppress(OSError):  # a port may go, or be down: the others hear it
            _send(port, frames(vif))
    return ports


def _send(device: str, what: list[bytes]) -> None:
    module: Any = original("socket")
    with module.socket(module.AF_PACKET, module.SOCK_RAW) as socket:
        socket.bind((device, 0))
        for frame in what:
            socket.send(frame)
