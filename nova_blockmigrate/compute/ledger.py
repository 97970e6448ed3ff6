"""What a host must remember of one migration, on disk: the ledger of what was made, and the journal of what happened.

One file a migration and host, appended line by line with O_DSYNC: a line is on disk before what it announces is done. A
last line that a crash cut in half announces nothing that was done, and is passed over. The file goes when nothing of
the migration is left to remember here.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from nova_blockmigrate import breakpoints, concurrency
from nova_blockmigrate.objects import Artefact, MigrationPlan, from_primitive, to_primitive


class HostRecord:
    """Ledger and journal of one migration on this host (`virt.driver.Ledger` and `virt.driver.Journal`)."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._lock = concurrency.native.threading.Lock()
        self._artefacts: list[Artefact] = []
        self._marks: dict[str, float] = {}
        self._values: dict[str, Any] = {}
        for line in _read_whole_lines(path):
            self._apply(line)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC | os.O_CLOEXEC, 0o600)

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
        breakpoints.reached(f"ledger.{artefact.kind}.gone")
        self._append({"gone": to_primitive(artefact)})

    # --- journal ----------------------------------------------------------------------------------------------------

    def mark(self, name: str) -> None:
        self._append({"mark": name, "at": time.time()})

    def has(self, name: str) -> bool:
        with self._lock:
            return name in self._marks

    # --- what else is kept ------------------------------------------------------------------------------------------

    def keep(self, name: str, value: Any) -> None:
        """Keep a primitive under `name`."""
        self._append({"keep": name, "value": value})

    def kept(self, name: str) -> Any:
        """What was kept under `name`, or None."""
        with self._lock:
            return self._values.get(name)

    def drop(self) -> None:
        """Nothing is left to remember: delete the file."""
        with self._lock, contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")
            self._apply(line)

    def _apply(self, line: dict[str, Any]) -> None:
        match line:
            case {"made": artefact}:
                self._artefacts.append(from_primitive(Artefact, artefact))
            case {"gone": artefact}:
                self._artefacts.remove(from_primitive(Artefact, artefact))
            case {"mark": name, "at": at}:
                self._marks[name] = at
            case {"keep": name, "value": value}:
                self._values[name] = value


class Records:
    """All records of this host, by the migration's uuid."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._records: dict[str, HostRecord] = {}
        directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(directory.glob("*.jsonl")):
            self._records[path.stem] = HostRecord(path)

    def open(self, plan: MigrationPlan, role: str) -> HostRecord:
        """The record of `plan`, begun if there is none. `role` is "source" or "destination"."""
        record = self._records.get(plan.migration_uuid)
        if record is None:
            record = HostRecord(self._directory / f"{plan.migration_uuid}.jsonl")
            record.keep("role", role)
            record.keep("plan", to_primitive(plan))
            self._sync_directory()
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
            for record in self._records.values()
            if record.kept("role") == role and record.kept("plan")
        ]

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_whole_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a record; what follows the last newline was cut by a crash and goes, or it would spoil the next line."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.splitlines()]
