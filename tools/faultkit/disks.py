"""Disks of guests that fill up, or fail."""

import contextlib
import fcntl
import struct
from dataclasses import dataclass

from faultkit.breaks import Break
from faultkit.stage import HOSTS, Stage
from labkit.commands import wait_until
from labkit.layout import INSTANCES
from labkit.scenario import HOST

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

    def __str__(self) -> str:
        return f"fill {self.role}'s disk"

    def mount(self, stage: Stage, host: str) -> None:
        stage.lab.run(host, ["mount", "-t", "tmpfs", "-o", f"size={self.room_mib}m", "faults", INSTANCES])

    def do(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["sh", "-c", f"cat /dev/zero > {INSTANCES}/{BALLAST}"], check=False)

    def undo(self, stage: Stage) -> None:
        stage.lab.run(stage.host(self.role), ["rm", "-f", f"{INSTANCES}/{BALLAST}"])


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
