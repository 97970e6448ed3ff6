"""A PostgreSQL that is reached through a socket in its folder. It refuses to run as root, and then runs as its package's user."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from labkit.commands import run
from labkit.own import daemon
from labkit.postgres import PACKAGES, program

_USER = "nova_blockmigrate"
_SETTINGS = {"listen_addresses": "", "max_connections": 300, "shared_buffers": "64MB", "fsync": "off", "full_page_writes": "off"}
"""Without fsync: what a test writes need not survive a power cut. Nothing else differs from what Debian sets."""

__all__ = ["PACKAGES", "Postgresql", "running"]


class Postgresql:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, database: str) -> str:
        """Make an empty database; its URL."""
        self.sql(f'CREATE DATABASE "{database}"', "postgres")
        return self.url(database)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg2://{_USER}@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str) -> str:
        return run([program("psql"), "-h", str(self.folder), "-U", _USER, "-qAtc", statement, database]).stdout


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Postgresql]:
    """A new cluster in `folder`, which is made."""
    folder.mkdir(mode=0o755, parents=True)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    run(_unprivileged([program("initdb"), "-D", str(data), "-A", "trust", "-U", _USER, "--no-instructions", "-N", "-E", "UTF8"]))
    settings = {**_SETTINGS, "unix_socket_directories": str(folder)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    argv = _unprivileged([program("postgres"), "-D", str(data), *options])

    def ready() -> bool:
        return run([program("pg_isready"), "-h", str(folder), "-U", _USER], check=False, timeout_s=10).returncode == 0

    with daemon.running("PostgreSQL", argv, folder / "log", ready, stop_signal=signal.SIGINT):
        yield Postgresql(folder)


def _unprivileged(argv: Sequence[str]) -> list[str]:
    if os.geteuid() != 0:
        return list(argv)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "KILL", *argv]
