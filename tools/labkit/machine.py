"""A machine of the laboratory: its folders and mounts, its life, and the way to run something on it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit import fabric
from labkit.commands import wait_until
from labkit.errors import LabError, StepFailed
from labkit.layout import CONFIGURATION, IMAGES, INSTANCES, PRODUCT_STATE, VENV, Layout, Machine

_LIBVIRT_FOLDERS = {
    "libvirt/etc": "/etc/libvirt",
    "libvirt/lib": "/var/lib/libvirt",
    "libvirt/log": "/var/log/libvirt",
    "libvirt/cache": "/var/cache/libvirt",
    "pki": "/etc/pki",
}
_PRODUCT_FOLDERS = {"etc": CONFIGURATION, "state": PRODUCT_STATE, "instances": INSTANCES, "postgresql": "/var/lib/postgresql"}
# Mount points on the machine's own disk, made where missing: see mountpoints.py. (IMAGES lies in a folder of ours.)
MOUNT_POINTS = (*_LIBVIRT_FOLDERS.values(), *_PRODUCT_FOLDERS.values())


def prepare(layout: Layout, machine: Machine) -> None:
    """Make the machine's folders, its hosts file and the description that its first process works from."""
    for name in (*_LIBVIRT_FOLDERS, *_PRODUCT_FOLDERS, f"state/{Path(IMAGES).name}"):
        (machine.folder / name).mkdir(parents=True, exist_ok=True)
    names = [f"{each.management_ip} {each.name}" for each in layout.machines]
    (machine.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")
    spec = {
        "name": machine.name,
        "mounts": _mounts(layout, machine),
        "folders": ["/run/libvirt", "/run/lock", "/run/tgtd"],
        "socket": str(_socket(layout, machine)),
    }
    _spec(machine).write_text(json.dumps(spec, indent=1))


def _mounts(layout: Layout, machine: Machine) -> list[dict[str, str]]:
    folders = [(str(machine.folder / name), target) for name, target in {**_LIBVIRT_FOLDERS, **_PRODUCT_FOLDERS}.items()]
    binds = [*folders, (str(layout.images), IMAGES), (str(machine.folder / "hosts"), "/etc/hosts")]
    # The name of the tmpfs marks every process of the machine as the laboratory's: see processes.py.
    return [
        *({"kind": "bind", "source": source, "target": target} for source, target in binds),
        {"kind": "tmpfs", "source": machine.namespace, "target": "/run"},
    ]


def mounted(machine: Machine, target: str) -> Path:
    """The folder outside that the machine has mounted at `target`."""
    for name, place in {**_LIBVIRT_FOLDERS, **_PRODUCT_FOLDERS}.items():
        if place == target:
            return machine.folder / name
    raise ValueError(f"nothing is mounted at {target}")


def boot(layout: Layout, machine: Machine) -> None:
    """Start the machine's first process; its network namespace must exist. Returns when it answers."""
    init = Path(__file__).with_name("machine_init.py")
    log = layout.log_of(machine, "init")
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["ip", "netns", "exec", machine.namespace, "unshare", "-m", "-u", sys.executable, "-I", str(init), str(_spec(machine))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={**environment({}), "HOME": "/root"},  # daemons start as from a boot, not from somebody's shell
        )
    _pid_file(layout, machine).write_text(str(process.pid))
    try:
        wait_until(
            lambda: is_alive(layout, machine),
            20,
            f"machine {machine.name} answers",
            interval_s=0.02,
            still_possible=lambda: process.poll() is None,
        )
    except LabError as error:
        raise StepFailed(str(error), log) from error


def is_alive(layout: Layout, machine: Machine) -> bool:
    """Whether the machine's first process is there and answers."""
    try:
        _ask(layout, machine, {"do": "list"})
    except (OSError, LabError):
        return False
    return _pid(layout, machine) is not None


def _spec(machine: Machine) -> Path:
    return machine.folder / "machine.json"


def _socket(layout: Layout, machine: Machine) -> Path:
    return layout.run / f"{machine.name}.sock"


def _pid_file(layout: Layout, machine: Machine) -> Path:
    return layout.run / f"{machine.name}.pid"


def _pid(layout: Layout, machine: Machine) -> int | None:
    """The pid of the machine's `tini`, if that is really what has this number today."""
    try:
        pid = int(_pid_file(layout, machine).read_text())
        here = os.stat(f"/proc/{pid}/ns/net")
        wanted = os.stat(fabric.namespace_file(machine.namespace))
    except (OSError, ValueError):
        return None
    return pid if here.st_ino == wanted.st_ino else None


def pid(layout: Layout, machine: Machine) -> int:
    """The machine's first process; LabError when it is not up."""
    found = _pid(layout, machine)
    if found is None:
        raise LabError(f"{machine.name} is not up; see `tools/lab status`")
    return found


# Daemons


def start_daemon(layout: Layout, machine: Machine, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Start a daemon below the machine's reaper; its output goes to the machine's log for it."""
    log = layout.log_of(machine, name)
    _ask(layout, machine, {"do": "start", "name": name, "argv": list(argv), "env": dict(env or {}), "log": str(log)})


def signal_daemon(layout: Layout, machine: Machine, name: str, number: int) -> None:
    """Send a signal to the daemon's process group."""
    _ask(layout, machine, {"do": "signal", "name": name, "signal": number})


def stop_daemon(layout: Layout, machine: Machine, name: str, timeout_s: float = 15) -> None:
    """SIGTERM, then SIGKILL when it has not ended in time."""
    signal_daemon(layout, machine, name, signal.SIGTERM)
    with contextlib.suppress(LabError):
        wait_until(lambda: not daemon_runs(layout, machine, name), timeout_s, f"{name} ends")
        return
    signal_daemon(layout, machine, name, signal.SIGKILL)
    wait_until(lambda: not daemon_runs(layout, machine, name), 10, f"{name} ends after SIGKILL")


def daemons(layout: Layout, machine: Machine) -> dict[str, dict[str, Any]]:
    """The daemons ever started on the machine: pid, exit_code (None while it runs), started_at (seconds since the epoch)."""
    return _ask(layout, machine, {"do": "list"})  # type: ignore[no-any-return]


def daemon_runs(layout: Layout, machine: Machine, name: str) -> bool:
    entry = daemons(layout, machine).get(name)
    return entry is not None and entry["exit_code"] is None


def _ask(layout: Layout, machine: Machine, request: dict[str, object]) -> Any:
    path = _socket(layout, machine)
    folder = os.open(path.parent, os.O_RDONLY)  # the whole path may be longer than a socket address can be
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(20)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline() or b'{"error": "no answer"}')
    finally:
        os.close(folder)
    if "error" in answer:
        raise LabError(f"{machine.name}: {answer['error']}")
    return answer["result"]


# Running something on the machine


def entering(layout: Layout, machine: Machine, argv: Sequence[str], cwd: str | None = None) -> list[str]:
    """The command line that runs `argv` on the machine, in `cwd` if it exists there."""
    first = pid(layout, machine)
    # Entering a mount namespace loses the working directory.
    go = ["sh", "-c", 'cd "$0" 2>/dev/null || cd /; exec "$@"', cwd or os.getcwd(), *argv]
    return [shutil.which("nsenter") or "/usr/bin/nsenter", "-t", str(first), "-m", "-u", "-n", *go]


def environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for commands on a machine: the product's own commands come first."""
    environ = dict(base)
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environ.pop(name, None)
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environ["PATH"] = f"{VENV / 'bin'}:{usual}"
    environ.setdefault("LANG", "C.UTF-8")
    return environ
