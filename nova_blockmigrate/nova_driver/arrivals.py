"""The destination's part: what is on its way here is remembered, and a switch whose source died in it is completed here.

The watching itself is the compute service's (`compute.watcher`); here are the records that it works from, and what it asks of
a driver.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator

from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.compute.watcher import GUEST, LOOK_INTERVAL_S, ArrivalWatcher
from nova_blockmigrate.exceptions import UnsafeRemoval
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    MigrationPlan,
    Observation,
    TransferOutcome,
    to_primitive,
)
from nova_blockmigrate.virt.driver import Journal
from nova_blockmigrate.virt.libvirt import arrival, prepare, settle
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import observe
from nova_blockmigrate.virt.libvirt.unmake import DIRECTORY

LOG = log.getLogger(__name__)

DESTINATION, SOURCE_URI = "destination", "source_uri"
RECONCILE_EVERY_S = 30.0

EndOf = Callable[[MigrationPlan], str | None]
"""How a migration ended, as Nova's database says: "arrived" when the server is here, "stayed" when its source said that it did not
come, "gone" when it is not here and nothing of it is under way, "deleted" when there is no such server any more, "under way" while
it is not over; None when nobody answers."""
ARRIVED, STAYED, GONE, DELETED, UNDER_WAY = "arrived", "stayed", "gone", "deleted", "under way"
LANDED = "landed"


class Arrivals:
    """All guests that are on their way to this host. Serves `compute.watcher` as its driver."""

    def __init__(self, host: Host, records: Records) -> None:
        self._host, self._records = host, records
        self._watcher = ArrivalWatcher(self, records, self._goes_on)  # type: ignore[arg-type]  # it asks for these two methods only
        self._busy: dict[str, threading.Lock] = {}
        self._end_of: EndOf = lambda plan: None

    # --- what is on its way -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def alone(self, server_uuid: str, wait: bool = True) -> Iterator[bool]:
        """Nobody else makes or removes anything of this guest here meanwhile; False when somebody does and we do not wait.

        A source whose service was restarted takes back what the destination may still be preparing.
        """
        lock = self._busy.setdefault(server_uuid, threading.Lock())
        got = lock.acquire(blocking=wait)
        try:
            yield got
        finally:
            if got:
                lock.release()

    def clear_earlier(self, server_uuid: str) -> None:
        """Before a guest comes, whatever driver its source has: what an earlier try left here is removed.

        :raises UnsafeRemoval: it may be the only copy.
        """
        for earlier in self._plans_of(server_uuid):
            LOG.warning("%s has left something here, and its server comes again", earlier.label)
            self.unmake(earlier, stayed=self._end_of(earlier) == STAYED)

    def expect(self, plan: MigrationPlan, guest: GuestDescription, source_uri: str, directory: str) -> None:
        """On disk before anything of the guest is here."""
        record = self._records.open(plan, DESTINATION)
        record.keep(SOURCE_URI, source_uri)
        if not os.path.exists(directory):
            with record.entry(DIRECTORY, directory):
                pass  # Nova makes it
        record.keep(GUEST, to_primitive(guest))

    def landed(self, server_uuid: str) -> None:
        """The guest is here, and about to be recorded so, if its server was not deleted meanwhile. If it stands still from now on,
        its user wants that."""
        for plan in self._plans_of(server_uuid):
            record = self._records.get(plan.migration_uuid)
            if record is not None:
                record.remember(LANDED, True)
                record.remember(GUEST, None)

    def forget(self, server_uuid: str) -> None:
        """The guest will not come, and nothing of it is left."""
        for plan in self._plans_of(server_uuid):
            self._records.close(plan.migration_uuid)

    def refuse_the_only_copy(self, server_uuid: str) -> None:
        """Before anything of a guest is removed here that did not come.

        :raises UnsafeRemoval: it runs here, or may have no other copy, or libvirt cannot say.
        """
        for plan in self._plans_of(server_uuid):
            source = self._source(plan)
            try:
                concurrency.run_native(prepare.refuse_the_only_copy, self._host, source, plan)
            finally:
                source.close()

    def _plans_of(self, server_uuid: str) -> list[MigrationPlan]:
        return [plan for plan in self._records.plans(DESTINATION) if plan.server.uuid == server_uuid]

    # --- watching ---------------------------------------------------------------------------------------------------

    def watch(self, end_of: EndOf) -> None:
        """Look after them for ever; in a thread of its own."""
        self._end_of, since_s = end_of, 0.0
        while True:
            concurrency.pause(LOOK_INTERVAL_S)
            since_s += LOOK_INTERVAL_S
            try:
                self._watcher.look()
                self.reconcile(end_of, landed_only=since_s < RECONCILE_EVERY_S)
                since_s = since_s if since_s < RECONCILE_EVERY_S else 0.0
            except Exception:  # the border of a thread that must not end
                LOG.exception("Guests on their way here could not be looked after")

    def reconcile(self, end_of: EndOf, landed_only: bool = False) -> None:
        """Whose end nobody told us: the roll back's message was lost, or this service was away."""
        for plan in self._records.plans(DESTINATION):
            if landed_only and not self._has_landed(plan):
                continue
            with self.alone(plan.server.uuid, wait=False) as alone:
                if alone:
                    self._reconcile(plan, end_of(plan))

    def _reconcile(self, plan: MigrationPlan, end: str | None) -> None:
        match end:
            case "arrived":
                self._records.close(plan.migration_uuid)
            case "deleted":
                concurrency.run_native(self._destroy, plan.server.uuid)
                self._unmake_files(plan)
            case "gone" if self._has_landed(plan):  # and has left again: nothing here is ours
                self._records.close(plan.migration_uuid)
            case "gone" | "stayed":
                try:
                    self.unmake(plan, stayed=end == STAYED)
                except UnsafeRemoval as error:
                    LOG.error("%s %s", plan.label, error)

    def _destroy(self, server_uuid: str) -> None:
        """The guest of a server that was deleted, whatever it does."""
        domain = self._host.find_domain(server_uuid)
        if domain is not None and domain.isActive():
            with self._host.errors("destroy the guest of a deleted server"):
                domain.destroy()
        settle.destroy_copy(self._host, server_uuid)

    def _goes_on(self, plan: MigrationPlan) -> bool:
        return self._end_of(plan) == UNDER_WAY

    def _has_landed(self, plan: MigrationPlan) -> bool:
        record = self._records.get(plan.migration_uuid)
        return record is not None and bool(record.kept(LANDED))

    def unmake(self, plan: MigrationPlan, stayed: bool = False) -> None:
        """Remove what a guest left here that did not come, as far as the record lists it.

        `stayed`: its source said so; then a complete copy here is stale, though the source has nothing of it any more.
        :raises UnsafeRemoval: it runs here, or may have no other copy.
        """
        if self._records.get(plan.migration_uuid) is None:
            return
        source = self._source(plan)
        try:
            concurrency.run_native(prepare.discard_copy, self._host, source, plan, stayed)
        finally:
            source.close()
        self._unmake_files(plan)

    def _unmake_files(self, plan: MigrationPlan) -> None:
        record = self._records.get(plan.migration_uuid)
        for artefact in record.artefacts() if record is not None else []:
            if artefact.kind == DIRECTORY:
                shutil.rmtree(artefact.name, ignore_errors=True)
                LOG.warning("%s %s was left here and is removed", plan.label, artefact.name)
        self._records.close(plan.migration_uuid)

    # --- for compute.watcher ------------------------------------------------------------------------------------------

    def observe(self, server_uuid: str, journal: Journal | None) -> Observation:
        return observe(self._host, server_uuid, is_destination=True)

    def complete_arrival(
        self, plan: MigrationPlan, was_paused: bool, source_is_dead: bool, goes_on: Callable[[], bool]
    ) -> TransferOutcome:
        source = self._source(plan)
        try:
            return arrival.complete(self._host, source, plan.server.uuid, was_paused, source_is_dead, goes_on)
        finally:
            source.close()

    def _source(self, plan: MigrationPlan) -> Host:
        record: HostRecord | None = self._records.get(plan.migration_uuid)
        return Host(record.kept(SOURCE_URI) if record else "", plan.source_host)

    def is_here(self, server_uuid: str) -> bool:
        """Whether a copy runs here, or is complete."""
        seen = concurrency.run_native(self.observe, server_uuid, None)
        return seen.copy not in (Copy.ABSENT, Copy.INCOMING)
