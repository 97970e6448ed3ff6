"""Guests' interfaces on Linux bridges: libvirt makes the tap and hangs it on a bridge that must exist on the host.

The seam for os-vif: a plug of another kind offers the same three functions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from nova_blockmigrate.exceptions import HypervisorError
from nova_blockmigrate.objects import Vif

_CLASS_NET = "/sys/class/net"


def missing(bridges: Iterable[str], class_net: str = _CLASS_NET) -> list[str]:
    """Why the bridges cannot be used on this host, in words, one sentence for each that cannot."""
    reasons = []
    for bridge in dict.fromkeys(bridges):
        if not os.path.isdir(os.path.join(class_net, bridge)):
            reasons.append(f"bridge {bridge} does not exist on this host: create it, or correct the network's bridge")
        elif not os.path.isdir(os.path.join(class_net, bridge, "bridge")):
            reasons.append(f"{bridge} is not a bridge on this host: correct the network's bridge")
    return reasons


def plug(vifs: Iterable[Vif]) -> None:
    """Have the interfaces ready before the guest starts here.

    :raises HypervisorError: a bridge is missing.
    """
    if reasons := missing(vif.bridge for vif in vifs):
        raise HypervisorError(action="connect the guest to its networks", reason="; ".join(reasons))


def unplug(vifs: Iterable[Vif]) -> None:
    """Release what `plug` made. libvirt's taps end with their QEMU, so nothing is left to do."""
