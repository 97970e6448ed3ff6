"""Talks to the laboratory's guest, and reads the records that it left on a disk image."""

import contextlib
import json
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import commands
from labkit.errors import LabError

PORT = 7000
MIB = 1024 * 1024
SECTOR = 512
# See tools/guest/records.h and agent.c.
ROOT_RECORDS_AT, VOLUME_RECORDS_AT = 64 * MIB, 1 * MIB
_MAGIC, _EMPTY = b"NBMREC01", bytes(SECTOR)

EnterNetwork = Callable[[], contextlib.AbstractContextManager[None]]
Prefix = Callable[[Sequence[str]], list[str]]


class Guest:
    """The agent in one guest. `enter` puts this thread where the tenant network is, such as `lab.inside_network`."""

    def __init__(self, address: str, enter: EnterNetwork = contextlib.nullcontext) -> None:
        self.address = address
        self._enter = enter

    def status(self, timeout_s: float = 5) -> dict[str, Any]:
        """boot_id, uptime_s, record, record_lag_ms, record_longest_gap_ms, writer, loads; OSError when it does not answer."""
        return self.command("status", timeout_s)

    def command(self, line: str, timeout_s: float = 5) -> dict[str, Any]:
        """Send one command line; LabError when the agent refuses it, OSError when it does not answer."""
        with self._connect(timeout_s) as connection:
            connection.sendall(line.encode() + b"\n")
            answer = connection.makefile("rb").readline()
        if not answer:
            raise ConnectionError(f"{self.address} closed the connection at `{line}`")
        result: dict[str, Any] = json.loads(answer)
        if "error" in result:
            raise LabError(f"guest {self.address}: {line}: {result['error']}")
        return result

    def order(self, line: str) -> None:
        """Send a command after which no answer can be expected: poweroff, reboot, crash."""
        with contextlib.suppress(OSError), self._connect(2) as connection:
            connection.sendall(line.encode() + b"\n")
            connection.recv(1)

    def write_payload(self, mib: int, rate_mib_s: int = 64) -> None:
        """Have the guest write about `mib` MiB of random blocks to the scratch area of its disk."""
        self.command(f"disk {rate_mib_s}")
        try:
            commands.wait_until(lambda: self.status()["disk_written_mib"] >= mib, 60, f"{mib} MiB are written", interval_s=0.1)
        finally:
            self.command("disk 0")

    def verify(self, timeout_s: float = 120, volume: bool = False) -> "Verdict":
        """The guest's own reading of all its records, on its own disk or on its volume."""
        found = self.command("verify2" if volume else "verify", timeout_s)
        return Verdict(1 if found["good"] else 0, found["last"], found["missing"], found["corrupt"])

    def answers(self, timeout_s: float = 1) -> bool:
        with contextlib.suppress(OSError, ValueError, LabError):
            self.status(timeout_s)
            return True
        return False

    def wait(self, timeout_s: float = 60) -> dict[str, Any]:
        """Its first status; LabError when it does not answer in time."""
        commands.wait_until(self.answers, timeout_s, f"guest {self.address} answers", interval_s=0.1)
        return self.status()

    def wait_for_record(self, number: int, timeout_s: float = 30, volume: bool = False) -> None:
        """Until the guest has flushed this record to its own disk, or to its volume."""
        key = "record2" if volume else "record"
        commands.wait_until(lambda: self.answers() and self.status()[key] >= number, timeout_s, f"{key} {number}")

    def write_to_volume(self, timeout_s: float = 30) -> None:
        """Have the guest write records to its volume, too, as soon as it sees one."""

        def writes() -> bool:
            self.command("writer2 on")
            return bool(self.status()["record2"])

        commands.wait_until(writes, timeout_s, "the guest writes to its volume", interval_s=0.2)

    def _connect(self, timeout_s: float) -> socket.socket:
        with self._enter():
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect((self.address, PORT))
        except OSError:
            connection.close()
            raise
        return connection


@dataclass(frozen=True)
class Record:
    number: int
    uptime_s: float
    boot_id: str


@dataclass(frozen=True)
class Verdict:
    """What a stream of records looks like: whole when it has all from 1 to `last`."""

    first: int
    last: int
    missing: int
    corrupt: int

    @property
    def is_whole(self) -> bool:
        return self.first == 1 and not self.missing and not self.corrupt


def parse_record(sector: bytes) -> Record | None:
    """The record in a sector, or None when there is no valid one."""
    if sector[:8] != _MAGIC or zlib.crc32(sector[:-4]) != struct.unpack("<I", sector[-4:])[0]:
        return None
    number, uptime_us = struct.unpack("<QQ", sector[8:24])
    return Record(number, uptime_us / 1e6, sector[24:64].rstrip(b"\0").decode())


def judge(blocks: Iterable[bytes]) -> Verdict:
    """Judge a record area, given in blocks of whole sectors; the first sector should hold record 1."""
    first = last = good = corrupt = corrupt_so_far = position = 0
    for block in blocks:
        if block == bytes(len(block)):
            position += len(block) // SECTOR
            continue
        for start in range(0, len(block), SECTOR):
            position += 1
            sector = block[start : start + SECTOR]
            if sector == _EMPTY:
                continue
            record = parse_record(sector)
            if record and record.number == position:
                first = first or position
                last, good, corrupt = position, good + 1, corrupt_so_far
            else:
                corrupt_so_far += 1
    # What is damaged beyond the last good record counts, too: it may have been one.
    return Verdict(first, last, missing=last - good - corrupt, corrupt=corrupt_so_far)


def records(image: str | Path, prefix: Prefix = list, records_at: int = ROOT_RECORDS_AT) -> Iterator[bytes]:
    """The record area of a qcow2 image, in blocks. `prefix` makes a command run where the image's path is valid.

    An image that a running QEMU writes to is read as it happens to be on disk: judge it after the guest was stopped or has left.
    """
    with tempfile.TemporaryDirectory(prefix="nbm-records-") as folder:
        raw = Path(folder) / "records.raw"
        size = _virtual_size(str(image), prefix) // 4 * 3 // MIB * MIB - records_at
        source = f"driver=raw,offset={records_at},size={size},file.driver=qcow2,file.file.driver=file,file.file.filename={image}"
        commands.run(prefix(["qemu-img", "convert", "-U", "--image-opts", source, "-O", "raw", str(raw)]))
        with raw.open("rb") as stream:
            while block := stream.read(MIB):
                yield block


def verify_records(image: str | Path, prefix: Prefix = list, records_at: int = ROOT_RECORDS_AT) -> Verdict:
    """Judge the records on a qcow2 image; see `records`."""
    return judge(records(image, prefix, records_at))


def _virtual_size(image: str, prefix: Prefix) -> int:
    return int(json.loads(commands.output(prefix(["qemu-img", "info", "-U", "--output=json", image])))["virtual-size"])


def uptime_went_on(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two statuses are of one boot, the second later: it never restarted."""
    return bool(before["boot_id"] == after["boot_id"] and after["uptime_s"] > before["uptime_s"])
