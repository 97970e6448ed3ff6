"""The laboratory's own PostgreSQL, in the controller's namespaces, from Debian's package but apart from Debian's clusters.

PostgreSQL refuses to run as root, so it runs as the user of its package; its folder is mounted where that user may go.
"""

import shutil
from pathlib import Path

from labkit import machine
from labkit.commands import run
from labkit.errors import LabError
from labkit.layout import Layout

DAEMON = "postgresql"
PORT = 5432
PACKAGES = ("postgresql", "util-linux")
HOME = "/var/lib/postgresql"
"""The package's folder, which each of our machines has for itself."""
_DATA = f"{HOME}/laboratory"
_DATABASE = _USER = "nova_blockmigrate"
_SETTINGS = {
    "listen_addresses": "0.0.0.0",
    "port": PORT,
    "unix_socket_directories": HOME,
    "shared_buffers": "16MB",
    "logging_collector": "off",
}


def start(layout: Layout) -> None:
    """Start it; the first time its cluster is made."""
    controller = layout.controller
    folder = machine.mounted(controller, HOME)
    # (looked at from within: a test may have mounted something else there)
    if run(machine.entering(layout, controller, ["test", "-e", f"{_DATA}/PG_VERSION"], "/"), check=False).returncode != 0:
        shutil.chown(folder, "postgres", "postgres")
        _run(layout, [program("initdb"), "-D", _DATA, "-A", "trust", "-U", _USER, "--no-instructions", "-N"])
        with (folder / "laboratory/pg_hba.conf").open("a") as rules:
            rules.write("host all all 0.0.0.0/0 trust\n")  # nobody but the laboratory's machines reaches it
    run(machine.entering(layout, controller, ["rm", "-f", f"{_DATA}/postmaster.pid"], "/"))  # of one that was killed
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    machine.start_daemon(layout, controller, DAEMON, _as_postgres([program("postgres"), "-D", _DATA, *settings]))


def answers(layout: Layout) -> bool:
    """Whether it takes connections."""
    asked = run(
        machine.entering(layout, layout.controller, [program("pg_isready"), "-h", HOME, "-U", _USER], "/"),
        check=False,
        timeout_s=10,
    )
    return asked.returncode == 0


def url_of(database: str = _DATABASE) -> str:
    return f"postgresql+psycopg2://{_USER}@controller:{PORT}/{database}"


def create_database(layout: Layout, name: str = _DATABASE) -> None:
    """The services' database, or another one, when it is not there."""
    listed = _run(layout, [program("psql"), "-h", HOME, "-U", _USER, "-Atc", "SELECT datname FROM pg_database", "postgres"])
    if name not in listed.split():
        _run(layout, [program("createdb"), "-h", HOME, "-U", _USER, name])


def query(layout: Layout, sql: str, database: str = _DATABASE) -> list[tuple[str, ...]]:
    """Rows, each column as text."""
    printed = _run(layout, [program("psql"), "-h", HOME, "-U", _USER, "-AtF", "\x1f", "-c", sql, database])
    return [tuple(line.split("\x1f")) for line in printed.splitlines()]


def _run(layout: Layout, argv: list[str]) -> str:
    return run(machine.entering(layout, layout.controller, _as_postgres(argv), "/")).stdout


def _as_postgres(argv: list[str]) -> list[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *argv]


def program(name: str) -> str:
    """Debian keeps each version's programs in a folder of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise LabError(f"{name} is not installed: apt-get install {PACKAGES[0]}")
    return str(found[-1])
