"""What this host made for networks that guests share, and for which taps: on disk before it is made.

A bridge and its uplink go with the last tap, and only when they were made here. Devices do not outlive a boot of the
host, so a note of an earlier boot says nothing about a device of the same name now; ports of Open vSwitch's do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.objects import from_primitive, to_primitive

_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


@dataclasses.dataclass
class Entry:
    """One bridge."""

    taps: list[str] = dataclasses.field(default_factory=list)
    """Those that need it."""
    made: list[str] = dataclasses.field(default_factory=list)
    """Devices that were made for it, oldest first."""
    joined: list[str] = dataclasses.field(default_factory=list)
    """Interfaces of the host that were plugged into it."""
    ports: list[str] = dataclasses.field(default_factory=list)
    """Ports of Open vSwitch's for its taps. They are in Open vSwitch's own database, and outlive a boot."""


class Book:
    def __init__(self, path: str, boot_id: str | None = None) -> None:
        self._path = pathlib.Path(path)
        self._boot_id = boot_id or _BOOT_ID.read_text().strip()
        self._lock = native.threading.RLock()
        self._entries: dict[str, Entry] | None = None

    @contextlib.contextmanager
    def bridge(self, name: str) -> Iterator[Entry]:
        """The notes of one bridge, for one thread at a time."""
        with self._lock:
            yield self._all().setdefault(name, Entry())

    def bridges_of(self, tap: str) -> list[str]:
        with self._lock:
            return [name for name, entry in self._all().items() if tap in entry.taps]

    def bridges_with_port(self, port: str) -> list[str]:
        with self._lock:
            return [name for name, entry in self._all().items() if port in entry.ports]

    def in_use(self) -> set[str]:
        with self._lock:
            return {name for name, entry in self._all().items() if entry.taps}

    def save(self) -> None:
        """Put the notes on disk: before what they announce, and after what they announce is gone."""
        with self._lock:
            entries = {name: entry for name, entry in self._all().items() if entry.taps or entry.made or entry.ports}
            content = json.dumps({"boot_id": self._boot_id, "bridges": to_primitive(entries)})
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".new")
            with open(temporary, "w") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._path)
            _sync(self._path.parent)

    def _all(self) -> dict[str, Entry]:
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def _read(self) -> dict[str, Entry]:
        try:
            noted = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        entries = {name: from_primitive(Entry, entry) for name, entry in noted["bridges"].items()}
        if noted["boot_id"] == self._boot_id:
            return entries
        return {name: Entry(ports=entry.ports) for name, entry in entries.items() if entry.ports}


def _sync(directory: pathlib.Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
