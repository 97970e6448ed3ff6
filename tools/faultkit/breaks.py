"""The ways to break something, each with its way back. Values: a case names them, the stage does them.

`before` makes ready what must be there before the migration; `do` breaks; `undo` brings the part back; `after` tidies up when
the case was judged. Those of disks are in `disks.py`.
"""

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faultkit.stage import CONNECTION_ERRORS, Stage
from faultkit.world import query, sqlite_file
from labkit import machine, services
from labkit.commands import wait_until
from labkit.errors import LabError
from labkit.layout import CONFIGURATION, IMAGES, INSTANCES, PRODUCT_STATE

LIBVIRT_PORTS = (16509, 16514)


@dataclass(frozen=True)
class Break:
    """Nothing is broken."""

    def __str__(self) -> str:
        return "nothing"

    def prepare_stage(self, stage: Stage) -> None:
        """Make ready what the guest must be booted upon."""

    def before(self, stage: Stage) -> None:
        """Make ready what only this migration needs; source and destination are known."""

    def do(self, stage: Stage) -> None:
        """Break it."""

    def undo(self, stage: Stage) -> None:
        """Bring it back."""

    def after(self, stage: Stage) -> None:
        """Tidy up."""


@dataclass(frozen=True)
class Kill(Break):
    """SIGKILL; started again when its time away is over."""

    part: str

    def __str__(self) -> str:
        return f"kill -9 {self.part}"

    def do(self, stage: Stage) -> None:
        stage.signal(self.part, signal.SIGKILL)

    def undo(self, stage: Stage) -> None:
        if not self.part.endswith("qemu"):
            stage.start(self.part)


@dataclass(frozen=True)
class Terminate(Break):
    """SIGTERM, as systemd stops a service; started again when its time away is over."""

    part: str

    def __str__(self) -> str:
        return f"stop {self.part}"

    def do(self, stage: Stage) -> None:
        stage.lab.stop(*stage.daemon(self.part))

    def undo(self, stage: Stage) -> None:
        stage.start(self.part)


@dataclass(frozen=True)
class Freeze(Break):
    """SIGSTOP, until SIGCONT: the part is there and does not answer."""

    part: str

    def __str__(self) -> str:
        return f"freeze {self.part}"

    def do(self, stage: Stage) -> None:
        stage.signal(self.part, signal.SIGSTOP)

    def undo(self, stage: Stage) -> None:
        with contextlib.suppress(LabError):  # libvirt may have killed a QEMU meanwhile
            stage.signal(self.part, signal.SIGCONT)


@dataclass(frozen=True)
class Unplug(Break):
    """A host's cable is pulled."""

    role: str
    network: str = "management"

    def __str__(self) -> str:
        return f"unplug {self.role}'s {self.network} network"

    def do(self, stage: Stage) -> None:
        stage.lab.cut(stage.host(self.role), self.network)

    def undo(self, stage: Stage) -> None:
        stage.lab.heal(stage.host(self.role), self.network)


@dataclass(frozen=True)
class Separate(Break):
    """Packets between two machines vanish; both reach all others."""

    role: str
    other: str

    def __str__(self) -> str:
        return f"cut {self.role} from {self.other}"

    def do(self, stage: Stage) -> None:
        stage.lab.separate(stage.host(self.role), stage.host(self.other))

    def undo(self, stage: Stage) -> None:
        stage.lab.rejoin(stage.host(self.role))


@dataclass(frozen=True)
class LoseAnswers(Break):
    """The source's libvirt gets no answer of the destination's any more, while all that it says arrives, and so does the guest. So
    the copy gets complete there, and the source goes on here: libvirt lets it, when it gives the other one up."""

    def __str__(self) -> str:
        return "libvirt's answers to the source vanish"

    def do(self, stage: Stage) -> None:
        stage.lab.deafen(stage.source, stage.destination, LIBVIRT_PORTS)
        stage.speed_up()

    def undo(self, stage: Stage) -> None:
        stage.lab.rejoin(stage.source)


@dataclass(frozen=True)
class Crash(Break):
    """A host loses its power: everything on it dies at once, /run with it; then it boots."""

    role: str

    def __str__(self) -> str:
        return f"power failure of {self.role}"

    def do(self, stage: Stage) -> None:
        host = stage.host(self.role)
        stage.lab.kill(host, "compute", signal.SIGKILL)
        stage.lab.kill(host, "libvirtd", signal.SIGKILL)
        if stage.qemu_pid(host) is not None:
            stage.signal(f"{self.role} qemu", signal.SIGKILL)
        for state in _files(stage.path(host, "/run/libvirt")):
            state.unlink(missing_ok=True)

    def undo(self, stage: Stage) -> None:
        stage.start(f"{self.role} libvirtd")
        stage.start(f"{self.role} compute")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in list(folder.rglob("*")) if not path.is_dir())


@dataclass(frozen=True)
class KillOwner(Break):
    """Of two conductors the one that runs the migration is killed, and stays away; the other one has to find out."""

    def __str__(self) -> str:
        return "kill -9 the one of two conductors that runs it"

    def before(self, stage: Stage) -> None:
        etc = stage.lab.layout.controller.folder / "etc"
        first = (etc / "nova-blockmigrate.conf").read_text()
        (etc / "second.conf").touch(mode=0o600)
        (etc / "second.conf").write_text(first.replace("host = controller\n", "host = second\n"))
        argv = [services.command("conductor"), "--config-file", f"{CONFIGURATION}/second.conf"]
        environment = {"NOVA_BLOCKMIGRATE_BREAKPOINTS": f"{PRODUCT_STATE}/breakpoints"}
        machine.start_daemon(stage.lab.layout, stage.lab.layout.controller, "second", argv, environment)
        log = stage.lab.layout.log_of(stage.lab.layout.controller, "second")
        wait_until(lambda: "is ready" in log.read_text(), 30, "the second conductor is ready")

    @staticmethod
    def owner(stage: Stage) -> str:
        owner = query(stage, "SELECT owner FROM migrations ORDER BY id DESC LIMIT 1")[0][0]
        return "second" if owner.startswith("second") else "conductor"

    def do(self, stage: Stage) -> None:
        stage.signal(self.owner(stage), signal.SIGKILL)

    def after(self, stage: Stage) -> None:
        stage.signal("second", signal.SIGKILL)
        stage.start("conductor")


@dataclass(frozen=True)
class FreezeOwner(KillOwner):
    """Of two conductors the one that runs the migration is frozen for longer than its lease lasts, and thaws when the other one has
    gone on in its place."""

    def __str__(self) -> str:
        return "freeze the one of two conductors that runs it"

    def do(self, stage: Stage) -> None:
        _frozen.append(self.owner(stage))
        stage.signal(_frozen[-1], signal.SIGSTOP)

    def undo(self, stage: Stage) -> None:
        while _frozen:
            stage.signal(_frozen.pop(), signal.SIGCONT)


_frozen: list[str] = []
_locks: list[sqlite3.Connection] = []


@dataclass(frozen=True)
class LockDatabase(Break):
    """Nobody can write to the SQLite file."""

    def __str__(self) -> str:
        return "lock the SQLite database"

    def do(self, stage: Stage) -> None:
        connection = sqlite3.connect(sqlite_file(stage), timeout=10, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        _locks.append(connection)

    def undo(self, stage: Stage) -> None:
        while _locks:
            _locks.pop().close()


@dataclass(frozen=True)
class Order(Break):
    """The guest does something of its own: poweroff, reboot, crash."""

    order: str

    def __str__(self) -> str:
        return f"the guest does {self.order}"

    def do(self, stage: Stage) -> None:
        stage.guest.guest.order(self.order)


@dataclass(frozen=True)
class Wish(Break):
    """A user wants something: abort, force complete."""

    wish: str

    def __str__(self) -> str:
        return f"its user asks for {self.wish}"

    def do(self, stage: Stage) -> None:
        server, migration = f"/servers/{stage.guest.id}", stage.ask(lambda client: client.newest_migration(stage.guest.id))["id"]
        method, path, body = {
            "abort": ("DELETE", f"{server}/migrations/{migration}", None),
            "force complete": ("POST", f"{server}/migrations/{migration}/action", {"force_complete": None}),
        }[self.wish]
        stage.ask(lambda client: client.request(method, path, body))


@dataclass(frozen=True)
class ForgetBases(Break):
    """The destination has no base images and no image to make them from: they are brought from the source."""

    def __str__(self) -> str:
        return "no base image at the destination"

    def before(self, stage: Stage) -> None:
        stage.lab.run(stage.destination, ["sh", "-c", f"rm -rf {INSTANCES}/_base && mount -t tmpfs none {IMAGES}"])

    def after(self, stage: Stage) -> None:
        stage.lab.run(stage.destination, ["umount", "-l", IMAGES])


@dataclass(frozen=True)
class LibvirtPause(Break):
    """The guest is paused behind our back. In a migration that is libvirt's way to hurry it (`virsh migrate --timeout` does so):
    libvirt calls it paused by migration from then on, and it runs where it arrives."""

    def __str__(self) -> str:
        return "virsh suspend at the source"

    def do(self, stage: Stage) -> None:
        stage.lab.run(stage.source, ["virsh", "suspend", stage.guest.domain])


def wait_for_copying(stage: Stage, timeout_s: float = 40) -> None:
    """Until the API shows bytes of a running migration."""

    def copying() -> bool:
        try:
            seen = stage.ask(lambda client: client.running_migrations(stage.guest.id))
        except CONNECTION_ERRORS:
            return False
        return bool(seen and seen[0]["status"] == "running" and seen[0]["disk_processed_bytes"])

    wait_until(copying, timeout_s, "disks are being copied")


def domains(stage: Stage, host: str) -> dict[str, str]:
    """Names and states of a host's domains, by its own libvirt."""
    listed = stage.lab.run(host, ["virsh", "list", "--all"], check=False, timeout_s=15).stdout.splitlines()[2:]
    return {words[1]: " ".join(words[2:]) for words in map(str.split, listed) if len(words) >= 3}
