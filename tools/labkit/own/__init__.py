"""Servers of a test run's own: real PostgreSQL, MariaDB and RabbitMQ from Debian's packages, on this machine's loopback only.

Each keeps its data in a folder that is given to it and lives as long as its `with` block. For tests and measurements that need
no hosts; the laboratory's own servers run inside its machines (`labkit.postgres`, `labkit.rabbitmq`).
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from labkit.own import mariadb, postgresql

DATABASES = ("SQLite", "PostgreSQL", "MariaDB")
PACKAGES = (*postgresql.PACKAGES, *mariadb.PACKAGES)
MakeDatabase = Callable[[str], str]
"""From a name, makes an empty database and returns its URL."""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A scratch folder with a short name (sockets' names are limited), through which other users may pass."""
    with tempfile.TemporaryDirectory(prefix="nbm-own-", dir="/var/tmp") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@contextlib.contextmanager
def databases(kinds: Sequence[str] = DATABASES) -> Iterator[dict[str, MakeDatabase]]:
    """Running servers of these kinds, with what makes a database on each.

    :raises LabError: one does not start; its packages are in PACKAGES.
    """
    with folder() as where, contextlib.ExitStack() as servers:
        made: dict[str, MakeDatabase] = {}
        for kind in kinds:
            match kind:
                case "SQLite":
                    made[kind] = lambda name: f"sqlite:///{where}/{name}.sqlite"
                case "PostgreSQL":
                    made[kind] = servers.enter_context(postgresql.running(where / "postgresql")).create
                case "MariaDB":
                    made[kind] = servers.enter_context(mariadb.running(where / "mariadb")).create
        yield made
