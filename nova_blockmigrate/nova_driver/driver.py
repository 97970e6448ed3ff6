"""Nova's libvirt driver, with live migrations by this package. Everything that is not overridden here is Nova's.

What comes from Nova is turned into values and handed on: to `transfers` on the source, to `arrivals` on the destination; what
they come to is recorded by `ending`. Reading top-down: loading, source, restarted source, destination.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import nova.conf
import nova.context
from nova import exception, monkey_patch, objects, version
from nova.compute import task_states
from nova.virt.libvirt import driver as nova_driver
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log

from nova_blockmigrate import concurrency
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.exceptions import BlockMigrateError
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.nova_driver import describing, keeping, luggage, needed, unbegun
from nova_blockmigrate.nova_driver.answers import SILENT, Answers
from nova_blockmigrate.nova_driver.arrivals import ARRIVED, DELETED, GONE, UNDER_WAY, Arrivals
from nova_blockmigrate.nova_driver.ending import ATTRIBUTES, CANCELLED, Ending, Move
from nova_blockmigrate.nova_driver.reporting import saving_progress
from nova_blockmigrate.nova_driver.transfers import Task, Transfers, settings_of
from nova_blockmigrate.objects import Copy, MigrationPlan, Observation, PreparedDestination, TransferOutcome, Verdict
from nova_blockmigrate.virt.libvirt import host as our_host
from nova_blockmigrate.virt.libvirt import observe

LOG = log.getLogger(__name__)
CONF = nova.conf.CONF

FOLDER = "blockmigrate"
"""Below Nova's `state_path`."""
CLEAN_AGAIN_S = 10.0
FINAL_STATUSES = ("completed", "failed", "cancelled", "error")


class LibvirtDriver(nova_driver.LibvirtDriver):
    """`compute_driver = blockmigrate.LibvirtDriver`"""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        self._events: queue.SimpleQueue[Any] | None = None if monkey_patch.is_patched() else queue.SimpleQueue()
        super().__init__(virtapi, read_only)
        self._manager: Any = getattr(virtapi, "_compute", None)
        _refuse_unknown_nova(type(self._manager))

    def init_host(self, host: str) -> None:
        self._keep_event_loop_free()
        super().init_host(host)
        concurrency.follow(patched=monkey_patch.is_patched())
        our_host.share_event_loop()  # Nova runs it
        self._set_up(host, os.path.join(CONF.state_path, FOLDER))
        self._watch_arrivals()

    def _set_up(self, host: str, folder: str) -> None:
        """`folder` is for our records."""
        self._here = host
        self._own = our_host.Host(self._uri(), host)
        self._manifests = Manifests(os.path.join(folder, "manifests"))
        self._manifests.prune()
        self._transfers = Transfers(self._own, settings_of(CONF.libvirt), Records(_made(folder, "transfers")))
        self._arrivals = Arrivals(self._own, Records(_made(folder, "arrivals")))
        self._answers = Answers(host)
        self._ending = Ending(host, self._manager, self._answers)
        self._unbegun = unbegun.Unbegun(_made(folder, "unbegun"), host)

    def _watch_arrivals(self) -> None:
        concurrency.spawn("blockmigrate-arrivals", self._arrivals.watch, functools.partial(_end_of, self._here))

    def _keep_event_loop_free(self) -> None:
        """On native threads Nova 34 handles guests' events in the thread of libvirt's event loop, with calls to the conductor. When
        that is away, nothing keeps the connections to libvirt alive, neither Nova's nor ours; and when Nova finds its connection
        closed, it waits for ever for a lock that the same thread holds."""
        self._host._wrapped_conn_lock = threading.RLock()
        if self._events is not None:
            concurrency.spawn("blockmigrate-events", self._dispatch, self._events)

    def _dispatch(self, events: queue.SimpleQueue[Any]) -> None:
        while True:
            super().emit_event(events.get())  # it lets no exception out

    def emit_event(self, event: Any) -> None:
        if self._events is None:
            super().emit_event(event)
        else:
            self._events.put(event)

    # --- source -----------------------------------------------------------------------------------------------------

    def check_can_live_migrate_source(
        self, context: Any, instance: Any, dest_check_data: Any, block_device_info: Any = None
    ) -> Any:
        checked = super().check_can_live_migrate_source(context, instance, dest_check_data, block_device_info)
        self._unbegun.expect(context, instance, checked, bool((block_device_info or {}).get("block_device_mapping")))
        return checked

    def get_instance_disk_info(self, instance: Any, block_device_info: Any = None) -> str:
        disk_info: str = super().get_instance_disk_info(instance, block_device_info)
        if instance.task_state != task_states.MIGRATING:
            return disk_info
        address = CONF.libvirt.live_migration_inbound_addr or CONF.host
        with _words_for_users():
            return concurrency.run_native(luggage.pack, disk_info, self._manifests, self._here, address)

    def _live_migration(
        self,
        context: Any,
        instance: Any,
        dest: str,
        post_method: Callable[..., Any],
        recover_method: Callable[..., Any],
        block_migration: bool,
        migrate_data: Any,
    ) -> None:
        """Move a guest, and have Nova record where it is. Raises nothing: whatever happens is recorded, not guessed at."""
        # `block_migration` is what the user asked for, None for "auto"; what was found out is in migrate_data
        copies_disks = bool(migrate_data.block_migration)
        move = Move(context, instance, dest, copies_disks, migrate_data, post_method, recover_method)
        migration = migrate_data.migration
        with saving_progress(self._transfers, instance, migration, CONF.libvirt.live_migration_monitor_interval):
            task, outcome = self._transfer(move)
        self._record(move, task, outcome)

    def _transfer(self, move: Move) -> tuple[Task | None, TransferOutcome]:
        """Have Nova work out what to tell libvirt, and do that our way."""
        guest = self._host.get_guest(move.instance)
        plan = describing.plan(move.instance, move.migration, self._here, move.destination, move.block_migration)
        mover = _Mover(guest, functools.partial(self._run, move, plan))
        try:
            names = self._live_migration_copy_disk_paths(move.context, move.instance, guest)[1] if move.block_migration else []
            self._live_migration_operation(
                move.context, move.instance, move.destination, move.block_migration, move.migrate_data, mover, names
            )
        except _Stayed as stayed:
            return mover.task, stayed.outcome
        except Exception as error:  # whatever it is: once the guest may have moved it does not mean that it stayed
            LOG.exception("Around a live migration", instance=move.instance)
            return mover.task, mover.outcome or TransferOutcome(Verdict.STAYED, str(error))
        return mover.task, mover.result()

    def _run(self, move: Move, plan: MigrationPlan, mover: _Mover, uri: str, given: dict[str, Any]) -> None:
        """In place of libvirt's `migrateToURI3`."""
        domain = self._own.domain(move.instance.uuid, move.instance.name)
        description = concurrency.run_native(describing.describe, domain, tuple(given["migrate_disks"] or ()))
        prepared = PreparedDestination(
            libvirt_host=move.destination,
            transfer_address=(given["migrate_uri"] or "").removeprefix("tcp://"),
            copied_disks=tuple(given["migrate_disks"] or ()),
            destination_xml=given["destination_xml"] or "",
        )
        flags = describing.flags(given["flags"], bool(prepared.copied_disks))
        bdms = move.post.keywords["source_bdms"]  # type: ignore[attr-defined]
        mover.task = Task(plan, description, prepared, uri, flags, keeping.packed(move.context, move.migrate_data, bdms))
        mover.outcome = self._transfers.run(mover.task)

    def _record(self, move: Move, task: Task | None, outcome: TransferOutcome) -> None:
        self._ending.record(move, outcome)
        if task is not None and outcome.verdict is Verdict.HANDED_OVER:
            concurrency.spawn("blockmigrate-clean", self._clean_source, move, task)
        elif task is not None:
            self._transfers.forget(task)
        self._unbegun.forget(move.instance.uuid)

    def live_migration_abort(self, instance: Any) -> None:
        if not self._transfers.abort(instance.uuid, "the migration was aborted on request of its user"):
            super().live_migration_abort(instance)

    def live_migration_force_complete(self, instance: Any) -> None:
        if not self._transfers.force_complete(instance.uuid):
            super().live_migration_force_complete(instance)

    def cleanup(self, context: Any, instance: Any, *arguments: Any, **more: Any) -> None:
        """Of a guest that has just moved away, nothing is removed before its new home is recorded: see `_clean_source`."""
        if not self._transfers.is_running(instance.uuid):
            self._unbegun.forget(instance.uuid)
            super().cleanup(context, instance, *arguments, **more)

    def _clean_source(self, move: Move, task: Task) -> None:
        """Delete what a guest left here; in a thread of its own, as the proof that it may be deleted can take long."""
        while not self._transfers.has_left(task) and not _is_deleted(move):
            concurrency.pause(CLEAN_AGAIN_S)
        try:
            instance = objects.Instance.get_by_uuid(nova.context.get_admin_context("yes"), move.instance.uuid, ATTRIBUTES)
            wanted, disks = self._manager._live_migration_cleanup_flags(move.migrate_data)
            if wanted:
                network_info = instance.get_network_info()
                super().cleanup(
                    move.context, instance, network_info, destroy_disks=disks, migrate_data=move.migrate_data, destroy_vifs=False
                )
        except Exception:  # it is tried again when this service starts the next time
            LOG.exception("What it left on its source could not be removed", instance=move.instance)
            return
        self._transfers.forget(task)

    # --- restarted source -------------------------------------------------------------------------------------------

    def process_instances_at_startup(self, context: Any, instances: Any) -> Any:
        """Keep Nova from forgetting migrations: those that go on are taken up again, each in a thread of its own, and those that
        had not come to a transfer are ended."""
        instances = super().process_instances_at_startup(context, instances)
        tasks = self._transfers.remembered()
        for task in tasks:
            LOG.info("%s is taken up again", task.plan.label)
            concurrency.spawn("blockmigrate-again", self._go_on, task)
        ours = {task.plan.server.uuid for task in tasks}
        ours |= self._end_unbegun_of(context, [each for each in instances if each.uuid not in ours])
        return objects.InstanceList(context, objects=[each for each in instances if each.uuid not in ours])

    def _go_on(self, task: Task) -> None:
        try:
            outcome = self._transfers.go_on(task)  # (the guest may be standing: Nova can wait)
            context = nova.context.get_admin_context()
            self._answers.wait_for_this_service(context)
            migration = objects.Migration.get_by_uuid(context, task.plan.migration_uuid)
            move = keeping.move(context, self._manager, migration, *keeping.unpacked(task.luggage, context))
            self._record(move, task, outcome)
        except exception.InstanceNotFound:
            LOG.warning("%s was deleted meanwhile", task.plan.label)
            self._transfers.forget(task)
        except Exception:  # the border of a thread
            LOG.exception("%s could not be ended; it is tried again when this service starts the next time", task.plan.label)

    def _is_moving(self, instance: Any) -> bool:
        """Whether libvirt moves a guest of this host, or cannot say that it does not."""
        return self._observe(instance.uuid).copy not in (Copy.RUNNING, Copy.PAUSED_BY_USER, Copy.SHUT_OFF, Copy.CRASHED)

    def _observe(self, server_uuid: str) -> Observation:
        """What libvirt says of a guest that may be about to leave."""
        return concurrency.run_native(observe.observe, self._own, server_uuid, False)

    def _end_unbegun_of(self, context: Any, instances: list[Any]) -> set[str]:
        """Which of these instances are looked after."""
        try:
            migrations = self._unbegun.migrations(context, instances, self._is_moving)
        except Exception:  # no reason not to start: Nova does with them what it would have done
            LOG.exception("It could not be found out which live migrations had not begun")
            return set()
        for migration in migrations:
            LOG.info("Migration %s had not begun: it is ended", migration.uuid)
            concurrency.spawn("blockmigrate-unbegun", self._end_unbegun, migration)
        return {migration.instance_uuid for migration in migrations}

    def _end_unbegun(self, migration: Any) -> None:
        context = nova.context.get_admin_context()
        try:
            seen = self._observe(migration.instance_uuid)
            self._answers.wait_for_this_service(context)
            move = self._unbegun.move(context, self._manager, migration)
            cancelled = migration.status == CANCELLED
            self._record(move, None, TransferOutcome(Verdict.STAYED, unbegun.REASON, cancelled, power_state=seen.power_state))
        except exception.InstanceNotFound:
            self._unbegun.forget(migration.instance_uuid)
        except Exception:  # the border of a thread
            LOG.exception("Migration %s could not be ended; it is tried again at the next start", migration.uuid)

    # --- destination ------------------------------------------------------------------------------------------------

    def pre_live_migration(
        self, context: Any, instance: Any, block_device_info: Any, network_info: Any, disk_info: str | None, migrate_data: Any
    ) -> Any:
        with self._arrivals.alone(instance.uuid):
            return self._pre_live_migration(context, instance, block_device_info, network_info, disk_info, migrate_data)

    def _pre_live_migration(
        self, context: Any, instance: Any, block_device_info: Any, network_info: Any, disk_info: str | None, migrate_data: Any
    ) -> Any:
        address = luggage.source_address(disk_info)
        if migrate_data.is_shared_instance_path:
            directory = libvirt_utils.get_instance_path(instance)
        else:
            directory = libvirt_utils.get_instance_path_at_destination(instance, migrate_data)
        if address is not None:  # a source with another driver makes the switch as that does
            migration = objects.Migration.get_by_instance_and_status(context, instance.uuid, "preparing")
            plan = describing.plan(instance, migration, instance.host, self._here, bool(migrate_data.block_migration))
            guest = describing.on_its_way(instance)
            self._arrivals.expect(plan, guest, self._live_migration_uri(address), directory)
        prepared = super().pre_live_migration(context, instance, block_device_info, network_info, disk_info, migrate_data)
        if not migrate_data.is_shared_instance_path:
            with _words_for_users():
                concurrency.run_native(luggage.unpack, disk_info, directory, self._manifests, self._here)
        return prepared

    def rollback_live_migration_at_destination(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any,
        destroy_disks: bool = True,
        migrate_data: Any = None,
    ) -> None:
        with self._arrivals.alone(instance.uuid):
            self._arrivals.refuse_the_only_copy(instance.uuid)
            super().rollback_live_migration_at_destination(
                context, instance, network_info, block_device_info, destroy_disks, migrate_data
            )
            self._arrivals.forget(instance.uuid)

    def post_live_migration_at_destination(
        self, context: Any, instance: Any, network_info: Any, block_migration: bool = False, block_device_info: Any = None
    ) -> None:
        super().post_live_migration_at_destination(context, instance, network_info, block_migration, block_device_info)
        self._arrivals.landed(instance.uuid)


class _Stayed(Exception):
    """Tells Nova's code around the transfer that the guest has not moved."""

    def __init__(self, outcome: TransferOutcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Mover:
    """Nova's guest object, but that `migrate` is ours: Nova works out what to say to libvirt, and we do it."""

    def __init__(self, guest: Any, run: Callable[..., None]) -> None:
        self._guest, self._run = guest, run
        self.task: Task | None = None
        self.outcome: TransferOutcome | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guest, name)

    def result(self) -> TransferOutcome:
        return self.outcome or TransferOutcome(Verdict.STAYED, "Nova did not come to the point of moving the guest")

    def migrate(self, destination: str, **given: Any) -> None:
        self._run(self, destination, given)
        if self.outcome is not None and self.outcome.verdict is not Verdict.HANDED_OVER:
            raise _Stayed(self.outcome)


def _refuse_unknown_nova(manager: type) -> None:
    """
    :raises InvalidConfiguration: this Nova is not one that is known here.
    """
    found = needed.problem_of_version(version.version_string())
    wrong = needed.problems(LibvirtDriver.__base__, needed.DRIVER) + needed.problems(manager, needed.MANAGER)
    if found or wrong:
        raise exception.InvalidConfiguration(
            f"blockmigrate.LibvirtDriver: {found or 'Nova is not as it should be: ' + '; '.join(wrong)}"
        )


@contextlib.contextmanager
def _words_for_users() -> Iterator[None]:
    """Turn our errors in the body into one of Nova's: of others it shows the name of the class only."""
    try:
        yield
    except BlockMigrateError as error:
        raise exception.MigrationError(reason=str(error)) from error


def _made(*parts: str) -> pathlib.Path:
    path = pathlib.Path(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _is_deleted(move: Move) -> bool:
    try:
        instance = objects.Instance.get_by_uuid(nova.context.get_admin_context("yes"), move.instance.uuid, [])
    except exception.InstanceNotFound:
        return True
    except SILENT:
        return False
    return bool(instance.deleted)


def _end_of(here: str, plan: MigrationPlan) -> str | None:
    """See `arrivals.EndOf`. `here` is this host."""
    context = nova.context.get_admin_context("yes")
    try:
        instance = objects.Instance.get_by_uuid(context, plan.server.uuid, expected_attrs=[])
        if instance.deleted:
            return DELETED
        migration = objects.Migration.get_by_uuid(context, plan.migration_uuid)
    except (exception.InstanceNotFound, exception.MigrationNotFound):
        return GONE
    except SILENT:
        return None
    if migration.status not in FINAL_STATUSES:
        return UNDER_WAY
    return ARRIVED if instance.host == here else GONE
