"""Open vSwitch on this host: whether a guest can be plugged into it. The plugging is os-vif's, the ports are libvirt's."""

from __future__ import annotations

import shutil

from nova_blockmigrate import processes
from nova_blockmigrate.objects import Vif

_TIMEOUT_S = 15.0
_ASK = ("ovs-vsctl", "--timeout=10", "--bare", "--columns=datapath_types", "list", "Open_vSwitch")


def has_bridge(name: str) -> bool:
    """Whether a bridge of Open vSwitch's is there: the kernel does not show it as a bridge."""
    if shutil.which("ovs-vsctl") is None:
        return False
    try:
        return processes.run(["ovs-vsctl", "--timeout=10", "br-exists", name], _TIMEOUT_S).returncode == 0
    except TimeoutError:
        return False


def why_not(vif: Vif) -> str:
    """Why the interface cannot be plugged here, in words with what to do; empty when it can. Changes nothing."""
    if vif.port_security:
        return (
            f"{vif.tap} is an Open vSwitch port, which our firewall does not see: let Neutron guard it, or switch port security off"
        )
    if shutil.which("ovs-vsctl") is None:
        return "Open vSwitch is not installed on this host: install openvswitch-switch, or use a Linux bridge"
    try:
        answer = processes.run(_ASK, _TIMEOUT_S)
    except TimeoutError as error:
        return f"Open vSwitch does not answer on this host: {error}"
    if answer.returncode != 0:
        return f"Open vSwitch does not answer on this host: {answer.failure}"
    if "system" not in answer.stdout.decode():
        return "the kernel of this host has no Open vSwitch: load its module openvswitch, or use a Linux bridge"
    return ""
