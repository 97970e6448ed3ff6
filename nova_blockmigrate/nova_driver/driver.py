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
import types
from collections.abc import Callable, Iterator
from typing import Any

import nova.conf
import nova.context
from nova import exception, monkey_patch, objects, version
from nova.compute import task_states
from nova.virt.libvirt import driver as nova_driver
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log

from nova_blockmigrate import breakpoints, concurrency
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.exceptions import BlockMigrateError
from nova_blockmigrate.image.manifest import Manifests
from nova_blockmigrate.nova_driver import describing, keeping, luggage, names, unbegun
from nova_blockmigrate.nova_driver.again import until_done
from nova_blockmigrate.nova_driver.answers import SILENT, Answers
from nova_blockmigrate.nova_driver.arrivals import Arrivals
from nova_blockmigrate.nova_driver.ending import Ending, Move
from nova_blockmigrate.nova_driver.leaving import Leaving
from nova_blockmigrate.nova_driver.reporting import saving_progress
from nova_blockmigrate.nova_driver.standing import CANCELLED, COMPLETED, Next, is_its_sources, next_step
from nova_blockmigrate.nova_driver.transfers import Task, Transfers, settings_of
from nova_blockmigrate.objects import Copy, MigrationPlan, Observation, PreparedDestination, TransferOutcome, Verdict
from nova_blockmigrate.virt.libvirt import host as our_host
from nova_blockmigrate.virt.libvirt import observe
from nova_blockmigrate.virt.libvirt.guest import Guest

LOG = log.getLogger(__name__)
CONF = nova.conf.CONF

FOLDER = "blockmigrate"
"""Below Nova's `state_path`."""


class LibvirtDriver(nova_driver.LibvirtDriver):
    """`compute_driver = blockmigrate.LibvirtDriver`"""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        names.refuse_unknown_version(version.version_string())  # before anything that another one may not have
        self._events: queue.SimpleQueue[Any] | None = None if monkey_patch.is_patched() else queue.SimpleQueue()
        super().__init__(virtapi, read_only)
        self._manager: Any = getattr(virtapi, "_compute", None)
        names.refuse_unknown_nova(LibvirtDriver.__base__, self._manager, self._host)

    def init_host(self, host: str) -> None:
        self._keep_event_loop_free()
        super().init_host(host)
        concurrency.follow(patched=monkey_patch.is_patched())
        breakpoints.set_up(os.environ.get(breakpoints.ENVIRONMENT_VARIABLE))
        our_host.share_event_loop()  # Nova runs it
        self._set_up(host, os.path.join(CONF.state_path, FOLDER))
        self._watch_arrivals()

    def _set_up(self, host: str, folder: str) -> None:
        """`folder` is for our records."""
        self._here = host
        self._own = our_host.Host(self._uri(), host)
        self._manifests = Manifests(os.path.join(folder, "manifests"))
        self._manifests.prune()
        self._answers = Answers(host, self._can_send)
        self._transfers = Transfers(self._own, settings_of(CONF.libvirt), Records(_made(folder, "transfers")))
        self._arrivals = Arrivals(self._own, Records(_made(folder, "arrivals")))
        self._leaving = Leaving(host, self._transfers, self._remove_left, self._live_migration_uri)
        self._ending = Ending(host, self._manager, self._answers)
        self._unbegun = unbegun.Unbegun(_made(folder, "unbegun"), host)

    def _watch_arrivals(self) -> None:
        concurrency.spawn("blockmigrate-arrivals", self._arrivals.watch, self._answers.end_of)

    def _can_send(self, context: Any, rpc_version: str) -> bool:
        """Whether all compute services take a version of their RPC."""
        return bool(self._manager.compute_rpcapi.router.client(context).can_send_version(rpc_version))

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
        if "filename" in checked:
            checked.filename = luggage.addressed(checked.filename, CONF.libvirt.live_migration_inbound_addr or CONF.host)
        return checked

    def get_instance_disk_info(self, instance: Any, block_device_info: Any = None) -> str:
        disk_info: str = super().get_instance_disk_info(instance, block_device_info)
        if instance.task_state != task_states.MIGRATING:
            return disk_info
        with _words_for_users():
            return concurrency.run_native(luggage.pack, disk_info, self._manifests, self._here)

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
        source_bdms = getattr(post_method, "keywords", {}).get("source_bdms")
        move = Move(context, instance, dest, copies_disks, migrate_data, post_method, recover_method, source_bdms)
        plan = describing.plan(instance, move.migration, self._here, dest, copies_disks)
        with saving_progress(self._transfers, instance, move.migration, CONF.libvirt.live_migration_monitor_interval):
            task, outcome = self._transfer(move, plan)
        self._record(move, plan, task, outcome)
        self._unbegun.forget(instance.uuid)

    def _transfer(self, move: Move, plan: MigrationPlan) -> tuple[Task | None, TransferOutcome]:
        """Have Nova work out what to tell libvirt, and do that our way."""
        mover = _Mover(functools.partial(self._run, move, plan))
        try:
            mover.guest = guest = self._host.get_guest(move.instance)
            disks = self._live_migration_copy_disk_paths(move.context, move.instance, guest)[1] if move.block_migration else []
            self._live_migration_operation(
                move.context, move.instance, move.destination, move.block_migration, move.migrate_data, mover, disks
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
        resources = move.instance.resources if "resources" in move.instance else None
        kept = keeping.packed(move.context, move.migrate_data, move.source_bdms, resources, move.instance.flavor)
        mover.task = Task(plan, description, prepared, uri, flags, kept)
        mover.outcome = self._transfers.run(mover.task)

    def _record(self, move: Move, plan: MigrationPlan, task: Task | None, outcome: TransferOutcome, had_begun: bool = True) -> None:
        has_left = functools.partial(self._transfers.has_left, task) if task is not None else lambda: False
        is_there = self._ending.record(move, plan, outcome, had_begun, has_left)
        if task is not None and (outcome.verdict is Verdict.HANDED_OVER or not is_there):
            self._leaving.begin(task)
        elif task is not None:
            self._transfers.forget(task)

    def live_migration_abort(self, instance: Any) -> None:
        if not self._transfers.abort(instance.uuid, "the migration was aborted on request of its user"):
            super().live_migration_abort(instance)

    def live_migration_force_complete(self, instance: Any) -> None:
        if not self._transfers.force_complete(instance.uuid):
            super().live_migration_force_complete(instance)

    def cleanup(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        migrate_data: Any = None,
        destroy_vifs: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Of a guest that has just moved away, nothing is removed before its new home is recorded (see `leaving`). Who deletes a
        server has no data of a migration."""
        if self._transfers.knows(_migration_of(migrate_data)):
            return
        self._unbegun.forget(instance.uuid)
        super().cleanup(
            context, instance, network_info, block_device_info, destroy_disks, migrate_data, destroy_vifs, destroy_secrets
        )

    def _remove_left(self, task: Task, instance: Any) -> None:
        """See `leaving.Remove`."""
        context = nova.context.get_admin_context()
        migrate_data = keeping.unpacked(task.luggage, context)[0]
        keeping.put_back(task.luggage, instance, context)
        had = types.SimpleNamespace(old_resources=instance.resources)
        wanted, disks = self._manager._live_migration_cleanup_flags(migrate_data, had)
        if wanted:
            network_info = instance.get_network_info()
            super().cleanup(context, instance, network_info, None, disks, migrate_data, destroy_vifs=False)
        if instance.deleted:  # if it was deleted in mid-copy, its end looked like that of the guest, which is kept then
            Guest(self._own, task.plan.server.uuid, task.plan.server.domain_name).undefine()

    # --- restarted source -------------------------------------------------------------------------------------------

    def process_instances_at_startup(self, context: Any, instances: Any) -> Any:
        """Keep Nova from forgetting migrations: those that go on are taken up again, each in a thread of its own, and those that
        had not come to a transfer are ended."""
        instances = super().process_instances_at_startup(context, instances)
        tasks = self._transfers.remembered()
        for task in tasks:
            LOG.info("%s is taken up again", task.plan.label)
            work = functools.partial(self._go_on, task)
            concurrency.spawn("blockmigrate-again", until_done, task.plan.label, work)
        by_uuid = {each.uuid: each for each in instances}
        ours = {task.plan.server.uuid for task in tasks if self._is_ours(context, task, by_uuid.get(task.plan.server.uuid))}
        ours |= self._end_unbegun_of(context, [each for each in instances if each.uuid not in ours])
        return objects.InstanceList(context, objects=[each for each in instances if each.uuid not in ours])

    def _is_ours(self, context: Any, task: Task, instance: Any) -> bool:
        """Whether Nova must keep its hands off an instance of this host, as its guest may run elsewhere: it would start it here."""
        if instance is None or instance.task_state == task_states.DELETING:
            return False
        outcome = self._transfers.decided(task)
        try:
            now = self._answers.standing(context, instance.uuid, task.plan.migration_uuid)
        except Exception:  # whatever it is
            LOG.exception("%s is not left to Nova", task.plan.label)
            return True
        verdict = outcome.verdict if outcome is not None else Verdict.HANDED_OVER
        return next_step(task.plan, verdict, now) in (Next.RECORD, Next.CLAIM, Next.WAIT)

    def _go_on(self, task: Task) -> None:
        context = nova.context.get_admin_context()
        outcome = self._transfers.decided(task) or self._follow(context, task)  # (the guest may be standing: Nova can wait)
        self._answers.wait_for_this_service(context)
        try:
            migration = objects.Migration.get_by_uuid(context, task.plan.migration_uuid)
            move = keeping.move(context, self._manager, migration, *keeping.unpacked(task.luggage, context))
        except (exception.InstanceNotFound, exception.MigrationNotFound):
            LOG.warning("%s was deleted long ago", task.plan.label)
            self._leaving.begin(task)
            return
        self._record(move, task.plan, task, outcome)

    def _follow(self, context: Any, task: Task) -> TransferOutcome:
        """Go on with a transfer of which it is not known what became of it, if the guest is still this migration's."""
        plan = task.plan
        with contextlib.ExitStack() as meanwhile:
            try:
                now = self._answers.standing_if_known(context, plan.server.uuid, plan.migration_uuid)
                if now is not None and now.status == COMPLETED:  # (its outcome could not be kept: the disk was full)
                    return TransferOutcome(Verdict.HANDED_OVER)
                if now is not None and not is_its_sources(plan, now):
                    LOG.error("%s is not followed: its server is on %s now, task %s", plan.label, now.host, now.task_state)
                    return TransferOutcome(Verdict.STAYED, "the server was given another home or task while it was moved")
                if now is not None:
                    instance = objects.Instance.get_by_uuid(context, plan.server.uuid, expected_attrs=[])
                    migration = objects.Migration.get_by_uuid(context, plan.migration_uuid)
                    interval_s = CONF.libvirt.live_migration_monitor_interval
                    meanwhile.enter_context(saving_progress(self._transfers, instance, migration, interval_s))
            except (exception.InstanceNotFound, *SILENT):
                LOG.info("%s is followed without its records", plan.label)
            return self._transfers.go_on(task)

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
            work = functools.partial(self._end_unbegun, migration)
            concurrency.spawn("blockmigrate-unbegun", until_done, f"migration {migration.uuid}", work)
        return {migration.instance_uuid for migration in migrations}

    def _end_unbegun(self, migration: Any) -> None:
        context = nova.context.get_admin_context()
        try:
            seen = self._observe(migration.instance_uuid)
            self._answers.wait_for_this_service(context)
            move = self._unbegun.move(context, self._manager, migration)
        except exception.InstanceNotFound:
            self._unbegun.forget(migration.instance_uuid)
            return
        plan = describing.plan(move.instance, migration, self._here, move.destination, move.block_migration)
        cancelled = migration.status == CANCELLED
        outcome = TransferOutcome(Verdict.STAYED, unbegun.REASON, cancelled, power_state=seen.power_state)
        self._record(move, plan, None, outcome, had_begun=False)
        self._unbegun.forget(migration.instance_uuid)

    # --- destination ------------------------------------------------------------------------------------------------

    def pre_live_migration(
        self, context: Any, instance: Any, block_device_info: Any, network_info: Any, disk_info: str | None, migrate_data: Any
    ) -> Any:
        with self._arrivals.alone(instance.uuid):
            return self._pre_live_migration(context, instance, block_device_info, network_info, disk_info, migrate_data)

    def _pre_live_migration(
        self, context: Any, instance: Any, block_device_info: Any, network_info: Any, disk_info: str | None, migrate_data: Any
    ) -> Any:
        self._leaving.finish(instance.uuid)
        with _words_for_users():
            self._arrivals.clear_earlier(instance.uuid)
        address = luggage.source_address(migrate_data.filename) if "filename" in migrate_data else None
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

    def __init__(self, run: Callable[..., None]) -> None:
        self._run = run
        self.guest: Any = None
        self.task: Task | None = None
        self.outcome: TransferOutcome | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guest, name)

    def result(self) -> TransferOutcome:
        return self.outcome or TransferOutcome(Verdict.STAYED, "Nova did not come to the point of moving the guest")

    def migrate(self, destination: str, **given: Any) -> None:
        self._run(self, destination, given)
        if self.outcome is not None and self.outcome.verdict is not Verdict.HANDED_OVER:
            raise _Stayed(self.outcome)


def _migration_of(migrate_data: Any) -> str:
    """The uuid of the migration that Nova's data belong to; empty: there are none, or they do not say."""
    known = isinstance(migrate_data, objects.LibvirtLiveMigrateData) and "migration" in migrate_data
    return str(migrate_data.migration.uuid) if known else ""


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
