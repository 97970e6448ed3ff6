"""A host's part in a migration: one method a job, each idempotent, each answering with a primitive.

Which job comes when is the conductor's business (`conductor.steps`); what it does to the hypervisor is the driver's.
This module adds what lies between: records on disk, claims, and the way to the other host for a missing base image.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import breakpoints, concurrency, exceptions, rpc
from nova_blockmigrate.compute import checks, claims
from nova_blockmigrate.compute.conductors import Conductors
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.ports import BelongingsOnly, Ports
from nova_blockmigrate.compute.preparations import Preparation, Preparations
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.compute.transfers import TransferControl
from nova_blockmigrate.compute.watcher import GUEST, ArrivalWatcher
from nova_blockmigrate.context import RequestContext
from nova_blockmigrate.objects import (
    Copy,
    GuestDescription,
    MigrationPlan,
    PowerState,
    PreparedDestination,
    TransferOutcome,
    TransferProgress,
    Verdict,
    from_primitive,
    to_primitive,
)
from nova_blockmigrate.virt.driver import TRANSFER, ComputeDriver

LOG = log.getLogger(__name__)

SOURCE = "source"
DESTINATION = "destination"
DISK_BYTES = "disk_bytes"
FETCH_ATTEMPTS = 3
"""How often a base is asked for whose copying is cut off; each try goes on where the one before ended."""
_GONE = {Copy.ABSENT, Copy.MIGRATED_AWAY, Copy.SHUT_OFF, Copy.CRASHED}
Primitive = dict[str, Any]


class MigrationJobs:
    """The jobs of migrations on this host, by name (see `conductor.steps`)."""

    NAMES = frozenset(
        {
            "check_source",
            "check_host",
            "check_destination",
            "check_route",
            "measure_load",
            "prepare_destination",
            "release_destination",
            "transfer",
            "release_source",
            "complete_arrival",
            "finish_destination",
            "clean_source",
        }
    )

    def __init__(
        self, conf: cfg.ConfigOpts, host: str, driver: ComputeDriver, records: Records, peers: ComputeAPI, ports: Ports
    ) -> None:
        self._conf = conf
        self._host = host
        self._driver = driver
        self._records = records
        self._peers = peers
        self._ports = ports
        self._controls: dict[str, TransferControl] = {}
        self._claiming = threading.Lock()
        self._preparations = Preparations()
        self._writes_lost: dict[str, exceptions.WritesLost] = {}
        """By migration: of guests that came, and whose disks are not known to be whole. A person restarts the service then."""
        self.watcher = ArrivalWatcher(driver, records, Conductors(conf, host).say_it_goes_on)

    def run(self, context: RequestContext, job: str, plan: MigrationPlan, arguments: Primitive) -> Any:
        """Do `job`; its result as a primitive."""
        if job not in self.NAMES:
            raise exceptions.Invalid(
                f"Compute service of {self._host} does not know the job {job!r}: is it older than the conductor?"
            )
        breakpoints.reached(f"{job}.begin")
        answer = getattr(self, job)(context, plan, **arguments)
        breakpoints.reached(f"{job}.end")
        return answer

    # --- checks -----------------------------------------------------------------------------------------------------

    def check_source(self, context: RequestContext, plan: MigrationPlan) -> Primitive:
        """{"guest": GuestDescription, or None when its disks cannot be read, "guest_survey": GuestSurvey, "resources":
        HostResources, "survey": HostSurvey}"""
        answer: Primitive = concurrency.run_native(checks.look_at_source, self._driver, plan)
        return answer

    def check_host(self, context: RequestContext, plan: MigrationPlan) -> Primitive:
        """The destination by itself: {"resources": HostResources, "survey": HostSurvey, "claimed_memory_mib": of guests on
        their way here, "known_migrations": uuids of those that have a claim here}"""
        answer: Primitive = concurrency.run_native(checks.look_at_host, self._driver)
        answer["claimed_memory_mib"] = sum(other.server.memory_mib for other in self._coming(plan))
        answer["known_migrations"] = [other.migration_uuid for other in self._records.plans(DESTINATION)]
        return answer

    def check_destination(self, context: RequestContext, plan: MigrationPlan, guest: Primitive) -> Primitive:
        """What the guest would find here: {"reception": Reception}"""
        description = from_primitive(GuestDescription, guest)
        server = self._ports.unbound(plan.server)
        found = concurrency.run_native(self._driver.check_can_live_migrate_destination, server, description)
        return {"reception": to_primitive(found)}

    def check_route(self, context: RequestContext, plan: MigrationPlan, address: str, port: int) -> Primitive:
        """The way from here to the destination, which listens at `address` and `port`: {"route": Route}"""
        return {"route": to_primitive(concurrency.run_native(self._driver.survey_route, plan.destination_host, address, port))}

    # --- for the estimate of a dry run ------------------------------------------------------------------------------

    def measure_load(self, context: RequestContext, plan: MigrationPlan, seconds: int) -> Primitive:
        """A GuestLoad."""
        return to_primitive(concurrency.run_native(self._driver.measure_load, plan.server, seconds))  # type: ignore[no-any-return]

    # --- destination ------------------------------------------------------------------------------------------------

    def prepare_destination(self, context: RequestContext, plan: MigrationPlan, guest: Primitive) -> Primitive:
        """Claim, then make all that the guest needs here; returns a PreparedDestination."""
        description = from_primitive(GuestDescription, guest)
        preparation = self._preparations.of(plan.migration_uuid)
        call = concurrency.NativeCall()

        def fetch_base(source_path: str, sha256: str, path: str) -> int:
            return self._fetch_base(context, plan, preparation, source_path, sha256, path)

        with preparation.running():
            self._claim(plan, description)
            breakpoints.reached("prepare.claimed")
            record = self._records.open(plan, DESTINATION)
            places = self._ports.prepare(plan, record)
            here = places.in_plan(plan)
            prepared = call.run(self._driver.pre_live_migration, here, description, record, call.callback(fetch_base))
            self._take_over_connections(context, plan)
        LOG.info("%s destination is ready, %d bytes of base images brought", plan.label, prepared.bytes_fetched)
        return to_primitive(places.in_answer(prepared))  # type: ignore[no-any-return]

    def release_destination(self, context: RequestContext, plan: MigrationPlan, home: str | None = None) -> None:
        """Undo `prepare_destination`, exactly what the ledger lists. One that still runs here is called off first.

        `home`: the host that has the server, once the migration is over without its having come; "" when it was deleted.
        :raises exceptions.UnsafeRemoval: the guest runs here, or may have no other copy, or comes again.
        """
        with self._preparations.of(plan.migration_uuid).ended():
            record = self._records.get(plan.migration_uuid)
            if record is not None and home == self._host:  # another migration brought it: what there is of it is in use
                self._records.settle(plan)
            elif record is not None:
                self._refuse_if_it_comes_again(plan)
                here, belongings = self._ports.prepared(plan, record), BelongingsOnly(record)
                undo, stayed = self._driver.rollback_live_migration_at_destination, home is not None
                _tell(plan, concurrency.run_native(undo, here, belongings, stayed))
                self._ports.release(plan, record)
                self._records.close(plan.migration_uuid)
                LOG.info("%s destination released", plan.label)
        self._preparations.forget(plan.migration_uuid)
        self._writes_lost.pop(plan.migration_uuid, None)

    def _refuse_if_it_comes_again(self, plan: MigrationPlan) -> None:
        """What an earlier migration left must not be cleared by taking the guest from a later one."""
        for other in self._records.plans(DESTINATION):
            if other.server.uuid == plan.server.uuid and other.migration_id > plan.migration_id:
                reason = f"migration {other.migration_id} brings it here"
                raise exceptions.UnsafeRemoval(name=plan.label, host=self._host, reason=reason)

    def complete_arrival(self, context: RequestContext, plan: MigrationPlan, source_is_dead: bool) -> Primitive:
        """The source's compute service is silent: a TransferOutcome, UNDECIDED unless the guest is here.

        `source_is_dead`: an operator vouches that the source host does not run, where nothing else can be proven.
        """
        record = self._records.get(plan.migration_uuid)
        if record is None or record.kept(GUEST) is None:
            return to_primitive(TransferOutcome(Verdict.UNDECIDED, f"{self._host} knows nothing of it."))  # type: ignore[no-any-return]
        outcome = self.watcher.complete(plan, record, source_is_dead)
        return to_primitive(self._with_network(plan, outcome))  # type: ignore[no-any-return]

    def finish_destination(self, context: RequestContext, plan: MigrationPlan) -> Primitive:
        """The guest runs here to stay: see that it does, and that its disks are safe; {"progress": the transfer's final
        TransferProgress, or None}.

        :raises WritesLost: they are not; said again whenever it is asked, as long as this service runs.
        """
        if (lost := self._writes_lost.get(plan.migration_uuid)) is not None:
            raise exceptions.WritesLost(lost.message)
        self._take_over_connections(context, plan)
        record = self._records.get(plan.migration_uuid)
        autostart = bool(record and (record.kept(GUEST) or {}).get("autostart"))
        try:
            progress = concurrency.run_native(self._driver.post_live_migration_at_destination, plan, autostart)
        except exceptions.WritesLost as error:
            self._writes_lost[plan.migration_uuid] = error
            raise
        self._ports.arrive(plan, record)
        self._records.settle(plan)
        self._preparations.forget(plan.migration_uuid)
        return {"progress": to_primitive(progress)}

    # --- source -----------------------------------------------------------------------------------------------------

    def transfer(
        self,
        context: RequestContext,
        plan: MigrationPlan,
        guest: Primitive,
        prepared: Primitive,
        destination_is_dead: bool = False,
    ) -> Primitive:
        """Move the guest, up to and with the handover; returns a TransferOutcome.

        `destination_is_dead`: an operator wants the guest back, and vouches that the destination host does not run.

        What is decided stays decided: the outcome is on disk before it is told, and told again when asked again.
        """
        record = self._records.open(plan, SOURCE)
        if (decided := record.kept("outcome")) is not None:
            return decided  # type: ignore[no-any-return]
        record.keep("arguments", {"guest": guest, "prepared": prepared})
        control = self._controls.setdefault(plan.migration_uuid, TransferControl())
        control.journal = record
        control.destination_is_dead = destination_is_dead
        if not record.has(TRANSFER):
            self._tell_power_state(context, plan, from_primitive(GuestDescription, guest))
        LOG.info("%s transfer to %s begins", plan.label, plan.destination_host)
        try:
            outcome = concurrency.run_native(
                self._driver.live_migration,
                plan,
                from_primitive(GuestDescription, guest),
                from_primitive(PreparedDestination, prepared),
                control,
            )
        except Exception as error:  # whatever it was: once the guest may have moved it does not mean that it stayed
            if not record.has(TRANSFER):
                raise
            LOG.exception("%s transfer could not be followed to its end", plan.label)
            outcome = TransferOutcome(Verdict.UNDECIDED, reason=str(error))
        self._log_outcome(plan, outcome)
        answer: Primitive = to_primitive(self._with_network(plan, outcome))
        breakpoints.reached("transfer.decided")
        if outcome.verdict is not Verdict.UNDECIDED:
            record.remember("outcome", answer)
            breakpoints.reached("transfer.kept")
        return answer

    def release_source(self, context: RequestContext, plan: MigrationPlan) -> None:
        """Undo `transfer`: it stayed; nothing is left to remember of it here."""
        self._controls.pop(plan.migration_uuid, None)
        self._records.close(plan.migration_uuid)

    def clean_source(self, context: RequestContext, plan: MigrationPlan, guest: Primitive, home: str | None = None) -> None:
        """The guest runs elsewhere: delete what it left here. The driver makes sure of both itself.

        `home`: where the server is by now, if it may have moved on; "" when it was deleted.

        :raises exceptions.UnsafeRemoval: it is here, or is not seen to be there.
        """
        description = from_primitive(GuestDescription, guest)
        belongings = self._records.of_server(plan.server.uuid)
        here = self._ports.departed(plan, self._records.get(plan.migration_uuid))
        if home == "":
            self._refuse_if_here(plan)
            left = concurrency.run_native(self._driver.destroy, here.server, belongings)
        else:
            here = dataclasses.replace(here, destination_host=home or here.destination_host)
            left = concurrency.run_native(self._driver.post_live_migration_at_source, here, description, belongings)
        _tell(plan, left)
        self._ports.leave(plan)
        self._controls.pop(plan.migration_uuid, None)
        self._records.close_server(plan.server.uuid)
        self._records.close(plan.migration_uuid)
        LOG.info("%s source cleaned", plan.label)

    def _refuse_if_here(self, plan: MigrationPlan) -> None:
        seen = concurrency.run_native(self._driver.observe, plan.server.uuid, None)
        if seen.copy not in _GONE:
            raise exceptions.UnsafeRemoval(name=plan.label, host=self._host, reason=seen.detail)

    # --- for the manager --------------------------------------------------------------------------------------------

    def abort(self, migration_uuid: str, reason: str, source_host: str) -> None:
        """End a transfer, now or as soon as it starts; on the destination, what is being prepared for it."""
        if source_host == self._host:
            self._controls.setdefault(migration_uuid, TransferControl()).abort(reason)
        else:
            self._preparations.of(migration_uuid).call_off()

    def force_complete(self, migration_uuid: str) -> None:
        """Have a transfer that runs here end now. One that does not run here is not started by that."""
        control = self._controls.get(migration_uuid)
        if control is not None:
            control.force_complete()

    def note_power_state(self, migration_uuid: str, power_state: PowerState) -> None:
        """Of a guest that comes here: what it is to go on as, should its source's compute service die in the handover."""
        record = self._records.get(migration_uuid)
        if record is not None and record.kept(GUEST) is not None:
            guest = from_primitive(GuestDescription, record.kept(GUEST))
            record.keep(GUEST, to_primitive(dataclasses.replace(guest, power_state=power_state)))

    def progress(self, migration_uuid: str) -> TransferProgress | None:
        control = self._controls.get(migration_uuid)
        return control.progress() if control else None

    def interrupted_transfers(self) -> list[tuple[MigrationPlan, Primitive]]:
        """Transfers that had begun and were not decided when this service last stopped, with their arguments.

        One that was only about to begin is not begun here: its migration may have been rolled back while nobody was here to hear
        of it. If not, the conductor asks again.
        """
        found = []
        for plan in self._records.plans(SOURCE):
            record = self._records.get(plan.migration_uuid)
            if record and record.has(TRANSFER) and record.kept("arguments") and record.kept("outcome") is None:
                found.append((plan, record.kept("arguments")))
        return found

    # --- inside -----------------------------------------------------------------------------------------------------

    def _tell_power_state(self, context: RequestContext, plan: MigrationPlan, guest: GuestDescription) -> None:
        """What the checks saw may be hours old: the destination hears of it if its guest has been paused since, or let go on."""
        now = concurrency.run_native(self._driver.get_info, plan.server)
        if {now, guest.power_state} != {PowerState.PAUSED, PowerState.RUNNING}:
            return
        try:
            self._peers.note_power_state(context, plan.destination_host, plan.migration_uuid, int(now))
        except (*rpc.UNANSWERED, oslo_messaging.MessagingException, exceptions.BlockMigrateError) as error:
            LOG.warning("%s %s does not know that the guest is %s now: %s", plan.label, plan.destination_host, now.name, error)

    def _with_network(self, plan: MigrationPlan, outcome: TransferOutcome) -> TransferOutcome:
        """The outcome, with the network told at once if the guest has moved."""
        if outcome.verdict is not Verdict.HANDED_OVER:
            return outcome
        return dataclasses.replace(outcome, ports_moved=self._ports.depart(plan))

    def _coming(self, plan: MigrationPlan) -> list[MigrationPlan]:
        present = concurrency.run_native(self._driver.list_instance_uuids)
        return claims.outstanding(self._records.plans(DESTINATION), present, but=plan.migration_uuid)

    def _claim(self, plan: MigrationPlan, guest: GuestDescription) -> None:
        """Promise memory and disk to the guest; the open record is the claim."""
        with self._claiming:
            begun = self._records.get(plan.migration_uuid)
            if begun is not None and begun.kept(GUEST) is not None:
                return
            resources = concurrency.run_native(self._driver.get_available_resource)
            claims.check_memory(
                plan,
                resources,
                self._coming(plan),
                self._conf.reserved_host_memory_mb,
                self._conf.ram_allocation_ratio,
            )
            claims.check_disk(plan, guest, resources, self._claimed_disk_bytes(), self._conf.reserved_host_disk_mb)
            record = self._records.open(plan, DESTINATION)
            record.keep(DISK_BYTES, guest.allocated_bytes)
            record.keep(GUEST, to_primitive(guest))

    def _claimed_disk_bytes(self) -> int:
        """Disk that is promised to guests on their way here. What of it they have filled already counts twice until they
        have arrived: too much is asked for rather than too little."""
        return sum(record.kept(DISK_BYTES) or 0 for record in self._records.all().values())

    def _fetch_base(
        self, context: RequestContext, plan: MigrationPlan, preparation: Preparation, source_path: str, sha256: str, path: str
    ) -> int:
        LOG.info("%s base image %s is not here: bringing it from %s", plan.label, path, plan.source_host)
        for attempt in range(1, FETCH_ATTEMPTS):
            try:
                return self._try_to_fetch_base(context, plan, preparation, source_path, sha256, path)
            except exceptions.FetchInterrupted as error:
                LOG.warning("%s try %d was cut off, going on: %s", plan.label, attempt, error.message)
        return self._try_to_fetch_base(context, plan, preparation, source_path, sha256, path)

    def _try_to_fetch_base(
        self, context: RequestContext, plan: MigrationPlan, preparation: Preparation, source_path: str, sha256: str, path: str
    ) -> int:
        """
        :raises exceptions.FetchInterrupted: it was cut off; another try goes on with what is here.
        """
        token, uri = self._peers.serve_base(context, plan.source_host, to_primitive(plan.server), source_path)

        def end() -> None:
            self._peers.end_serve_base(context, plan.source_host, token)

        try:
            with preparation.cut_by(end):
                fetched = concurrency.run_native(self._driver.fetch_base, uri, sha256, path)
            breakpoints.reached("prepare.base_fetched")
            return fetched
        finally:
            end()

    def _take_over_connections(self, context: RequestContext, plan: MigrationPlan) -> None:
        """Know the guest's connections here, so that answers to what it asked pass from the first one on. Before the transfer
        for those that last, after it for those that began meanwhile. A source that is silent forbids nothing: the guest's own
        next packet says the same."""
        if not any(vif.port_security for vif in plan.server.vifs):
            return
        try:
            found = self._peers.read_connections(context, plan.source_host, to_primitive(plan.server))
        except (oslo_messaging.MessagingException, exceptions.BlockMigrateError) as error:
            LOG.warning("%s connections of the guest are not known here: %s", plan.label, error)
            return
        concurrency.run_native(self._driver.take_over_connections, plan.server, found)
        LOG.info("%s %d connections of the guest are known here", plan.label, len(found))

    def _log_outcome(self, plan: MigrationPlan, outcome: TransferOutcome) -> None:
        if outcome.verdict is Verdict.HANDED_OVER:
            LOG.info("%s handed over to %s, paused for %.0f ms", plan.label, plan.destination_host, outcome.paused_ms)
        elif outcome.verdict is Verdict.STAYED:
            LOG.warning("%s stays on %s: %s", plan.label, plan.source_host, outcome.reason)
        else:
            LOG.error("%s is undecided, nothing was started or destroyed: %s", plan.label, outcome.reason)


def _tell(plan: MigrationPlan, left: tuple[str, ...]) -> None:
    for words in left:
        LOG.warning("%s %s", plan.label, words)
