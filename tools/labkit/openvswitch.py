"""Open vSwitch on the laboratory's hosts, in its own processes' memory (datapath netdev), as kernels may lack it."""

import contextlib
from collections.abc import Iterator

from labkit import machine, packages
from labkit.commands import wait_until
from labkit.fabric import GUEST_BRIDGE
from labkit.lab import Lab
from labkit.layout import Machine

DATABASE, SWITCH = "ovsdb-server", "ovs-vswitchd"
BRIDGE, UPLINK = "brovs", "ovs-up"
_INNER = "ovs-down"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_SOCKET = "/run/openvswitch/db.sock"


@contextlib.contextmanager
def running(lab: Lab) -> Iterator[None]:
    """Every host has the bridge, which leads to the tenant network."""
    packages.ensure_packages(("openvswitch-switch",))
    try:
        for host in lab.layout.hosts:
            _start(lab, host)
        yield
    finally:
        for host in lab.layout.hosts:
            _stop(lab, host)


def ports(lab: Lab, host: str) -> set[str]:
    """The bridge's ports on a host, but for that which leads out."""
    return set(lab.run(host, ["ovs-vsctl", "--timeout=10", "list-ports", BRIDGE]).stdout.split()) - {UPLINK}


def _start(lab: Lab, host: Machine) -> None:
    folder = host.folder / "openvswitch"
    folder.mkdir(exist_ok=True)
    database = folder / "conf.db"
    database.unlink(missing_ok=True)
    lab.run(host.name, ["mkdir", "-p", "/run/openvswitch"])
    lab.run(host.name, ["ovsdb-tool", "create", str(database), _SCHEMA])
    machine.start_daemon(lab.layout, host, DATABASE, [DATABASE, str(database), f"--remote=punix:{_SOCKET}"])
    vsctl = ["ovs-vsctl", "--timeout=20"]
    wait_until(lambda: lab.run(host.name, ["test", "-S", _SOCKET], check=False).returncode == 0, 20, f"{DATABASE} listens")
    # guests leave checksums and segments to their interface: without this it would pass on what they did not finish
    lab.run(host.name, [*vsctl, "--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true"])
    machine.start_daemon(lab.layout, host, SWITCH, [SWITCH, f"unix:{_SOCKET}"])
    lab.run(host.name, ["ip", "link", "add", UPLINK, "type", "veth", "peer", "name", _INNER])
    lab.run(host.name, ["ip", "link", "set", _INNER, "master", GUEST_BRIDGE, "up"])
    lab.run(host.name, ["ip", "link", "set", UPLINK, "up"])
    bridge = ["add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev"]
    lab.run(host.name, [*vsctl, *bridge, "--", "add-port", BRIDGE, UPLINK])


def _stop(lab: Lab, host: Machine) -> None:
    started = machine.daemons(lab.layout, host)
    if SWITCH in started:
        lab.run(host.name, ["ovs-vsctl", "--timeout=20", "--if-exists", "del-br", BRIDGE], check=False)
    lab.run(host.name, ["ip", "link", "del", UPLINK], check=False)
    for name in (SWITCH, DATABASE):
        if name in started and machine.daemon_runs(lab.layout, host, name):
            machine.stop_daemon(lab.layout, host, name)
