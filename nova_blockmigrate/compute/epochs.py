"""Whose word counts for a migration: that of the conductor with the newest lease that this host has heard of.

A conductor that was frozen does not know that another one has taken its migrations over, and what it asked for before may still be
on its way. Its lease is over, but the database cannot keep it from asking. So each question names its attempt and lease, which only
grow, and one with older ones than were seen is refused. They are remembered on disk, and for a day, as the migration may be long
forgotten here when the conductor thaws.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Callable

from oslo_log import log

from nova_blockmigrate import concurrency, exceptions

LOG = log.getLogger(__name__)

KEEP_S = 24 * 3600.0
MOST = 10_000
"""So many are remembered before those that are old enough are dropped."""

Epoch = tuple[int, int]
"""(attempt, lease) of a migration; the later, the greater."""


class Epochs:
    """What one host has heard of."""

    def __init__(self, path: pathlib.Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._lock = concurrency.native.threading.Lock()
        self._seen: dict[str, tuple[Epoch, float]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._load()

    def admit(self, migration_uuid: str, epoch: Epoch | None) -> None:
        """`epoch`: None from a conductor that is older than this rule, which is let through.

        :raises exceptions.LeaseSuperseded: a newer one was seen.
        """
        if epoch is None:
            return
        with self._lock:
            newest = self._seen[migration_uuid][0] if migration_uuid in self._seen else None
            if newest is not None and epoch < newest:
                raise exceptions.LeaseSuperseded(migration_uuid=migration_uuid, asked=_words(epoch), newest=_words(newest))
            if epoch != newest:
                self._seen[migration_uuid] = (epoch, self._now())
                self._note(migration_uuid)

    def _note(self, migration_uuid: str) -> None:
        """A full disk is no reason to refuse what is asked: then it is remembered until this service ends."""
        try:
            if len(self._seen) > MOST:
                self._rewrite()
            else:
                self._append(_line(migration_uuid, *self._seen[migration_uuid]))
        except OSError as error:
            LOG.error("%s: %s: kept in memory only", self._path, error)

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _load(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in self._path.read_bytes().splitlines():
                with contextlib.suppress(ValueError):  # a line that a crash or a full disk cut
                    uuid, attempt, lease, at = json.loads(line)
                    self._seen[uuid] = ((attempt, lease), at)
            if any(at < self._oldest for _, at in self._seen.values()):
                with contextlib.suppress(OSError):
                    self._rewrite()

    @property
    def _oldest(self) -> float:
        return self._now() - KEEP_S

    def _rewrite(self) -> None:
        """Drop what is old enough."""
        oldest = self._oldest
        self._seen = {uuid: seen for uuid, seen in self._seen.items() if seen[1] >= oldest}
        whole = self._path.with_suffix(".new")
        with whole.open("wb") as file:
            file.writelines(_line(uuid, *seen) for uuid, seen in self._seen.items())
            file.flush()
            os.fsync(file.fileno())
        whole.replace(self._path)


def _line(uuid: str, epoch: Epoch, at: float) -> bytes:
    return b"\n" + json.dumps([uuid, *epoch, at]).encode() + b"\n"  # (whatever stands before it was perhaps cut)


def _words(epoch: Epoch) -> str:
    return f"attempt {epoch[0]}, lease {epoch[1]}"
