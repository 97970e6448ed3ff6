"""A MariaDB that is reached through a socket in its folder."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from labkit.commands import run
from labkit.errors import LabError
from labkit.own import daemon

PACKAGES = ("mariadb-server",)
_USER = "nova_blockmigrate"


class Mariadb:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def create(self, database: str) -> str:
        """Make an empty database; its URL."""
        self.sql(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")  # as doc/install.rst says
        self.sql(f"GRANT ALL ON `{database}`.* TO {_USER}@localhost")
        return self.url(database)

    def url(self, database: str) -> str:
        return f"mysql+pymysql://{_USER}@localhost/{database}?unix_socket={self.socket}&charset=utf8mb4"

    def sql(self, statement: str, database: str = "") -> str:
        argv = [_program("mariadb"), "--no-defaults", f"--socket={self.socket}", "-u", _administrator(), "-BN", "-e", statement]
        return run([*argv, *([database] if database else [])]).stdout


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Mariadb]:
    """A new server in `folder`, which is made."""
    folder.mkdir(mode=0o700, parents=True)
    own, data = Mariadb(folder), folder / "data"
    user = [f"--user={_administrator()}"]
    install = [_program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db", *user]
    run([*install, "--auth-root-authentication-method=socket", f"--auth-root-socket-user={_administrator()}"])
    # what a statement waits for a lock before it fails is short: a test that waits has found something
    options = ["--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=20", "--max-connections=300"]
    argv = [_program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={own.socket}", *user, *options]
    argv += [f"--pid-file={folder}/pid", "--innodb-buffer-pool-size=128M"]

    def ready() -> bool:
        asked = [_program("mariadb-admin"), "--no-defaults", f"--socket={own.socket}", "-u", _administrator(), "ping"]
        return run(asked, check=False, timeout_s=10).returncode == 0

    with daemon.running("MariaDB", argv, folder / "log", ready):
        own.sql(f"CREATE USER IF NOT EXISTS {_USER}@localhost")
        yield own


def _administrator() -> str:
    """MariaDB knows its administrator by who asks."""
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise LabError(f"{name} is not installed: apt-get install {PACKAGES[0]}")
    return found
