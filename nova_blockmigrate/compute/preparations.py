"""Preparations of destinations that run on this host: one at a time for each migration, and to be called off at any moment."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from nova_blockmigrate.exceptions import MigrationAborted


class Preparation:
    """What is being prepared for one migration, or was."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._guard = threading.Lock()
        self._called_off = False
        self._cut: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around the work; one thread at a time.

        :raises MigrationAborted: it was called off, before or meanwhile. What was made by then is in the ledger.
        """
        with self._alone:
            self._check()
            try:
                yield
            except Exception:
                self._check()  # that is why it failed
                raise
            self._check()

    @contextlib.contextmanager
    def cut_by(self, cut: Callable[[], None]) -> Iterator[None]:
        """Around something long that `cut` ends early."""
        with self._guard:
            self._cut.append(cut)
        try:
            self._check()
            yield
        finally:
            with self._guard:
                self._cut.remove(cut)

    def call_off(self) -> None:
        """Have it end as soon as possible; returns at once."""
        with self._guard:
            self._called_off = True
            cuts = list(self._cut)
        for cut in cuts:
            cut()

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        """Call it off, and hold it off while what it made is undone."""
        self.call_off()
        with self._alone:
            yield

    def _check(self) -> None:
        if self._called_off:
            raise MigrationAborted


class Preparations:
    """By the migration's uuid."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Preparation] = {}

    def of(self, migration_uuid: str) -> Preparation:
        with self._lock:
            return self._known.setdefault(migration_uuid, Preparation())

    def forget(self, migration_uuid: str) -> None:
        with self._lock:
            self._known.pop(migration_uuid, None)
