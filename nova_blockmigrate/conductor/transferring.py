"""The step in which the guest moves: asks the source for what became of it, as long as that takes, and for as long as the
source's compute service is silent, the destination.
"""

from __future__ import annotations

import dataclasses

import oslo_messaging
from oslo_log import log

from nova_blockmigrate import rpc
from nova_blockmigrate.conductor import hosts
from nova_blockmigrate.conductor.leased import Columns, LeasedMigration, label
from nova_blockmigrate.conductor.roll_back import ABORTED, Failure
from nova_blockmigrate.conductor.steps import Where
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import instances, migrations
from nova_blockmigrate.objects import (
    MigrationStatus,
    StepReport,
    TransferOutcome,
    TransferProgress,
    Verdict,
    from_primitive,
    to_primitive,
)

LOG = log.getLogger(__name__)

RETRY_S = 2.0
"""Between two looks at what is undecided."""
SILENCE_S = 8.0
"""How long the source may be silent before the destination is asked."""


class Transferring:
    """One migration in its transfer."""

    def __init__(self, leased: LeasedMigration) -> None:
        self._leased = leased

    def to_the_end(self, migration: models.Migration) -> Columns:
        """The columns that a guest which has moved sets.

        :raises Failure: it stayed.
        """
        while True:
            outcome = self._outcome(migration)
            columns = {"outcome": to_primitive(outcome)} | counters(outcome.progress)
            if outcome.verdict is Verdict.HANDED_OVER:
                return columns
            if outcome.verdict is Verdict.STAYED:
                status = MigrationStatus.CANCELLED if outcome.cancelled else MigrationStatus.FAILED
                raise Failure(outcome.reason or "The guest stayed on its source.", status, **columns)
            if outcome.reason != migration.reason:
                LOG.error("%s undecided, looking again: %s", label(migration), outcome.reason)
            migration = self._leased.write(reason=outcome.reason)
            self._leased.pause(RETRY_S)

    def _outcome(self, migration: models.Migration) -> TransferOutcome:
        try:
            return self._ask_source(migration)
        except hosts.HostSilent as silence:
            return self._ask_destination(migration, str(silence))
        except oslo_messaging.RemoteError as error:  # it could not take the question in: of the guest that says nothing
            return TransferOutcome(Verdict.UNDECIDED, f"{migration.source_compute}: {error.exc_type}: {error.value}")

    def _ask_source(self, migration: models.Migration) -> TransferOutcome:
        answer = self._leased.ask(
            migration,
            Where.SOURCE,
            "transfer",
            {"guest": migration.guest, "prepared": migration.prepared} | self._word_of_the_destination(migration),
            patience_s=SILENCE_S,
            wait_s=self._leased.conf.libvirt.live_migration_poll_interval,
            on_progress=self._take_in,
        )
        return from_primitive(TransferOutcome, answer)

    def _word_of_the_destination(self, migration: models.Migration) -> dict[str, bool]:
        """An operator wants it back and vouches that the destination does not run."""
        if migration.abort_requested and self._leased.is_declared_dead(migration.dest_compute):
            return {"destination_is_dead": True}
        return {}

    def _ask_destination(self, migration: models.Migration, silence: str) -> TransferOutcome:
        """The destination's service sees whether a handover was left half way, and completes it on proof."""
        wished = migration.force_complete_requested or migration.abort_requested
        arguments = {"source_is_dead": wished and self._leased.is_declared_dead(migration.source_compute)}
        try:
            answer = self._leased.ask(migration, Where.DESTINATION, "complete_arrival", arguments, patience_s=SILENCE_S)
        except hosts.JobFailed as error:
            return TransferOutcome(Verdict.UNDECIDED, f"{silence} {error}")
        outcome = from_primitive(TransferOutcome, answer)
        if outcome.verdict is not Verdict.UNDECIDED:
            LOG.warning("%s %s, says %s: %s", label(migration), outcome.verdict, migration.dest_compute, silence)
            return dataclasses.replace(outcome, cancelled=outcome.cancelled or migration.abort_requested)
        return TransferOutcome(Verdict.UNDECIDED, f"{silence} {outcome.reason}")

    def _take_in(self, report: StepReport) -> None:
        """Keep the figures, and see that the source knows what its user wishes."""
        with session.writer() as db:
            migration = self._leased.owned(db)
            if report.progress is not None:
                migrations.update(db, migration.id, **counters(report.progress), **status_of(report.progress))
                instances.update(db, migration.instance_uuid, progress=report.progress.percent)
        self._tell(migration)

    def _tell(self, migration: models.Migration) -> None:
        """At each report: what a source's service has heard dies with it, and may have come before there was a transfer."""
        computes, context = self._leased.around.computes, self._leased.context(migration)
        try:
            if migration.abort_requested:
                source = migration.source_compute
                computes.abort_transfer(context, source, migration.uuid, ABORTED, source)
            if migration.force_complete_requested:
                computes.force_complete(context, migration.source_compute, migration.uuid)
        except rpc.UNANSWERED as error:
            LOG.warning("%s %s was not told what its user wishes: %s", label(migration), migration.source_compute, error)


def status_of(progress: TransferProgress) -> Columns:
    """What the migration shows once it goes on by post-copy."""
    return {"status": MigrationStatus.RUNNING_POST_COPY.value} if progress.post_copy else {}


def counters(progress: TransferProgress) -> Columns:
    """The columns of a transfer's figures."""
    return {
        "memory_total": progress.memory_total_bytes,
        "memory_processed": progress.memory_processed_bytes,
        "memory_remaining": progress.memory_remaining_bytes,
        "disk_total": progress.disk_total_bytes,
        "disk_processed": progress.disk_processed_bytes,
        "disk_remaining": progress.disk_remaining_bytes,
    }


def final_counters(migration: models.Migration, progress: TransferProgress) -> Columns:
    """The last figures that were read, or libvirt's own final ones where they say more (those lack the disks)."""
    last = counters(progress)
    final = {name: max(getattr(migration, name) or 0, value) for name, value in last.items()}
    return final | {"memory_remaining": 0, "disk_remaining": 0}
