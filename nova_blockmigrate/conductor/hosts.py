"""Asking a host again and again until a job is over: how the conductor does long work with short calls."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import oslo_messaging
from oslo_log import log

from nova_blockmigrate import rpc
from nova_blockmigrate.objects import StepReport, StepState

LOG = log.getLogger(__name__)

PAUSE_S = 1.0
"""Between two calls to a host that does not answer."""


class JobFailed(Exception):
    """The host did the job, or tried to, and says why it failed."""


class HostSilent(JobFailed):
    """The host did not answer for longer than was to be waited."""


class Stopping(Exception):
    """This conductor stops: the job goes on, another conductor (or this one, restarted) will ask after it."""


@dataclasses.dataclass(frozen=True)
class Asking:
    """How to ask: `call` makes one short call; `patience_s` None means for ever."""

    host: str
    job: str
    call: Callable[[], StepReport]
    stopping: threading.Event
    patience_s: float | None
    on_progress: Callable[[StepReport], None] = lambda report: None


def ask_until_done(asking: Asking) -> Any:
    """The job's result.

    :raises JobFailed: it failed, with the host's words.
    :raises HostSilent: the host did not answer for `patience_s` seconds.
    :raises Stopping: this conductor stops.
    """
    heard = time.monotonic()
    silent = False
    while True:
        if asking.stopping.is_set():
            raise Stopping
        try:
            report = asking.call()
        except rpc.UNANSWERED as error:
            silence = time.monotonic() - heard
            if not isinstance(error, oslo_messaging.MessagingTimeout):
                heard = time.monotonic()  # the broker does not answer: of the host nothing is known
            elif asking.patience_s is not None and silence >= asking.patience_s:
                raise HostSilent(f"{asking.host} did not answer for {silence:.0f} s ({asking.job}).") from error
            if not silent:
                LOG.warning("%s does not answer (%s): asking again: %s", asking.host, asking.job, error)
            silent = True
            asking.stopping.wait(PAUSE_S)
            continue
        if silent:
            LOG.info("%s answers again (%s)", asking.host, asking.job)
        heard, silent = time.monotonic(), False
        match report.state:
            case StepState.DONE:
                return report.result
            case StepState.FAILED:
                raise JobFailed(report.error)
            case StepState.RUNNING:
                asking.on_progress(report)
