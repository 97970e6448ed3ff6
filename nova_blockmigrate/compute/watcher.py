"""The destination's watcher: completes a handover whose source's compute service died in the middle of it.

A guest whose copy here is complete stands still until somebody lets it run, which is the business of the source's compute
service and takes milliseconds. One that stands for seconds was left: the driver looks at both hosts, and lets it run here on
libvirt's proof that it will never run there, if the migration is under way still.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.objects import Copy, GuestDescription, MigrationPlan, PowerState, TransferOutcome, Verdict, from_primitive
from nova_blockmigrate.virt.driver import ComputeDriver

LOG = log.getLogger(__name__)

ROLE, GUEST = "destination", "guest"
LOOK_INTERVAL_S = 1.0
HANDOVER_LIMIT_S = 3.0
"""How long a complete copy may stand before it counts as left."""


class ArrivalWatcher:
    def __init__(self, driver: ComputeDriver, records: Records, goes_on: Callable[[MigrationPlan], bool]) -> None:
        """`goes_on`: who records migrations says that this one is under way; also false when nobody answers."""
        self._driver, self._records, self._goes_on = driver, records, goes_on
        self._standing_since: dict[str, float] = {}
        self._said: dict[str, str] = {}

    def look(self) -> None:
        """Look at every guest that is on its way here."""
        coming = self._records.plans(ROLE)
        for uuid in self._standing_since.keys() - {plan.migration_uuid for plan in coming}:
            del self._standing_since[uuid]
            self._said.pop(uuid, None)
        for plan in coming:
            record = self._records.get(plan.migration_uuid)
            if record is not None and record.kept(GUEST) is not None and self._is_left(plan, record):
                self._say(plan, self.complete(plan, record, source_is_dead=False))

    def complete(self, plan: MigrationPlan, record: HostRecord, source_is_dead: bool) -> TransferOutcome:
        """Let the guest run here, on proof; or say what is known."""
        guest = from_primitive(GuestDescription, record.kept(GUEST))
        was_paused = guest.power_state is PowerState.PAUSED
        call = concurrency.NativeCall()
        goes_on = call.callback(functools.partial(self._goes_on, plan))
        return call.run(self._driver.complete_arrival, plan, was_paused, source_is_dead, goes_on)

    def _is_left(self, plan: MigrationPlan, record: HostRecord) -> bool:
        seen = concurrency.run_native(self._driver.observe, plan.server.uuid, record)
        if seen.copy is not Copy.PAUSED_COMPLETE:
            self._standing_since.pop(plan.migration_uuid, None)
            return False
        since = self._standing_since.setdefault(plan.migration_uuid, time.monotonic())
        return time.monotonic() - since >= HANDOVER_LIMIT_S

    def _say(self, plan: MigrationPlan, outcome: TransferOutcome) -> None:
        """Once, and again when something else is to be said."""
        if self._said.get(plan.migration_uuid) == outcome.reason:
            return
        self._said[plan.migration_uuid] = outcome.reason
        if outcome.verdict is Verdict.HANDED_OVER:
            LOG.warning("%s was left standing by %s: it is here now", plan.label, plan.source_host)
        else:
            LOG.error("%s stands still here and waits for %s: %s", plan.label, plan.source_host, outcome.reason)
