"""After the verdict: Nova's own methods record it, when everything that they need answers, and again until they have succeeded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import nova.context
from nova import exception, objects
from nova.compute import power_state, task_states
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.nova_driver.answers import Answers
from nova_blockmigrate.nova_driver.reporting import tell_why
from nova_blockmigrate.objects import PowerState, TransferOutcome, Verdict

LOG = log.getLogger(__name__)

AGAIN_S = 5.0
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
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
    """The manager's method for a guest that has moved."""
    recover: Callable[..., Any]
    """The manager's method for one that stayed."""

    @property
    def migration(self) -> Any:
        return self.migrate_data.migration


class Ending:
    """Brings Nova's records in line with where the guest is."""

    def __init__(self, host: str, manager: Any, answers: Answers) -> None:
        self._host, self._manager, self._answers = host, manager, answers

    def record(self, move: Move, outcome: TransferOutcome) -> None:
        """Blocks until Nova knows. A server that was deleted meanwhile needs no record."""
        work = self._arrived if outcome.verdict is Verdict.HANDED_OVER else self._stayed
        destination = move.destination if outcome.verdict is Verdict.HANDED_OVER else ""
        instance = move.instance
        while True:
            self._answers.wait_for(move.context, move.instance.uuid, destination)
            try:
                work(move, instance or self._fresh(move), outcome)
                return
            except exception.InstanceNotFound:
                LOG.warning("It was deleted while it was moved", instance=move.instance)
                self._end_deleted(move, outcome)
                return
            except Exception:  # whatever it is: the guest is where it is, and the record must come to say so
                LOG.exception("The end of a live migration could not be recorded; trying again", instance=move.instance)
            instance = None  # it may have been changed without having been saved
            concurrency.pause(AGAIN_S)

    # --- it has moved -----------------------------------------------------------------------------------------------

    def _arrived(self, move: Move, instance: Any, _outcome: TransferOutcome) -> None:
        if self._is_recorded_there(move):
            self._complete(move)
            return
        try:
            move.post(move.context, instance, move.destination, move.block_migration, move.migrate_data)
        except Exception:
            if not self._is_recorded_there(move):
                raise
            LOG.exception("The server is recorded on its destination; the rest is done now", instance=move.instance)
            self._complete(move)

    def _is_recorded_there(self, move: Move) -> bool:
        instance = objects.Instance.get_by_uuid(move.context, move.instance.uuid, expected_attrs=[])
        return bool(instance.host == move.destination)

    def _complete(self, move: Move) -> None:
        """What the manager does after the destination has recorded the server as its own. Repeatable."""
        instance = objects.Instance.get_by_uuid(move.context, move.instance.uuid, expected_attrs=ATTRIBUTES)
        if instance.task_state == task_states.MIGRATING:
            instance.task_state = None
            instance.save(expected_task_state=[task_states.MIGRATING])
        self._set_status(move, COMPLETED)
        self._manager._delete_allocation_after_move(move.context, instance, move.migration)

    # --- it stayed --------------------------------------------------------------------------------------------------

    def _stayed(self, move: Move, instance: Any, outcome: TransferOutcome) -> None:
        status = CANCELLED if outcome.cancelled else FAILED
        if self._fresh(move).task_state == task_states.MIGRATING:
            tell_why(move.context, self._host, instance, outcome.reason)
            move.recover(move.context, instance, move.destination, migrate_data=move.migrate_data, migration_status=status)
        self._set_status(move, status)
        if outcome.power_state in (PowerState.SHUTDOWN, PowerState.CRASHED):
            # Nova looked away while it was migrating. In a request of its own: an action is found by its request
            context = nova.context.get_admin_context()
            stopped = objects.Instance.get_by_uuid(context, move.instance.uuid, expected_attrs=ATTRIBUTES)
            self._manager._sync_instance_power_state(context, stopped, power_state.SHUTDOWN)

    def _end_deleted(self, move: Move, outcome: TransferOutcome) -> None:
        """What Nova leaves of the migration of a server that was deleted in it. The destination clears up by itself."""
        try:
            self._manager._delete_allocation_after_move(move.context, move.instance, move.migration)
            with contextlib.suppress(exception.MigrationNotFound):  # Nova deletes it with its server
                self._set_status(move, COMPLETED if outcome.verdict is Verdict.HANDED_OVER else FAILED)
        except Exception:  # nobody else would try: the server is gone
            LOG.exception("The migration of a server that was deleted could not be ended", instance=move.instance)

    # --- both -------------------------------------------------------------------------------------------------------

    def _fresh(self, move: Move) -> Any:
        """The instance as the database has it now."""
        return objects.Instance.get_by_uuid(move.context, move.instance.uuid, expected_attrs=ATTRIBUTES)

    @staticmethod
    def _set_status(move: Move, status: str) -> None:
        migration = objects.Migration.get_by_uuid(move.context, move.migration.uuid)
        if migration.status != status:
            migration.status = status
            migration.save()
