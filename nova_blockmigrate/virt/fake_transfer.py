"""How a fake guest moves: copying over time, abort, power-off, broken destinations, and the handover.

A transfer goes on in the cloud while nobody watches; a second call re-attaches and takes over from the first. Waits are on
the cloud's condition, so that whatever changes the world (a hook, an abort) is seen at once.
"""

from __future__ import annotations

import dataclasses

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    MigrationPlan,
    PowerState,
    TransferOutcome,
    TransferProgress,
    Verdict,
)
from nova_blockmigrate.virt.driver import TransferControl
from nova_blockmigrate.virt.fake_cloud import FakeCloud, FakeCopy, FakeTransfer

POINT = "live_migration"
HANDOVER = "handover"
MIB = 1024**2


def run(
    cloud: FakeCloud, conf: cfg.ConfigOpts, plan: MigrationPlan, guest: GuestDescription, control: TransferControl
) -> TransferOutcome:
    """The driver's `live_migration` on the source."""
    return _Run(cloud, conf, plan, guest, control).to_the_end()


class _Run:
    """One call: watches one transfer."""

    def __init__(
        self, cloud: FakeCloud, conf: cfg.ConfigOpts, plan: MigrationPlan, guest: GuestDescription, control: TransferControl
    ) -> None:
        self.cloud, self.plan, self.guest, self.control = cloud, plan, guest, control
        self.total_s: float = conf.fake.transfer_time_s
        self.poll_s: float = conf.libvirt.live_migration_poll_interval
        self.uuid = plan.server.uuid
        self.source = cloud.host(plan.source_host)
        self.destination = cloud.host(plan.destination_host)
        self.hurried = False
        """The transfer is to end now."""

    def to_the_end(self) -> TransferOutcome:
        self.control.on_abort(self._wake)
        self.control.on_force_complete(self._hurry)
        with self.cloud.changed:
            self.source.require_up()
            transfer = self._attach()
            outcome = transfer.outcome or self._copy(transfer) or self._hand_over(transfer)
            if transfer.watcher is self and outcome.verdict is not Verdict.UNDECIDED:
                transfer.outcome = outcome
            return outcome

    def _hurry(self) -> None:
        self.hurried = True
        self._wake()

    def _wake(self) -> None:
        with self.cloud.changed:
            self.cloud.changed.notify_all()

    # --- beginning --------------------------------------------------------------------------------------------------

    def _attach(self) -> FakeTransfer:
        """The transfer of this migration, begun if it is not there yet; this call watches it from now on."""
        key = self.plan.migration_uuid
        transfer = self.cloud.transfers.get(key)
        if transfer is None:
            transfer = FakeTransfer(self.plan.source_host, self.plan.destination_host, self.total_s, watched_at=self.cloud.clock())
            transfer.outcome = self._begin()
            self.cloud.transfers[key] = transfer
        transfer.watcher = self
        self.cloud.changed.notify_all()
        return transfer

    def _begin(self) -> TransferOutcome | None:
        """Start the copying; an outcome when that is refused."""
        if not self.plan.block_migration and any(disk.is_copied for disk in self.guest.disks):
            return self._stayed("the guest has local disks, and copying them was not asked for")
        if not self.cloud.disks_of(self.destination, self.uuid):
            return self._stayed(f"{self.destination.name} is not prepared: the disk files do not exist there")
        if reason := self._broken():
            return self._stayed(reason)
        copy = self.source.copies.get(self.uuid)
        if copy is None or copy.state not in (Copy.RUNNING, Copy.PAUSED_BY_USER):
            return self._stayed(f"the guest does not run on {self.source.name} ({self.source.state_of(self.uuid)})")
        self.control.mark("transfer_started")
        if copy.state is Copy.RUNNING:
            self.cloud.set_state(self.source, self.uuid, Copy.RUNNING_JOB)
        self.cloud.add_copy(self.destination, FakeCopy(self.plan.server, Copy.INCOMING, volumes=dict(copy.volumes)))
        return None

    # --- copying ----------------------------------------------------------------------------------------------------

    def _copy(self, transfer: FakeTransfer) -> TransferOutcome | None:
        """Watch until everything is copied; an outcome when it will not be."""
        while transfer.elapsed_s < transfer.total_s and not self.hurried:
            if outcome := self._interrupted(transfer):
                return outcome
            self._advance(transfer)
            self.control.report(self._progress(transfer))
            self.cloud.changed.wait(self._pause_s(transfer))
        return self._interrupted(transfer)

    def _interrupted(self, transfer: FakeTransfer) -> TransferOutcome | None:
        if transfer.watcher is not self:
            return TransferOutcome(Verdict.UNDECIDED, reason="another call watches this transfer now")
        if not self.source.up:
            return TransferOutcome(Verdict.UNDECIDED, reason=f"the hypervisor of {self.source.name} does not answer")
        if self.source.state_of(self.uuid) is Copy.SHUT_OFF:
            return self._stayed("the guest was shut down while it was copied")
        if self.source.state_of(self.uuid) is Copy.CRASHED:
            return self._stayed("the guest crashed while it was copied")
        if self.control.abort_requested:
            return dataclasses.replace(self._stayed(self.control.abort_reason or "aborted"), cancelled=True)
        if reason := self._broken():
            return self._stayed(reason)
        return None

    def _broken(self) -> str:
        if not self.destination.up:
            return f"unable to reach the hypervisor of {self.destination.name}"
        return self.destination.fault(POINT) or self.source.fault(POINT)

    def _advance(self, transfer: FakeTransfer) -> None:
        now = self.cloud.clock()
        limit_s = transfer.total_s * self._held_at()
        elapsed_s = transfer.elapsed_s + now - transfer.watched_at
        transfer.elapsed_s = max(transfer.elapsed_s, min(elapsed_s, limit_s))
        transfer.watched_at = now
        if POINT in self.source.held and transfer.elapsed_s >= limit_s and POINT not in self.source.reached:
            self.source.reached.add(POINT)
            self.cloud.changed.notify_all()

    def _held_at(self) -> float:
        """Up to what share of the work copying may go on."""
        return min(1.0, self.source.held.get(POINT, 1.0))

    def _pause_s(self, transfer: FakeTransfer) -> float:
        left_s = transfer.total_s - transfer.elapsed_s
        return min(self.poll_s, left_s) if left_s > 0 else 0

    def _progress(self, transfer: FakeTransfer) -> TransferProgress:
        share = min(1.0, transfer.elapsed_s / transfer.total_s) if transfer.total_s > 0 else 1.0
        memory, disk = self.guest.memory_mib * MIB, self.guest.allocated_bytes
        memory_done, disk_done = int(memory * share), int(disk * share)
        return TransferProgress(memory, memory_done, memory - memory_done, disk, disk_done, disk - disk_done, 1, transfer.elapsed_s)

    # --- the end ----------------------------------------------------------------------------------------------------

    def _hand_over(self, transfer: FakeTransfer) -> TransferOutcome:
        """Everything is copied: switch. The lock is held throughout, except while a test holds the point."""
        was = self.source.copies[self.uuid].state
        paused_at = self.cloud.clock()
        self.control.mark("source_paused")
        if was is Copy.RUNNING_JOB:
            self.cloud.set_state(self.source, self.uuid, Copy.PAUSED_MIGRATION)
        self._carry_over()
        self.source.come_to(HANDOVER)
        if outcome := self._interrupted(transfer):
            return outcome
        if reason := self.source.fault(HANDOVER) or self.destination.fault(HANDOVER):
            return self._stayed(reason)
        self._switch(Copy.PAUSED_BY_USER if was is Copy.PAUSED_BY_USER else Copy.RUNNING)
        self.control.report(self._progress(transfer))
        return TransferOutcome(
            Verdict.HANDED_OVER,
            progress=self._progress(transfer),
            paused_ms=(self.cloud.clock() - paused_at) * 1000,
            power_state=self.destination.copies[self.uuid].power_state,
        )

    def _carry_over(self) -> None:
        """Give the destination the memory and the disks of the (now paused) source, and complete its copy."""
        self.destination.copies[self.uuid].memory = self.source.copies[self.uuid].memory
        content = self.cloud.disks_of(self.source, self.uuid)
        for disk, original in zip(self.cloud.disks_of(self.destination, self.uuid), content, strict=True):
            disk.content = original.content
        self.cloud.set_state(self.destination, self.uuid, Copy.PAUSED_COMPLETE)
        self.control.mark("destination_complete")

    def _switch(self, state: Copy) -> None:
        self.control.journal.mark("fencing")
        self.cloud.set_state(self.source, self.uuid, Copy.MIGRATED_AWAY)
        self.control.journal.mark("fenced")
        self.control.mark("fenced")
        self.cloud.set_state(self.destination, self.uuid, state)
        self.control.mark("resumed")

    def _stayed(self, reason: str) -> TransferOutcome:
        """End the transfer with the guest on the source; the destination's copy dies if its host can be reached."""
        copy = self.source.copies.get(self.uuid)
        if copy is None:
            raise exceptions.GuestNotFound(name=self.plan.server.domain_name, host=self.source.name)
        if self.destination.up and self.uuid in self.destination.copies:
            self.cloud.remove_copy(self.destination, self.uuid)
        if copy.state in (Copy.RUNNING_JOB, Copy.PAUSED_MIGRATION):
            self.cloud.set_state(self.source, self.uuid, Copy.RUNNING)
        power_state = PowerState.NOSTATE if copy.state is Copy.MIGRATED_AWAY else copy.power_state
        return TransferOutcome(Verdict.STAYED, reason=reason, power_state=power_state)
