"""Shows a server's console log, and keeps following it from host to host when the server migrates."""

import sys
import time
from pathlib import Path

from labkit import api, seed
from labkit.errors import LabError
from labkit.lab import Lab


def show(lab: Lab, server: str, follow: bool) -> None:
    identity = _identity(lab, server)
    current = _newest(lab, identity)
    if current is None:
        raise LabError(f"no host has a console log of {server}")
    offset = _print_from(current, 0)
    while follow:
        time.sleep(0.2)
        newest = _newest(lab, identity)
        if newest and newest != current:
            current, offset = newest, 0
        offset = _print_from(current, offset)


def _identity(lab: Lab, server: str) -> str:
    """The server's id: directories are named by it, so for an id the API need not be asked."""
    if any((host.folder / "instances" / server).is_dir() for host in lab.layout.hosts):
        return server
    return api.server_id(lab.layout, seed.token_of(lab.layout), server)


def _newest(lab: Lab, identity: str) -> Path | None:
    logs = [host.folder / "instances" / identity / "console.log" for host in lab.layout.hosts]
    return max((log for log in logs if log.exists()), key=lambda log: log.stat().st_mtime, default=None)


def _print_from(path: Path, offset: int) -> int:
    try:
        with path.open("rb") as log:
            log.seek(offset)
            text = log.read()
    except FileNotFoundError:  # the host that the server left has just removed it
        return offset
    sys.stdout.write(text.decode(errors="replace"))
    sys.stdout.flush()
    return offset + len(text)
