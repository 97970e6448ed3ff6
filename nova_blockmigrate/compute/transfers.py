"""The manager's hold on a running transfer: what it tells the driver, and what it hears of it.

Methods are called from green and from native threads; state is guarded by a native lock that is held for moments only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from nova_blockmigrate import concurrency
from nova_blockmigrate.objects import TransferProgress
from nova_blockmigrate.virt.driver import Journal


class TransferControl:
    """`virt.driver.TransferControl` for one transfer on this host."""

    def __init__(self) -> None:
        self.journal: Journal
        self.destination_is_dead = False
        self._lock = concurrency.native.threading.Lock()
        self._progress: TransferProgress | None = None
        self._abort_reason = ""
        self._force_wanted = False
        self._on_abort: list[Callable[[], None]] = []
        self._on_force: list[Callable[[], None]] = []
        self.marks_s: dict[str, float] = {}

    # --- for the driver ---------------------------------------------------------------------------------------------

    def report(self, progress: TransferProgress) -> None:
        self._progress = progress

    def mark(self, name: str) -> None:
        self.marks_s[name] = time.time()

    @property
    def abort_requested(self) -> bool:
        return bool(self._abort_reason)

    @property
    def abort_reason(self) -> str:
        return self._abort_reason

    def on_abort(self, callback: Callable[[], None]) -> None:
        with self._lock:
            self._on_abort.append(callback)
            late = self.abort_requested
        if late:
            callback()

    def on_force_complete(self, callback: Callable[[], None]) -> None:
        with self._lock:
            self._on_force.append(callback)
            late = self._force_wanted
        if late:
            callback()

    # --- for the manager --------------------------------------------------------------------------------------------

    def progress(self) -> TransferProgress | None:
        return self._progress

    def abort(self, reason: str) -> None:
        """Ask the driver to end the transfer. Asking again changes nothing; before it started, it ends at once."""
        with self._lock:
            first = not self.abort_requested
            self._abort_reason = self._abort_reason or reason
            callbacks = list(self._on_abort)
        if first:
            for callback in callbacks:
                callback()

    def force_complete(self) -> None:
        """Ask the driver to end the transfer now, at the price of a longer pause. Asking again changes nothing."""
        with self._lock:
            first = not self._force_wanted
            self._force_wanted = True
            callbacks = list(self._on_force)
        if first:
            for callback in callbacks:
                callback()
