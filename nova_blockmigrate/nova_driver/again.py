"""Work that must come to its end: tried again, with ever longer pauses, whatever hinders it."""

from __future__ import annotations

from collections.abc import Callable

from oslo_log import log

from nova_blockmigrate import concurrency

LOG = log.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0


def until_done(what: str, work: Callable[[], None]) -> None:
    """For a thread of its own. `what` is for the log."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            work()
            return
        except Exception:  # the border of a thread, and nobody else would do it
            LOG.exception("%s could not be ended; trying again in %d s", what, pause_s)
        concurrency.pause(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
