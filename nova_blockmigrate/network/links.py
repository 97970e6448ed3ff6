"""Network devices of this host: looked at in /sys, changed by `ip`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from nova_blockmigrate import processes
from nova_blockmigrate.exceptions import NetworkError

CLASS_NET = "/sys/class/net"
VLANS = "/proc/net/vlan"
_TIMEOUT_S = 30.0


def exists(name: str) -> bool:
    return os.path.isdir(os.path.join(CLASS_NET, name))


def is_bridge(name: str) -> bool:
    return os.path.isdir(os.path.join(CLASS_NET, name, "bridge"))


def mtu(name: str) -> int:
    """:raises FileNotFoundError: there is no such device."""
    with open(os.path.join(CLASS_NET, name, "mtu")) as file:
        return int(file.read())


def bridge_of(name: str) -> str:
    """The bridge that a device is a port of, or an empty text."""
    try:
        return os.path.basename(os.readlink(os.path.join(CLASS_NET, name, "master")))
    except OSError:
        return ""


def ports_of(bridge: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(CLASS_NET, bridge, "brif")))
    except FileNotFoundError:
        return []


def knows_vlans() -> bool:
    """Whether the kernel can make VLAN devices, with its module loaded if it has one."""
    if not os.path.isdir(VLANS):
        processes.run(["modprobe", "--quiet", "8021q"], _TIMEOUT_S)
    return os.path.isdir(VLANS)


def details(name: str) -> dict[str, Any]:
    """What `ip` tells of a device; empty when it is not there."""
    answer = processes.run(["ip", "-j", "-d", "link", "show", "dev", name], _TIMEOUT_S)
    found: list[dict[str, Any]] = json.loads(answer.stdout) if answer.returncode == 0 else []
    return found[0] if found else {}


def has_addresses(name: str) -> bool:
    """Whether the host itself is reached by this device (addresses that the kernel made by itself do not count)."""
    answer = processes.run(["ip", "-j", "addr", "show", "dev", name], _TIMEOUT_S)
    found = json.loads(answer.stdout) if answer.returncode == 0 else []
    return any(address.get("scope") == "global" for link in found for address in link.get("addr_info", ()))


def device_with(address: str) -> str:
    """The device that has an address of the host's; an empty text when none has."""
    answer = processes.run(["ip", "-j", "addr", "show", "to", address], _TIMEOUT_S)
    found: list[dict[str, Any]] = json.loads(answer.stdout or b"[]") if answer.returncode == 0 else []
    return next((str(link["ifname"]) for link in found if link.get("ifname")), "")


def change(host: str, action: str, commands: Sequence[Sequence[str]]) -> None:
    """Run commands of `ip` and `bridge` in order, up to the first that fails.

    :raises NetworkError: one failed.
    """
    for command in commands:
        answer = processes.run(command, _TIMEOUT_S)
        if answer.returncode != 0:
            raise NetworkError(host=host, action=action, reason=answer.failure)
