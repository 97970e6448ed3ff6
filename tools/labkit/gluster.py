"""A real GlusterFS on the laboratory's controller: a file system on the network that needs no module of the kernel but FUSE."""

from pathlib import Path

from labkit import machine, packages
from labkit.commands import wait_until
from labkit.lab import Lab

DAEMON = "glusterd"
VOLUME = "shared"
EXPORT = f"controller:/{VOLUME}"
"""As hosts mount it."""
_LOGS = "/var/log/glusterfs"
_WORK = "/var/lib/glusterd"


def start(lab: Lab) -> Path:
    """Start it, with one volume that every host can mount; where the controller itself has that mounted."""
    packages.ensure_packages(("glusterfs-server", "glusterfs-client"))
    for each in lab.layout.machines:
        lab.run(each.name, ["mount", "-t", "tmpfs", "logs", _LOGS])
        lab.run(each.name, ["mkdir", "-p", "/run/gluster"])
    controller = lab.layout.controller
    folder = controller.folder / "gluster"
    for name in ("work", "brick", "mount"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lab.run("controller", ["mount", "--bind", str(folder / "work"), _WORK])
    description = folder / "glusterd.vol"
    description.write_text(_description())
    argv = [DAEMON, "--no-daemon", f"--volfile={description}", "--pid-file=/run/glusterd.pid", "--log-file=/dev/stderr"]
    machine.start_daemon(lab.layout, controller, DAEMON, argv)
    gluster = ["gluster", "--mode=script"]
    answers = [*gluster, "pool", "list"]
    wait_until(lambda: lab.run("controller", answers, check=False).returncode == 0, 60, "glusterd answers", interval_s=0.5)
    brick = f"{controller.management_ip}:{folder}/brick"
    lab.run("controller", [*gluster, "volume", "create", VOLUME, brick, "force"])
    lab.run("controller", [*gluster, "volume", "start", VOLUME])
    lab.run("controller", ["mount", "-t", "glusterfs", EXPORT, str(folder / "mount")])
    return folder / "mount"


def mounted(lab: Lab, host: str) -> list[str]:
    """Where a host has the volume mounted."""
    lines = lab.run(host, ["cat", "/proc/mounts"]).stdout.splitlines()
    return [line.split()[1] for line in lines if line.split()[2] == "fuse.glusterfs"]


def _description() -> str:
    options = {"working-directory": _WORK, "run-directory": "/run", "transport-type": "socket", "base-port": 49152}
    lines = [f"    option {name} {value}" for name, value in options.items()]
    return "\n".join(["volume management", "    type mgmt/glusterd", *lines, "end-volume", ""])
