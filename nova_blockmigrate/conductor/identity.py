"""Who owns a lease: a conductor process, by host, process id and the instant it started."""

from __future__ import annotations

import os
import pathlib


def of_this_process(host: str) -> str:
    return f"{host}/{os.getpid()}/{_started(os.getpid())}"


def is_dead_here(owner: str, host: str) -> bool:
    """Whether `owner` was a process of this host that is no more. Of other hosts nothing is known: their leases run out."""
    name, _, process = owner.rpartition("/")[0].rpartition("/")
    if name != host or not process.isdecimal():
        return False
    return owner != f"{host}/{process}/{_started(int(process))}"


def _started(pid: int) -> str:
    """Clock ticks since boot at which a process started; empty when there is none."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
