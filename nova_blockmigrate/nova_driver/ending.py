"""After the verdict: Nova's own methods record it, when everything that they need answers, and again until they have succeeded.

What is to be done is decided each time anew by what the database says (`standing`): while something was away, or this service,
others may have done it, or gone on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import nova.context
from nova import exception, objects
from nova.compute import power_state, task_states
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.nova_driver.answers import AWAY, Answers
from nova_blockmigrate.nova_driver.reporting import tell_why
from nova_blockmigrate.nova_driver.standing import CANCELLED, COMPLETED, FAILED, Next, Standing, next_step
from nova_blockmigrate.objects import MigrationPlan, PowerState, TransferOutcome, Verdict

LOG = log.getLogger(__name__)

AGAIN_S, LONGEST_PAUSE_S = 5.0, 60.0
PORTS_LIMIT_S = 600.0
"""How long Neutron may be away before a server that has moved is recorded with its ports as they are, as Nova would at once."""
ATTRIBUTES = ["info_cache", "metadata", "system_metadata", "numa_topology", "flavor", "pci_devices", "pci_requests", "resources"]


@dataclasses.dataclass(frozen=True)
class Move:
    """One live migration, with what Nova passes along for its end."""

    context: Any
    instance: Any
    destination: str
    block_migration: bool
    migrate_data: Any
    post: Callable[..., Any]
    """The manager's method for a guest that has moved. Whatever fails in it, the server is recorded on the destination then."""
    recover: Callable[..., Any]
    """The manager's method for one that stayed."""
    source_bdms: Any
    """The source's block device mappings."""

    @property
    def migration(self) -> Any:
        return self.migrate_data.migration


@dataclasses.dataclass(frozen=True)
class _Work:
    """What is recorded."""

    move: Move
    plan: MigrationPlan
    outcome: TransferOutcome
    had_begun: bool
    has_left: Callable[[], bool]
    """Whether libvirt on both hosts says, now, that the guest has moved."""
    give_ports_up_at: float

    @property
    def has_moved(self) -> bool:
        return self.outcome.verdict is Verdict.HANDED_OVER


class Ending:
    """Brings Nova's records in line with where the guest is."""

    def __init__(self, host: str, manager: Any, answers: Answers) -> None:
        self._host, self._manager, self._answers = host, manager, answers

    def record(
        self,
        move: Move,
        plan: MigrationPlan,
        outcome: TransferOutcome,
        had_begun: bool = True,
        has_left: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Blocks until Nova knows; whether the server is still there, not deleted meanwhile."""
        work = _Work(move, plan, outcome, had_begun, has_left, time.monotonic() + PORTS_LIMIT_S)
        instance, pause_s = move.instance, AGAIN_S
        while True:
            try:
                self._answers.wait_for(move.context, move.instance.uuid, move.destination if work.has_moved else "")
                now = self._answers.standing(move.context, move.instance.uuid, move.migration.uuid)
            except exception.InstanceNotFound:
                LOG.warning("It was deleted while it was moved", instance=move.instance)
                if self._end_deleted(work):
                    return False
            except Exception:  # whatever it is: as below
                LOG.exception("Nova's records of a live migration could not be read; trying again", instance=move.instance)
            else:
                if self._is_done(work, instance, now):
                    return True
            instance = None  # it may have been changed without having been saved
            concurrency.pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _is_done(self, work: _Work, instance: Any, now: Standing) -> bool:
        """Do what is to be done; whether that was all."""
        step = next_step(work.plan, work.outcome.verdict, now, work.had_begun)
        try:
            match step:
                case Next.RECORD:
                    (self._arrived if work.has_moved else self._stayed)(work, instance or self._fresh(work.move))
                case Next.CLAIM:
                    self._claim(work)
                    return False
                case Next.COMPLETE | Next.CLOSE:
                    self._close(work, now)
                case Next.WAIT:
                    LOG.warning("It is %s now: the end of its live migration waits", now.task_state, instance=work.move.instance)
                    return False
        except Exception:  # whatever it is: the guest is where it is, and the record must come to say so
            LOG.exception("The end of a live migration could not be recorded; trying again", instance=work.move.instance)
            return False
        return True

    def _claim(self, work: _Work) -> None:
        """Nova forgets a live migration when its source's service starts, or an operator resets the server; its methods refuse a
        server that is not migrating."""
        if work.has_moved and not work.has_left():
            return
        instance = self._fresh(work.move)
        instance.task_state = task_states.MIGRATING
        instance.save(expected_task_state=[None])

    def _close(self, work: _Work, now: Standing) -> None:
        """What belongs to the migration itself, however long ago it was. Repeatable."""
        self._set_status(work.move, COMPLETED if work.has_moved else _status(work.outcome), final=not work.has_moved)
        if not work.has_moved and now.is_newest and now.host == work.plan.source_host:
            self._give_back(work.move)
            return
        self._manager._delete_allocation_after_move(work.move.context, work.move.instance, work.move.migration)

    # --- it has moved -----------------------------------------------------------------------------------------------

    def _arrived(self, work: _Work, instance: Any) -> None:
        move = work.move
        if time.monotonic() < work.give_ports_up_at:
            try:
                # (`post` would record the server on the destination whatever fails, and then nobody would bind its ports there)
                self._manager._post_live_migration(
                    move.context, instance, move.destination, move.block_migration, move.migrate_data, source_bdms=move.source_bdms
                )
                return
            except AWAY:
                raise
            except Exception:  # the border to Nova's code, which raises what it likes: the guest is there, and must be recorded
                LOG.exception("What Nova does after a live migration failed; the server is recorded", instance=move.instance)
                instance = self._fresh(move)
        move.post(move.context, instance, move.destination, move.block_migration, move.migrate_data)

    # --- it stayed --------------------------------------------------------------------------------------------------

    def _stayed(self, work: _Work, instance: Any) -> None:
        move, outcome, status = work.move, work.outcome, _status(work.outcome)
        self._has_allocation(move)  # while placement is away nothing is begun: a roll back of Nova's asks it once, and goes on
        tell_why(move.context, self._host, instance, outcome.reason)
        move.recover(move.context, instance, move.destination, migrate_data=move.migrate_data, migration_status=status)
        self._set_status(move, status)
        if outcome.power_state in (PowerState.SHUTDOWN, PowerState.CRASHED):
            # Nova looked away while it was migrating. In a request of its own: an action is found by its request
            context = nova.context.get_admin_context()
            stopped = objects.Instance.get_by_uuid(context, move.instance.uuid, expected_attrs=ATTRIBUTES)
            self._manager._sync_instance_power_state(context, stopped, power_state.SHUTDOWN)
        self._give_back(move)

    def _has_allocation(self, move: Move) -> bool:
        """Whether the migration has something in placement: what its server had on this host.

        :raises Exception: placement does not answer.
        """
        kept = self._manager.reportclient.get_allocs_for_consumer(move.context, move.migration.uuid)
        return bool(kept["allocations"])

    def _give_back(self, move: Move) -> None:
        """What a roll back of Nova's could not give back to the server, as placement did not answer in that moment."""
        consumers = (move.migration.uuid, move.instance.uuid)
        if self._has_allocation(move) and not self._manager.reportclient.move_allocations(move.context, *consumers):
            raise exception.MigrationError(reason="placement did not give the server back what its migration had")

    def _end_deleted(self, work: _Work) -> bool:
        """What Nova leaves of the migration of a server that was deleted in it; whether that is done, as nobody else would. The
        destination clears up by itself."""
        move = work.move
        try:
            self._manager._delete_allocation_after_move(move.context, move.instance, move.migration)
            with contextlib.suppress(exception.MigrationNotFound):  # Nova deletes it with its server
                self._set_status(move, COMPLETED if work.has_moved else FAILED)
        except Exception:  # whatever it is: placement, the database or what is between
            LOG.exception("The migration of a server that was deleted could not be ended; trying again", instance=move.instance)
            return False
        return True

    # --- both -------------------------------------------------------------------------------------------------------

    def _fresh(self, move: Move) -> Any:
        """The instance as the database has it now."""
        return objects.Instance.get_by_uuid(move.context, move.instance.uuid, expected_attrs=ATTRIBUTES)

    @staticmethod
    def _set_status(move: Move, status: str, final: bool = False) -> None:
        """`final`: leave a status that ends it."""
        migration = objects.Migration.get_by_uuid(move.context, move.migration.uuid)
        if migration.status != status and not (final and migration.status in (COMPLETED, FAILED, CANCELLED)):
            migration.status = status
            migration.save()


def _status(outcome: TransferOutcome) -> str:
    return CANCELLED if outcome.cancelled else FAILED
