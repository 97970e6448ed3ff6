"""Work that a host does on request, asked after by short calls that may be repeated.

A call starts a job, or finds it running, waits a little for its end and answers with a `StepReport`. When the answer is
lost, the same call is simply made again: jobs are idempotent, so a job whose end was reported once may run once more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from oslo_log import log

from nova_blockmigrate import concurrency, exceptions
from nova_blockmigrate.objects import StepReport, StepState, TransferProgress

LOG = log.getLogger(__name__)

Key = tuple[str, str]
"""(uuid of the migration or server, name of the job)"""


class _Job:
    def __init__(self) -> None:
        self.started = time.monotonic()
        self.over = threading.Event()
        self.report: StepReport | None = None


class Jobs:
    """The jobs of one host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[Key, _Job] = {}

    def run(
        self,
        key: Key,
        work: Callable[[], Any],
        wait_s: float,
        progress: Callable[[], TransferProgress | None] = lambda: None,
    ) -> StepReport:
        """Start `work` under `key`, or find it running; wait at most `wait_s` for its end.

        `work` returns a primitive. Its errors become the report's `error`.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                job = self._jobs[key] = _Job()
                concurrency.spawn(f"job-{key[1]}", self._work, key, job, work)
        if not job.over.wait(wait_s) or job.report is None:
            return StepReport(StepState.RUNNING, progress=progress(), seconds=time.monotonic() - job.started)
        with self._lock:
            if self._jobs.get(key) is job:
                del self._jobs[key]
        return job.report

    def is_busy(self, uuid: str) -> bool:
        """Whether any job of a server or migration runs, or has an end that nobody has heard of."""
        with self._lock:
            return any(key[0] == uuid for key in self._jobs)

    def is_running(self, key: Key) -> bool:
        with self._lock:
            job = self._jobs.get(key)
        return job is not None and not job.over.is_set()

    def _work(self, key: Key, job: _Job, work: Callable[[], Any]) -> None:
        try:
            result = work()
            report = StepReport(StepState.DONE, result=result, seconds=time.monotonic() - job.started)
        except exceptions.BlockMigrateError as error:
            LOG.warning("%s of %s failed: %s", key[1], key[0], error.message)
            report = StepReport(StepState.FAILED, error=error.message, seconds=time.monotonic() - job.started)
        except Exception as error:  # the border of a job: whatever happens, who asked hears of it
            LOG.exception("%s of %s failed", key[1], key[0])
            report = StepReport(StepState.FAILED, error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - job.started)
        job.report = report
        job.over.set()
