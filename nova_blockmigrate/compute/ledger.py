"""What a host must remember on disk: of a migration, the ledger of what was made and the journal of what happened; of a
server, the ledger of its belongings on this host.

One file each, begun with its first line and appended line by line with O_DSYNC: a line is on disk before what it announces is
done. A last line that a crash cut in half announces nothing that was done, and is passed over. What a migration made at its
destination becomes the server's when it has arrived (`settle`). A file goes when nothing is left here to remember.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from oslo_log import log

from nova_blockmigrate import breakpoints, concurrency
from nova_blockmigrate.objects import Artefact, MigrationPlan, from_primitive, to_primitive
from nova_blockmigrate.virt.driver import BASE

LOG = log.getLogger(__name__)

SERVERS = "servers"
"""Folder of the servers' ledgers, below that of the migrations' records."""


class HostRecord:
    """Ledger and journal of one migration, or of one server, on this host (`virt.driver.Ledger`, `virt.driver.Journal`)."""

    def __init__(self, path: pathlib.Path, others: Callable[[], list[HostRecord]] = list) -> None:
        self.path = path
        self._others = others
        self._lock = concurrency.native.threading.Lock()
        self._artefacts: list[Artefact] = []
        self._marks: dict[str, float] = {}
        self._values: dict[str, Any] = {}
        self._is_dropped = False
        for line in _read_whole_lines(path):
            self._apply(line)
        self._descriptor = self._open(0) if path.exists() else -1

    # --- ledger -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def entry(self, kind: str, name: str) -> Iterator[None]:
        """List an artefact before it is made. It stays listed when the body fails: it may be half made."""
        artefact = Artefact(kind, name)
        if artefact not in self.artefacts():
            self._append({"made": to_primitive(artefact)})
        breakpoints.reached(f"ledger.{kind}.listed")
        yield
        breakpoints.reached(f"ledger.{kind}.made")

    def artefacts(self) -> list[Artefact]:
        with self._lock:
            return list(self._artefacts)

    def forget(self, artefact: Artefact) -> None:
        """It is gone. A full disk keeps nobody from clearing up: what is still listed there is looked for once more, if ever."""
        breakpoints.reached(f"ledger.{artefact.kind}.gone")
        self._note({"gone": to_primitive(artefact)})

    def is_shared(self, artefact: Artefact) -> bool:
        """Whether another record of this host lists the same."""
        return any(artefact in other.artefacts() for other in self._others() if other is not self)

    # --- journal ----------------------------------------------------------------------------------------------------

    def mark(self, name: str) -> None:
        """A mark that cannot be written is remembered all the same: no full disk may keep a guest standing in its handover."""
        self._note({"mark": name, "at": time.time()})

    def has(self, name: str) -> bool:
        with self._lock:
            return name in self._marks

    def latest(self, *names: str) -> str:
        """That of these marks which was made last; empty when none was."""
        with self._lock:
            return next((name for name in reversed(self._marks) if name in names), "")

    # --- what else is kept ------------------------------------------------------------------------------------------

    def keep(self, name: str, value: Any) -> None:
        """Keep a primitive under `name`."""
        self._append({"keep": name, "value": value})

    def remember(self, name: str, value: Any) -> None:
        """As `keep`, but a full disk is no error: for what can be found out again."""
        self._note({"keep": name, "value": value})

    def kept(self, name: str) -> Any:
        """What was kept under `name`, or None."""
        with self._lock:
            return self._values.get(name)

    def drop(self) -> None:
        """Nothing is left to remember: delete the file. What somebody still has to say of it is not kept."""
        with self._lock:
            self._is_dropped = True
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def _open(self, flags: int) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_DSYNC | os.O_CLOEXEC | flags, 0o600)

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._write(line)
            self._apply(line)

    def _note(self, line: dict[str, Any]) -> None:
        with self._lock:
            try:
                self._write(line)
            except OSError as error:
                LOG.error("%s: %s: kept in memory only: %s", self.path, error, line)
            self._apply(line)

    def _write(self, line: dict[str, Any]) -> None:
        """Append a whole line, or nothing.

        :raises OSError: the disk is full, or broken.
        """
        if self._descriptor < 0:
            if self._is_dropped:
                return
            self._descriptor = self._open(os.O_CREAT)
            _sync(self.path.parent)
        content = json.dumps(line).encode() + b"\n"
        end = os.fstat(self._descriptor).st_size
        if os.write(self._descriptor, content) < len(content):
            os.ftruncate(self._descriptor, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _apply(self, line: dict[str, Any]) -> None:
        match line:
            case {"made": artefact}:
                self._artefacts.append(from_primitive(Artefact, artefact))
            case {"gone": artefact}:
                with contextlib.suppress(ValueError):  # the line that lists it may be damaged
                    self._artefacts.remove(from_primitive(Artefact, artefact))
            case {"mark": name, "at": at}:
                self._marks.pop(name, None)  # they stand in the order in which each was last made
                self._marks[name] = at
            case {"keep": name, "value": value}:
                self._values[name] = value


class Records:
    """All records of this host: of migrations by the migration's uuid, and of servers."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._records = self._load(directory)
        for uuid, record in list(self._records.items()):
            if record.kept("plan") is None:  # begun on a full disk, or in the moment of a crash: nothing was done yet
                self.close(uuid)
        self._servers = self._load(directory / SERVERS)

    def _load(self, directory: pathlib.Path) -> dict[str, HostRecord]:
        directory.mkdir(parents=True, exist_ok=True)
        return {path.stem: HostRecord(path, self._everything) for path in sorted(directory.glob("*.jsonl"))}

    def _everything(self) -> list[HostRecord]:
        return [*self._records.values(), *self._servers.values()]

    def lists_base(self, path: str) -> bool:
        """Whether a guest that is here, or on its way, was given this base."""
        return any(artefact == Artefact(BASE, path) for record in self._everything() for artefact in record.artefacts())

    # --- migrations -------------------------------------------------------------------------------------------------

    def open(self, plan: MigrationPlan, role: str) -> HostRecord:
        """The record of `plan`, begun if there is none. `role` is "source" or "destination"."""
        record = self._records.get(plan.migration_uuid)
        if record is None:
            record = HostRecord(self._directory / f"{plan.migration_uuid}.jsonl", self._everything)
            try:
                record.keep("role", role)
                record.keep("plan", to_primitive(plan))
            except OSError:
                record.drop()
                raise
            self._records[plan.migration_uuid] = record
        return record

    def get(self, migration_uuid: str) -> HostRecord | None:
        return self._records.get(migration_uuid)

    def close(self, migration_uuid: str) -> None:
        """The migration left nothing here: forget it. One that is not known is fine."""
        record = self._records.pop(migration_uuid, None)
        if record is not None:
            record.drop()

    def all(self) -> dict[str, HostRecord]:
        return dict(self._records)

    def plans(self, role: str) -> list[MigrationPlan]:
        """The migrations in which this host has `role`."""
        return [
            from_primitive(MigrationPlan, record.kept("plan"))
            for record in self.all().values()  # other threads open and close some meanwhile
            if record.kept("role") == role and record.kept("plan")
        ]

    # --- servers ----------------------------------------------------------------------------------------------------

    def of_server(self, server_uuid: str) -> HostRecord:
        """The ledger of a server's belongings on this host, begun if there is none (on disk: with the first of them)."""
        record = self._servers.get(server_uuid)
        if record is None:
            record = self._servers[server_uuid] = HostRecord(self._directory / SERVERS / f"{server_uuid}.jsonl", self._everything)
        return record

    def settle(self, plan: MigrationPlan) -> None:
        """The server has arrived: what its migration made here is the server's from now on. Repeatable."""
        record = self._records.get(plan.migration_uuid)
        if record is None:
            return
        belongings = self.of_server(plan.server.uuid)
        for artefact in record.artefacts():
            with belongings.entry(artefact.kind, artefact.name):
                pass
        self.close(plan.migration_uuid)

    def close_server(self, server_uuid: str) -> None:
        """The server has nothing here any more: forget it. One that is not known is fine."""
        record = self._servers.pop(server_uuid, None)
        if record is not None:
            record.drop()


def _sync(directory: pathlib.Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_whole_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a record; what follows the last newline was cut by a crash and goes, or it would spoil the next line. Another
    that is damaged is passed over, loudly: no file may keep a host's service from starting."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return [line for each in whole.splitlines() if (line := _read_line(path, each)) is not None]


def _read_line(path: pathlib.Path, line: bytes) -> dict[str, Any] | None:
    try:
        read = json.loads(line)
    except ValueError:
        read = None
    if isinstance(read, dict):
        return read
    LOG.error("%s has a line that cannot be read, and is passed over: %r", path, line[:200])
    return None
