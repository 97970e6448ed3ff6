"""The queue of this conductor: its migrations wait here for slots at both their hosts.

One look serves all that wait, however many they are: it is made when a slot was released here, and every second for those that
other conductors release. A look takes at most half of the time, so that a long queue leaves the conductor to its work.
"""

from __future__ import annotations

import threading
import time

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.db import session
from nova_blockmigrate.db.queries import slots

LOG = log.getLogger(__name__)

LOOK_INTERVAL_S = 1.0


class SlotQueue:
    def __init__(self, conf: cfg.ConfigOpts, owner: str) -> None:
        self._conf, self._owner = conf, owner
        self._changed = threading.Condition()
        self._waiting: dict[int, threading.Event] = {}
        self._rung = False
        self._looks = False
        """Whether a thread looks."""
        self._stopped = False

    def wait(self, migration_id: int) -> None:
        """Return when the migration has its slots, or shall wait no longer (its row says why), or this conductor stops."""
        over = threading.Event()
        with self._changed:
            if self._stopped:
                return
            self._waiting[migration_id] = over
            self._rung = True
            self._changed.notify_all()
            if not self._looks:
                self._looks = True
                concurrency.spawn("queue", self._look_until_empty)
        over.wait()

    def ring(self) -> None:
        """A slot may be free."""
        with self._changed:
            self._rung = True
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            for over in self._waiting.values():
                over.set()
            self._waiting.clear()
            self._changed.notify_all()

    def _look_until_empty(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._looks = False
                    return
                self._rung = False
                ids = list(self._waiting)
            began = time.monotonic()
            try:
                self._release(self._claim(ids))
            except Exception:  # the border of the thread: a database that is away comes back
                LOG.exception("The queue could not be looked at; it is tried again")
            concurrency.pause(min(time.monotonic() - began, LOOK_INTERVAL_S))
            with self._changed:
                self._changed.wait_for(lambda: self._rung or not self._waiting, LOOK_INTERVAL_S)

    @session.retried
    def _claim(self, ids: list[int]) -> frozenset[int]:
        """Which of them need not wait any longer."""
        with session.writer() as db:
            claimed = slots.claim(db, ids, self._owner, self._conf.max_concurrent_live_migrations)
        return claimed.started | claimed.out

    def _release(self, ids: frozenset[int]) -> None:
        with self._changed:
            for id in ids:
                if over := self._waiting.pop(id, None):
                    over.set()
