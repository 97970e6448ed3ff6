"""Finds and ends the processes of one laboratory, whatever became of its records.

A process is the laboratory's when its mounts show the tmpfs that carries the laboratory's name, or when it is in one of its named
network namespaces. Both are inherited, cannot be lost by a daemon, and cannot be had by accident.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from labkit import fabric
from labkit.layout import Layout


def find(layout: Layout) -> dict[int, str]:
    """The laboratory's living processes: pid to command line."""
    networks = {(fabric.namespace_file(name)).stat().st_ino for name in fabric.namespaces_of(layout)}
    verdicts: dict[int, bool] = {}
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _belongs(entry, layout, networks, verdicts):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found[int(entry.name)] = line or (entry / "comm").read_text().strip()
    return found


def _belongs(process: Path, layout: Layout, networks: set[int], verdicts: dict[int, bool]) -> bool:
    """Whether a process is the laboratory's; what was read of a mount namespace is kept in `verdicts`."""
    try:
        if (process / "ns/net").stat().st_ino in networks:
            return True
        mount_namespace = (process / "ns/mnt").stat().st_ino
        if mount_namespace not in verdicts:
            verdicts[mount_namespace] = f" tmpfs nbm-{layout.id}-" in (process / "mountinfo").read_text()
        return verdicts[mount_namespace]
    except OSError:  # it ended meanwhile, is a zombie, or is a kernel thread
        return False


def kill_all(layout: Layout, timeout_s: float = 10) -> int:
    """SIGKILL to all of them, reapers last, until none is left; returns how many there were."""
    killed: set[int] = set()
    deadline = time.monotonic() + timeout_s
    while living := find(layout):
        reapers = {pid for pid, line in living.items() if line.startswith("tini ")}
        for pid in (living.keys() - reapers) or reapers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        if time.monotonic() > deadline:
            raise TimeoutError(f"these do not die: {living}")
        time.sleep(0.01)
    _wait_reaped(killed)
    return len(killed)


def _wait_reaped(pids: set[int], timeout_s: float = 3) -> None:
    """Zombies hold nothing but a line in `ps`; still, give their parents a moment, and reap those that are ours."""
    deadline = time.monotonic() + timeout_s
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
