"""Open vSwitch on this host: whether a guest can be plugged into it, and what is asked of it besides. The plugging is os-vif's;
ports of taps are libvirt's, those of hybrids' own bridges os-vif's.
"""

from __future__ import annotations

import contextlib
import shutil

from nova_blockmigrate import processes
from nova_blockmigrate.exceptions import NetworkError
from nova_blockmigrate.objects import Vif, VifType

_TIMEOUT_S = 15.0
_ASK = ("ovs-vsctl", "--timeout=10", "--bare")
_SPEAK = ("ovs-ofctl", "--timeout=10", "-O", "OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15")
_NAME_LENGTH, _TAP = 14, "tap"


def has_bridge(name: str) -> bool:
    """Whether a bridge of Open vSwitch's is there: the kernel does not show it as a bridge."""
    if shutil.which("ovs-vsctl") is None:
        return False
    try:
        return processes.run([*_ASK, "br-exists", name], _TIMEOUT_S).returncode == 0
    except TimeoutError:
        return False


def bridge_of(port: str) -> str:
    """The bridge that has a port; empty when none has, or Open vSwitch does not tell."""
    if shutil.which("ovs-vsctl") is None:
        return ""
    try:
        answer = processes.run([*_ASK, "port-to-br", port], _TIMEOUT_S)
    except TimeoutError:
        return ""
    return answer.stdout.decode().strip() if answer.returncode == 0 else ""


def why_not(vif: Vif) -> str:
    """Why the interface cannot be plugged here, in words with what to do; empty when it can. Changes nothing."""
    if vif.vif_type is VifType.OVS and vif.port_security:
        return (
            f"{vif.tap} is an Open vSwitch port, which our firewall does not see: let Neutron guard it, or switch port security off"
        )
    if shutil.which("ovs-vsctl") is None:
        return "Open vSwitch is not installed on this host: install openvswitch-switch, or use a Linux bridge"
    try:
        answer = processes.run([*_ASK, "list-br"], _TIMEOUT_S)
        if answer.returncode != 0:
            return f"Open vSwitch does not answer on this host: {answer.failure}"
        if vif.switch not in answer.stdout.decode().split():
            return f"Open vSwitch has no bridge {vif.switch} on this host: ovs-vsctl add-br it, or correct the network's bridge"
        number = processes.run([*_ASK, "--columns=ofport", "list", "Interface", vif.switch], _TIMEOUT_S)
    except TimeoutError as error:
        return f"Open vSwitch does not answer on this host: {error}"
    if not number.stdout.decode().strip().isdigit():  # (it has not come into being)
        return (
            f"Open vSwitch could not set its bridge {vif.switch} up on this host, as where the kernel has no Open vSwitch: load "
            "the kernel's module openvswitch, give the bridge the datapath netdev, or use a Linux bridge"
        )
    return ""


def datapath_of(bridge: str) -> str:
    """The type of a bridge's datapath: "netdev"; empty for the kernel's, and for a bridge that is not there.

    :raises NetworkError: Open vSwitch does not tell.
    """
    return _change("tell of", bridge, "--columns=datapath_type", "--if-exists", "list", "Bridge", bridge).strip()


def remove_port(name: str) -> None:
    """Have it forget a port; one that is not there is fine.

    :raises NetworkError: it does not.
    """
    if shutil.which("ovs-vsctl") is not None:
        _change("remove port", name, "--if-exists", "del-port", name)


def send(vif: Vif, frames: list[bytes]) -> None:
    """Send frames as if they came from the guest: so the bridge learns where it is, and passes them on by its own rules."""
    for frame in frames:
        order = f"in_port={vif.tap},packet={frame.hex()},actions=TABLE"
        with contextlib.suppress(TimeoutError, FileNotFoundError):  # QEMU has told it already
            processes.run([*_SPEAK, "packet-out", vif.bridge, order], _TIMEOUT_S)


def pair_of(tap: str) -> tuple[str, str]:
    """Names of the two devices that lead from a hybrid's own bridge to Open vSwitch: the bridge's port, and Open vSwitch's."""
    tail = tap.removeprefix(_TAP)
    return f"qvb{tail}"[:_NAME_LENGTH], f"qvo{tail}"[:_NAME_LENGTH]


def _change(action: str, name: str, *words: str) -> str:
    try:
        answer = processes.run([*_ASK, *words], _TIMEOUT_S)
    except TimeoutError as error:
        raise NetworkError(host="this host", action=f"have Open vSwitch {action} {name}", reason=str(error)) from error
    if answer.returncode != 0:
        raise NetworkError(host="this host", action=f"have Open vSwitch {action} {name}", reason=answer.failure)
    return answer.stdout.decode()
