"""What a host tells the conductor every few seconds, and what it clears up upon the answer.

A host may have been away while its migrations ended. So it names the migrations that it still has records of; the
conductor answers which of them are over, and how; what they left here is cleared by the same jobs that would have
cleared it in time.
"""

from __future__ import annotations

import functools
from typing import Any

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency, exceptions, rpc
from nova_blockmigrate.compute.jobs import Jobs
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.migration import DESTINATION, MigrationJobs
from nova_blockmigrate.context import RequestContext, service_context
from nova_blockmigrate.objects import HostResources, MigrationPlan, MigrationStatus, PowerState, from_primitive, to_primitive
from nova_blockmigrate.virt.driver import ComputeDriver

LOG = log.getLogger(__name__)

ANSWER_TIME_S = 5
FIRST_ANSWER_TIME_S = 1
RETRY_S = 1.0
MOST_DOUBLINGS = 3
"""Of the pause after a report that was not answered: four seconds at most."""


class Reporter:
    def __init__(
        self,
        conf: cfg.ConfigOpts,
        host: str,
        driver: ComputeDriver,
        records: Records,
        jobs: Jobs,
        migrations: MigrationJobs,
    ) -> None:
        self._host = host
        self._driver = driver
        self._records = records
        self._jobs = jobs
        self._migrations = migrations
        self._interval_s = float(conf.report_interval)
        self._conductors = rpc.client(conf, rpc.CONDUCTOR_TOPIC)
        self._seen: dict[str, PowerState] = {}
        self._heard: bool | None = None
        """Whether the last report was answered; None before the first."""
        self._unheard = 0
        """How many were not, since then: hundreds of hosts must not keep a busy conductor busy by asking again and again."""

    def report(self) -> float:
        """One sign of life; returns the seconds until the next. A conductor or hypervisor that does not answer is logged
        once, until it answers again."""
        context = service_context()
        try:
            resources = concurrency.run_native(self._driver.get_available_resource)
            over = self._report(context, resources, self._steady_states())
        except (*rpc.UNANSWERED, exceptions.BlockMigrateError) as error:
            if self._heard is not False:
                LOG.warning("No report of %s reached a conductor: %s", self._host, error)
            self._heard = False
            self._unheard = min(self._unheard + 1, MOST_DOUBLINGS)
            return min(RETRY_S * float(2 ** (self._unheard - 1)), self._interval_s)
        if not self._heard:
            LOG.info("Reports of %s reach a conductor", self._host)
        self._heard, self._unheard = True, 0
        for migration_uuid, end in over.items():
            self._clear(context, migration_uuid, MigrationStatus(end["status"]), end["host"])
        return self._interval_s

    def _steady_states(self) -> dict[str, PowerState]:
        """Power states of the guests to which nothing is being done here, and that were the same at the last look."""
        moving = {record.kept("plan")["server"]["uuid"] for record in self._records.all().values() if record.kept("plan")}
        found = concurrency.run_native(self._driver.get_power_states)
        seen = {uuid: state for uuid, state in found.items() if uuid not in moving and not self._jobs.is_busy(uuid)}
        steady = {uuid: state for uuid, state in seen.items() if self._seen.get(uuid) is state}
        self._seen = seen
        return steady

    def _report(self, context: RequestContext, resources: HostResources, steady: dict[str, PowerState]) -> dict[str, Any]:
        # without a conductor's queue on the broker a call is lost: while none was heard, do not wait long for an answer
        patience_s = ANSWER_TIME_S if self._heard else min(ANSWER_TIME_S, FIRST_ANSWER_TIME_S * 2**self._unheard)
        client = self._conductors.prepare(timeout=patience_s)
        answer: dict[str, Any] = client.call(
            context,
            "report_host",
            resources=to_primitive(resources),
            migration_uuids=list(self._records.all()),
            power_states={uuid: int(state) for uuid, state in steady.items()},
        )
        return answer

    def _clear(self, context: RequestContext, migration_uuid: str, status: MigrationStatus, home: str | None) -> None:
        record = self._records.get(migration_uuid)
        if record is None:
            return
        plan = from_primitive(MigrationPlan, record.kept("plan"))
        role, arguments = record.kept("role"), record.kept("arguments") or {}
        job, arguments = leftover_job(role, status, arguments, home, self._host)
        LOG.info("%s ended as %s while this host was away: %s", plan.label, status, job)
        work = functools.partial(self._migrations.run, context, job, plan, arguments)
        self._jobs.run((migration_uuid, job), work, wait_s=0)


def leftover_job(
    role: str, status: MigrationStatus, arguments: dict[str, Any], home: str | None, host: str
) -> tuple[str, dict[str, Any]]:
    """Which job clears what a migration that is over left on `host`, and the job's arguments (pure).

    `home`: the host that has the server now, which may have moved on since; "" when it was deleted, None when that is not known.
    A migration that failed with this destination may have completed with another.
    """
    if role == DESTINATION:
        came = status is MigrationStatus.COMPLETED and home in (host, None)
        return ("finish_destination", {}) if came else ("release_destination", {"home": home})
    if status is MigrationStatus.COMPLETED and "guest" in arguments:
        return "clean_source", {"guest": arguments["guest"], "home": home}
    return "release_source", {}
