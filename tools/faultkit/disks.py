"""Disks that fill up, or fail: those of guests, of the database, and of what a compute service remembers."""

import contextlib
import fcntl
import struct
from dataclasses import dataclass

from faultkit.breaks import Break
from faultkit.stage import CONNECTION_ERRORS, HOSTS, Stage
from faultkit.world import query
from labkit import postgres
from labkit.commands import wait_until
from labkit.layout import INSTANCES, PRODUCT_STATE
from labkit.scenario import HOST

WRITES_MIB_S = 8
"""What a guest writes whose disk is to have no room for it."""
BALLAST = "ballast"
LOOP_SET_STATUS64, LOOP_GET_STATUS64 = 0x4C04, 0x4C05
LO_SIZELIMIT_AT, LOOP_INFO64_BYTES = 32, 232
"""See loop(4)."""


@dataclass(frozen=True)
class GuestDisk(Break):
    """A host's instances lie on a file system of their own, made before the guest is."""

    role: str = "destination"

    def prepare_stage(self, stage: Stage) -> None:
        if self.role == "source":
            stage.drop_guest()
            self.mount(stage, HOSTS[0])

    def before(self, stage: Stage) -> None:
        if self.role == "destination":
            self.mount(stage, stage.destination)

    def mount(self, stage: Stage, host: str) -> None:
        raise NotImplementedError

    def after(self, stage: Stage) -> None:
        host = stage.host(self.role)
        if stage.server is not None and stage.ask(lambda client: client.server(stage.guest.id))[HOST] == host:
            stage.drop_guest()
        stage.lab.run(host, ["umount", "-l", INSTANCES])


@dataclass(frozen=True)
class FillDisk(GuestDisk):
    """A small one, which is filled to the last byte."""

    room_mib: int = 220
    """Enough for the checks to let the guest in."""
    guest_writes: bool = False
    """The guest writes where it never wrote before, so it notices: QEMU pauses it, and it writes on where it arrives."""

    def __str__(self) -> str:
        return f"fill {self.role}'s disk" + (", and its guest writes" if self.guest_writes else "")

    def mount(self, stage: Stage, host: str) -> None:
        stage.lab.run(host, ["mount", "-t", "tmpfs", "-o", f"size={self.room_mib}m", "faults", INSTANCES])

    def do(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["sh", "-c", f"cat /dev/zero > {INSTANCES}/{BALLAST}"], check=False)
        if self.guest_writes:
            stage.guest.guest.command(f"disk {WRITES_MIB_S}")

    def undo(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["rm", "-f", f"{INSTANCES}/{BALLAST}"])
        if self.guest_writes:
            stage.guest.guest.wait(30)
            stage.guest.guest.command("disk 0")


@dataclass(frozen=True)
class CloseDisk(GuestDisk):
    """One that takes no more writes, as file systems do when their disk fails."""

    def __str__(self) -> str:
        return f"{self.role}'s disk gets read-only"

    def mount(self, stage: Stage, host: str) -> None:
        stage.lab.run(host, ["mount", "-t", "tmpfs", "-o", "size=220m", "faults", INSTANCES])

    def do(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["mount", "-o", "remount,ro", INSTANCES])

    def undo(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["mount", "-o", "remount,rw", INSTANCES])


@dataclass(frozen=True)
class FailDisk(GuestDisk):
    """One on a disk that neither takes nor gives data any more: each request ends in an I/O error, but for those of the first
    megabyte, where the file system keeps its tables. It is a loop device whose size is taken away; what lies behind stays.

    Only for what writes past the page cache, as QEMU does: Linux (6.18) never ends to write a dirty page back to such a device."""

    room_mib: int = 256
    file: str = "/run/faulty-disk"
    left_bytes: int = 1 << 20

    def __str__(self) -> str:
        return f"{self.role}'s disk has I/O errors"

    def mount(self, stage: Stage, host: str) -> None:
        script = f"""
            truncate -s {self.room_mib}M {self.file}
            mkfs.ext4 -q -b 4096 -N 256 -m 0 -O ^has_journal,^resize_inode -E lazy_itable_init=0 {self.file}
            mount -o loop,errors=continue {self.file} {INSTANCES}
        """
        stage.lab.run(host, ["sh", "-ec", script])

    def do(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["sync", "-f", INSTANCES])
        self._limit(stage, self.left_bytes)

    def undo(self, stage: Stage) -> None:
        self._limit(stage, 0)

    def after(self, stage: Stage) -> None:
        super().after(stage)
        stage.lab.run(stage.host(self.role), ["rm", "-f", self.file])

    def _limit(self, stage: Stage, limit_bytes: int) -> None:
        """Set how much of the file the loop device shows; 0 for all."""
        found = stage.lab.run(stage.host(self.role), ["findmnt", "-nvo", "SOURCE", "--mountpoint", INSTANCES])
        with open(found.stdout.split()[-1], "rb", buffering=0) as device:
            info = bytearray(LOOP_INFO64_BYTES)
            fcntl.ioctl(device, LOOP_GET_STATUS64, info)
            struct.pack_into("<Q", info, LO_SIZELIMIT_AT, limit_bytes)

            def set_limit() -> bool:
                with contextlib.suppress(BlockingIOError):  # somebody writes just now
                    fcntl.ioctl(device, LOOP_SET_STATUS64, info)
                    return True
                return False

            wait_until(set_limit, 10, "the loop device takes its limit", interval_s=0.01)


@dataclass(frozen=True)
class SmallFolder(Break):
    """What services keep in a folder lies on a small file system, which is filled to the last byte."""

    what: str = ""
    role: str = "controller"
    folder: str = ""
    room_kib: int = 0
    parts: tuple[str, ...] = ()
    """Who uses it: stopped while it is changed."""

    def __str__(self) -> str:
        return f"fill the disk of {self.what}"

    def before(self, stage: Stage) -> None:
        self._stop(stage)
        script = f"""
            mkdir -p /run/small
            mount -t tmpfs -o size={self.room_kib}k faults /run/small
            chown --reference={self.folder} /run/small
            chmod --reference={self.folder} /run/small
            for each in {self.folder}/*; do
                to=/run/small/$(basename $each)
                case $to in
                    */breakpoints|*/images) mkdir -p $to; mount --bind $each $to;;
                    *) mv $each $to;;
                esac
            done
            mount --rbind /run/small {self.folder}
        """
        stage.lab.run(stage.host(self.role), ["sh", "-ec", script])
        self._start(stage)

    def do(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["sh", "-c", f"cat /dev/zero > {self.folder}/{BALLAST}"], check=False)

    def undo(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["rm", "-f", f"{self.folder}/{BALLAST}"])

    def after(self, stage: Stage) -> None:
        self._stop(stage)
        script = f"""
            umount -lR {self.folder}
            for each in /run/small/*; do
                case $each in
                    */breakpoints|*/images) umount -l $each;;
                    *) mv $each {self.folder}/;;
                esac
            done
            umount -l /run/small
        """
        stage.lab.run(stage.host(self.role), ["sh", "-ec", script])
        self._start(stage)

    def _stop(self, stage: Stage) -> None:
        for part in self.parts:
            stage.lab.stop(*stage.daemon(part))

    def _start(self, stage: Stage) -> None:
        for part in reversed(self.parts):
            stage.start(part)
        wait_until(lambda: _api_answers(stage), 60, "the API answers")


def _api_answers(stage: Stage) -> bool:
    with contextlib.suppress(*CONNECTION_ERRORS):
        return bool(stage.ask(lambda client: client.server(stage.guest.id)))
    return False


@dataclass(frozen=True)
class FillDatabase(SmallFolder):
    """The SQLite file cannot grow any more."""

    what: str = "the SQLite database"
    folder: str = PRODUCT_STATE
    room_kib: int = 32 * 1024
    parts: tuple[str, ...] = ("api", "conductor")

    def do(self, stage: Stage) -> None:
        query(stage, "PRAGMA wal_checkpoint(TRUNCATE)")  # there would be room enough in what it wrote before
        super().do(stage)


@dataclass(frozen=True)
class FillPostgresql(SmallFolder):
    """Its files cannot grow any more; it ends itself when it cannot write its log, and is started when there is room again."""

    what: str = "PostgreSQL"
    folder: str = "/var/lib/postgresql"
    room_kib: int = 300 * 1024
    parts: tuple[str, ...] = (postgres.DAEMON,)

    def undo(self, stage: Stage) -> None:
        super().undo(stage)
        stage.start(postgres.DAEMON)


@dataclass(frozen=True)
class FillLedger(SmallFolder):
    """A compute service cannot write down any more what it makes."""

    folder: str = f"{PRODUCT_STATE}/ledger"
    room_kib: int = 256

    def __str__(self) -> str:
        return f"fill the disk of {self.role}'s ledger"


def ledger_of(role: str) -> FillLedger:
    return FillLedger(role=role, parts=(f"{role} compute",))
