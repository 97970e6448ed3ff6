"""The process in which os-vif runs, below the compute service: `python -m nova_blockmigrate.network.osvif_helper`.

It takes one request a line from its standard input and answers each with a line. os-vif wants a process that eventlet has not
patched and in which its privileged functions may run (oslo.privsep would start such a one for itself). This is that process:
it gives up every capability but the administration of networks, which its programs cannot get back, and ends when its
input does.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

import os_vif
import os_vif.objects
from oslo_config import cfg
from oslo_privsep import capabilities

CAP_LAST_CAP = "/proc/sys/kernel/cap_last_cap"
OVSDB_SOCKET = "/run/openvswitch/db.sock"
_PR_CAPBSET_DROP = 24


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not be taken for an answer
    drop_privileges()
    ask_open_vswitch_by_its_socket()
    os_vif.initialize()
    run_privileged_functions_here()
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


def drop_privileges() -> None:
    """Keep CAP_NET_ADMIN, for this process and all that it starts."""
    keep = int(capabilities.CAP_NET_ADMIN)
    libc = ctypes.CDLL(None, use_errno=True)
    with open(CAP_LAST_CAP) as file:
        last = int(file.read())
    if os.geteuid() == 0:
        for number in range(last + 1):
            if number != keep and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), f"capability {number} cannot be given up")
        capabilities.drop_all_caps_except([keep], [keep], [])


def ask_open_vswitch_by_its_socket() -> None:
    """os-vif would ask it by TCP, where it listens only when Neutron's agent has told it to. So it is asked where the socket is
    not this process's to write to."""
    from vif_plug_ovs.ovs import OvsPlugin

    if os.path.exists(OVSDB_SOCKET) and not os.access(OVSDB_SOCKET, os.W_OK):
        return
    group = "os_vif_ovs"  # (as os-vif itself names it)
    cfg.CONF.register_opts(OvsPlugin.CONFIG_OPTS, group)
    cfg.CONF.set_default("ovsdb_connection", f"unix:{OVSDB_SOCKET}", group)


def run_privileged_functions_here() -> None:
    """The Open vSwitch plugin's functions are to run in this process, not in a daemon that privsep starts by sudo."""
    from vif_plug_ovs import privsep

    privsep.vif_plug.set_client_mode(False)


def answer(request: dict[str, Any]) -> dict[str, str]:
    """{"error": why it failed, or nothing}"""
    try:
        vif = build(request)
        instance = os_vif.objects.instance_info.InstanceInfo(uuid=request["port_id"], name=request["tap"])
        {"plug": os_vif.plug, "unplug": os_vif.unplug}[request["do"]](vif, instance)
    except Exception as error:  # noqa: BLE001 - the border to the service: it gets the reason, this process lives on
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": ""}


def build(request: dict[str, Any]) -> Any:
    """os-vif's object for a request."""
    objects = os_vif.objects
    network = objects.network.Network(
        id=request["port_id"],
        bridge=request["switch"] or request["bridge"],
        bridge_interface=request["uplink"] or None,
        mtu=request["mtu"],
    )
    common = {
        "id": request["port_id"],
        "address": request["mac"],
        "network": network,
        "vif_name": request["tap"],
        "bridge_name": request["bridge"],
        "plugin": request["plugin"],
        "has_traffic_filtering": True,
        "preserve_on_delete": False,
        "active": True,
    }
    if request["plugin"] == "ovs":
        datapath = {"datapath_type": request["datapath"]} if request["datapath"] else {}
        profile = objects.vif.VIFPortProfileOpenVSwitch(interface_id=request["port_id"], create_port=False, **datapath)
        kind = objects.vif.VIFBridge if request["kind"] == "ovs-hybrid" else objects.vif.VIFOpenVSwitch
        return kind(port_profile=profile, **common)
    return objects.vif.VIFBridge(**common)


if __name__ == "__main__":
    main()
