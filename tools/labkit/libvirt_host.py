"""A compute host's libvirtd: its configuration, its start and how to ask whether it answers."""

import shutil
from pathlib import Path

from labkit import machine
from labkit.commands import run
from labkit.layout import Layout, Machine

DAEMON = "libvirtd"
EMULATORS = Path(__file__).with_name("emulator")


def configure(host: Machine) -> None:
    """Write the host's /etc/libvirt: nothing of the machine's own libvirt but the packaged network filters."""
    etc = host.folder / "libvirt/etc"
    (etc / "qemu").mkdir(exist_ok=True)
    (etc / "libvirtd.conf").write_text(_libvirtd_conf(host))
    (etc / "qemu.conf").write_text(_qemu_conf(host))
    filters = Path("/etc/libvirt/nwfilter")
    if filters.is_dir() and not (etc / "nwfilter").exists():
        shutil.copytree(filters, etc / "nwfilter")


def _libvirtd_conf(host: Machine) -> str:
    return f"""listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{host.host_uuid}"
log_outputs = "2:stderr"
"""


def _qemu_conf(host: Machine) -> str:
    """What QEMU needs to live without systemd, cgroups and AppArmor of its own."""
    return f"""user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
migration_host = "{host.management_ip}"
"""


def start(layout: Layout, host: Machine) -> None:
    """libvirtd finds the laboratory's emulator before the machine's: it is the one that loses no pages (see there)."""
    path = f"{EMULATORS}:{machine.environment()['PATH']}"
    machine.start_daemon(layout, host, DAEMON, ["libvirtd", "--listen"], {"PATH": path})


def answers(layout: Layout, host: Machine, *, asked_from: Machine) -> bool:
    """Whether the host's libvirtd answers over TCP to another machine."""
    ask = ["virsh", "-c", f"qemu+tcp://{host.name}/system", "version"]
    return run(machine.entering(layout, asked_from, ask, "/"), check=False, timeout_s=20).returncode == 0
