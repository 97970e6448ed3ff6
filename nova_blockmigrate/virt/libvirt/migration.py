"""One live migration on its source host, from the call to the verdict: transfer, watch, hand over, or find out what was.

All that happens (events of both hosts, the end of `migrateToURI3`, the links) comes through one queue to the thread that
called, so that decisions are made in one place and in the order of what happened. Reading top-down: `run`, `_watch`,
`_hand_over`, or `_follow` where libvirt makes the switch (`post_copy.py`); what is done when things went wrong is in `settle.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import libvirt
from oslo_log import log

from nova_blockmigrate.breakpoints import reached
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import BlockMigrateError, GuestNotFound, HypervisorUnavailable
from nova_blockmigrate.objects import GuestDescription, MigrationPlan, PowerState, PreparedDestination, TransferOutcome, Verdict
from nova_blockmigrate.threads import Task, call_within
from nova_blockmigrate.virt.driver import TRANSFER, TransferControl
from nova_blockmigrate.virt.libvirt import handover, post_copy, stuck_job, transfer
from nova_blockmigrate.virt.libvirt.handover import PAUSED_BY_MIGRATION, PAUSED_BY_USER, Asker, Fence, Fencer
from nova_blockmigrate.virt.libvirt.host import Host, is_lost
from nova_blockmigrate.virt.libvirt.links import ASK, DESTINATION, DESTINATION_LOST, MIGRATE, SOURCE, STEER, SWITCH, Links
from nova_blockmigrate.virt.libvirt.observe import incoming_job_is_over, outgoing_job_is_active, power_state
from nova_blockmigrate.virt.libvirt.post_copy import SWITCHED, SWITCHES_ITSELF
from nova_blockmigrate.virt.libvirt.qemu_process import QemuProcess
from nova_blockmigrate.virt.libvirt.settle import REFUSED, Settlement, Situation

LOG = log.getLogger(__name__)
FENCING, FENCED = "fencing", "fenced"
"""Marks in the journal after TRANSFER (migrateToURI3 may have been called): SIGSTOP may have been sent; it never runs again."""
RAN_BEFORE, PAUSED_BEFORE = "ran before", "paused before"
"""Marks before TRANSFER: what its user had the guest do."""
PAUSED_BY_QEMU = "QEMU has paused the guest, as its disk on the source is full or fails; mend that, then unpause it"
AUTOSTART = "autostart"
"""Mark after TRANSFER: libvirt was to start the guest at each boot of its host, and is not to meanwhile."""
PAUSE_LOOK_S = 2.0
"""How long a paused source may wait in silence before the destination is asked whether it lives; and for its answer."""
ARRIVAL_LIMIT_S = 2.0
"""How long the destination's libvirt may need, after its copy was complete, to end its part: some milliseconds as a rule."""
ARRIVAL_LOOK_S = 0.001
FOLLOW_S = 1.0
"""Between two looks at a guest whose memory follows it."""
EVENT_LIMIT_S = 1.0
"""How long after the end of the transfer an event may come."""
WORD_LIMIT_S = 40.0
"""libvirt needs 10 s to give a QEMU up that does not heed its SIGTERM; and as long again to notice a lost peer."""


@dataclasses.dataclass
class Seen:
    """What has come through the queue so far."""

    source_paused_s: float = 0.0
    source_resumed: bool = False
    io_error: bool = False
    """QEMU has paused the source for an error of its disk."""
    source_stopped: int | None = None
    """Detail of the STOPPED event."""
    complete_s: float = 0.0
    runs_there_s: float = 0.0
    """libvirt has let the destination run by itself."""
    half_moved: bool = False
    returned: bool = False
    job_over: bool = False
    error: libvirt.libvirtError | None = None
    link_error: BlockMigrateError | None = None
    linked: bool = False
    link_lost: bool = False

    def note(self, item: tuple[Any, ...]) -> None:
        kind, *rest = item
        if kind == SOURCE:
            self._note_source(*rest)
        elif kind == DESTINATION:
            event, detail, at_s = rest
            if (event, detail) == (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED):
                self.complete_s = self.complete_s or at_s
            elif event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
                self.runs_there_s = self.runs_there_s or at_s
                self.half_moved = self.half_moved or detail == libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY
        elif kind == "returned":
            self.returned, self.error = True, rest[0]
        elif kind == "linked":
            self.linked = True
        elif kind == DESTINATION_LOST:
            self.link_lost = True
        elif kind == "not linked":
            self.link_error = rest[0]
        elif kind == "job over":
            self.job_over = True

    def _note_source(self, event: int, detail: int, at_s: float) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
            self.source_paused_s, self.source_resumed = at_s, False
            self.io_error = self.io_error or detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR
            self.half_moved = self.half_moved or detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY
        elif event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
            self.source_resumed, self.io_error = True, False
        elif event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            self.source_stopped = detail

    @property
    def over(self) -> bool:
        return self.returned or self.job_over

    @property
    def died_standing(self) -> bool:
        """It stopped without having run since it was paused. Events of one connection keep their order, so that is proof."""
        return self.source_stopped is not None and not self.source_resumed


class LiveMigration:
    """One call of the driver's `live_migration`. Not to be used twice."""

    _links: Links
    _asker: Asker

    def __init__(
        self,
        source: Host,
        destination: Host,
        settings: transfer.TransferSettings,
        plan: MigrationPlan,
        guest: GuestDescription,
        prepared: PreparedDestination,
        control: TransferControl,
    ) -> None:
        self._source, self._destination, self._settings = source, destination, settings
        self._plan, self._guest, self._prepared, self._control = plan, guest, prepared, control
        self._uuid, self._name = plan.server.uuid, plan.server.domain_name
        self._queue = native.queue.SimpleQueue()
        self._clock = native.time.time
        self._seen, self._marks = Seen(), {}  # type: Seen, dict[str, float]
        self._steering: transfer.Steering | None = None
        self._process: QemuProcess | None = None
        self._closing: list[Callable[[], object]] = []
        """What releases that which was made, in the order of making."""
        self._switches_itself = False
        self._why_not_arrived = "no answer"
        self.over = native.threading.Event()
        """libvirt is done with the source's domain, as far as this process can tell."""

    def run(self) -> TransferOutcome:
        """Blocks until decided."""
        try:
            outcome = self._continue() if self._control.journal.has(TRANSFER) else self._begin()
            if outcome.verdict is Verdict.STAYED:
                self._set_autostart_again()
            return self._finished(outcome)
        finally:
            Task("migration-clean-up", self._clean_up)

    # --- beginning --------------------------------------------------------------------------------------------------

    def _begin(self) -> TransferOutcome:
        if self._control.abort_requested:
            return TransferOutcome(Verdict.STAYED, self._control.abort_reason, cancelled=True, power_state=self._guest.power_state)
        self._link()
        domain = self._domain(MIGRATE)
        self._note_state(domain)
        self._switches_itself = self._settings.switches_itself(self._was_paused)
        if self._switches_itself:
            self._control.journal.mark(SWITCHES_ITSELF)
        self._control.journal.mark(TRANSFER)
        reached("transfer.journalled")
        self._switch_autostart_off(domain)
        self._control.mark("transfer_started")
        self._mark("transfer_started")
        stream = self._stream()
        task = transfer.start(domain, stream.uri, stream.parameters, stream.flags, self._queue)
        self._closing.append(task.wait)
        reached("transfer.started")
        return self._steer_and_watch(watch_end=False)

    def _stream(self) -> post_copy.Stream:
        """What `migrateToURI3` is asked for."""
        uri = self._settings.destination_uri(self._prepared.libvirt_host)
        flags = self._settings.flags(self._prepared.copied_disks, is_paused=not self._switches_itself)
        return post_copy.Stream(self._source, self._uuid, uri, transfer.parameters(self._settings, self._prepared), flags)

    def _note_state(self, domain: Any) -> None:
        """What the checks saw may be hours old: migrations wait in a queue."""
        with self._source.errors("look at the guest before its transfer", self._name):
            now = power_state(*domain.state())
        self._control.journal.mark(PAUSED_BEFORE if now is PowerState.PAUSED else RAN_BEFORE)
        self._recall_state()

    def _recall_state(self) -> None:
        """As it was before the transfer, by the journal; what the check saw tells only of one that an older version began."""
        mark = self._control.journal.latest(RAN_BEFORE, PAUSED_BEFORE)
        if mark:
            state = PowerState.PAUSED if mark == PAUSED_BEFORE else PowerState.RUNNING
            self._guest = dataclasses.replace(self._guest, power_state=state)

    def _switch_autostart_off(self, domain: Any) -> None:
        """A boot of this host after the handover would start a stale copy."""
        with self._source.errors("keep the guest from being started at boot", self._name):
            if domain.autostart():
                self._control.journal.mark(AUTOSTART)
                domain.setAutostart(0)

    @property
    def _was_paused(self) -> bool:
        return self._guest.power_state is PowerState.PAUSED

    def _set_autostart_again(self) -> None:
        if not self._control.journal.has(AUTOSTART):
            return
        try:
            with self._source.errors("have the guest started at boot again", self._name):
                self._source.domain(self._uuid, self._name).setAutostart(1)
        except BlockMigrateError as error:
            LOG.error("%s is not started at boot any more: %s", self._plan.label, error)

    def _link(self) -> None:
        self._links = Links(self._source, self._destination, self._uuid, self._queue)
        self._closing.append(self._links.close)

    def _domain(self, caller: str) -> Any:
        domain = self._links.source.domain(caller)
        if domain is None:
            raise GuestNotFound(name=self._name, host=self._source.name)
        return domain

    def _steer_and_watch(self, watch_end: bool) -> TransferOutcome:
        try:
            self._get_ready(watch_end)
        except BlockMigrateError as error:  # libvirt has lost the guest, or died: the transfer may still go on
            return self._settle(str(error))
        if self._seen.half_moved or self._control.journal.has(SWITCHED):
            return self._follow()
        return self._watch()

    def _get_ready(self, watch_end: bool) -> None:
        """Everything that the handover needs, while the transfer is young."""
        self._find_process()
        self._asker = Asker(self._domain(ASK))
        domain = self._domain(STEER)
        limit_s = self._settings.limit_s(self._guest.memory_mib * 1024**2 + self._guest.allocated_bytes)
        may = self._switches_itself
        self._steering = transfer.Steering(domain, self._settings, self._control, self._queue, watch_end, limit_s, post_copy=may)
        self._closing += [self._asker.close, self._steering.wait]

    def _find_process(self) -> None:
        if self._process is None:
            self._process = QemuProcess.find(self._name, self._uuid)
            if self._process is not None:
                self._closing.append(self._process.close)

    def _continue(self) -> TransferOutcome:
        """A transfer of this migration was begun before (this service was restarted): go on with it, or learn its end."""
        self._recall_state()
        self._switches_itself = self._control.journal.has(SWITCHES_ITSELF)
        self._find_process()
        if self._process is not None and self._process.is_stopped():
            # left by a handover that was interrupted before it let the destination run; libvirt must be able to talk to it
            self._process.resume()
        self._link()
        domain = self._links.source.domain()
        # (libvirt forgets its job when it is restarted in post-copy, and ends both sides all the same)
        self._seen.half_moved = domain is not None and self._switches_itself and post_copy.is_half_moved(domain)
        if domain is None or not (self._seen.half_moved or outgoing_job_is_active(domain)):
            return self._settle("")
        return self._steer_and_watch(watch_end=True)

    # --- watching ---------------------------------------------------------------------------------------------------

    def _watch(self) -> TransferOutcome:
        """Wait for what happens, until the copy on the destination is complete or the transfer over."""
        seen = self._seen
        while True:
            if not self._next(self._patience_s()):
                self._stir()
            if self._switches_itself and (seen.half_moved or seen.runs_there_s):
                return self._follow()
            if seen.complete_s and not self._switches_itself:
                return self._hand_over()
            if seen.over:
                return self._settle(str(seen.error or ""))
            if seen.source_paused_s:
                self._note_pause()
            if seen.linked:
                seen.linked = False
                if self._switches_itself and self._destination_runs():
                    seen.runs_there_s = self._clock()
                    return self._follow()
                if not self._switches_itself and self._destination_is_complete():
                    seen.complete_s = self._clock()
                    return self._hand_over()
            if seen.link_lost:
                seen.link_lost = False
                self._links.link_again()
            if seen.link_error is not None and self._steering is not None:
                self._steering.abort(limit_s=0.0)  # without seeing the destination there is no handover

    def _patience_s(self) -> float | None:
        """How long silence is no bad sign."""
        if self._must_end:
            return stuck_job.GRACE_S
        return PAUSE_LOOK_S if self._seen.source_paused_s and not self._was_paused and not self._seen.source_resumed else None

    @property
    def _must_end(self) -> bool:
        """The guest is gone, or all that its job could wait for."""
        return self._seen.source_stopped is not None or (self._steering is not None and self._steering.yanked)

    def _stir(self) -> None:
        """Nothing was heard for longer than is good."""
        if self._must_end:
            stuck_job.wake(self._settings.destination_uri(self._prepared.libvirt_host))
        elif self._seen.link_error is None and not self._destination_answers():
            self._seen.link_error = HypervisorUnavailable(
                host=self._destination.name, uri=self._destination.uri, reason="no answer while the guest was paused for its move"
            )

    def _destination_answers(self) -> bool:
        """Whether the destination's libvirt says something, whatever it is."""
        try:
            call_within(PAUSE_LOOK_S, self._destination_is_complete)
        except TimeoutError:
            return False
        return self._links.destination is not None

    def _next(self, timeout_s: float | None = None) -> bool:
        """Take the next item in; False when none came in time."""
        try:
            self._seen.note(self._queue.get(timeout=timeout_s))
        except native.queue.Empty:
            return False
        return True

    def _note_pause(self) -> None:
        """The end is near: have "fencing" on disk before it is needed, while the destination completes its copy."""
        if "source_paused" not in self._marks:
            self._marks["source_paused"] = self._seen.source_paused_s
            reached("transfer.source_paused")
            if self._switches_itself:
                return
            self._control.journal.mark(FENCING)
            self._mark("fencing")
            reached("handover.fencing")

    def _destination_is_complete(self) -> bool:
        return self._destination_state() == PAUSED_BY_USER

    def _destination_runs(self) -> bool:
        state = self._destination_state()
        return state is not None and state[0] == int(libvirt.VIR_DOMAIN_RUNNING)

    def _destination_state(self) -> tuple[int, int] | None:
        domain = self._destination_domain()
        try:
            return tuple(domain.state()) if domain is not None else None
        except libvirt.libvirtError:
            return None

    def _destination_domain(self) -> Any | None:
        side = self._links.destination
        try:
            return side.domain(SWITCH) if side is not None and self._seen.link_error is None else None
        except BlockMigrateError:
            return None

    def _arrived_domain(self) -> Any | None:
        """The destination's domain as soon as its libvirt has ended its part; None when that does not come to pass, or cannot be
        seen."""
        deadline = native.time.monotonic() + ARRIVAL_LIMIT_S
        domain = self._destination_domain()
        if domain is None:
            self._why_not_arrived = "it could not be asked"
        try:
            while domain is not None and not incoming_job_is_over(domain):
                if native.time.monotonic() > deadline:
                    self._why_not_arrived = f"not within {ARRIVAL_LIMIT_S:g} s"
                    return None
                native.time.sleep(ARRIVAL_LOOK_S)
        except libvirt.libvirtError as error:
            self._why_not_arrived = str(error)
            return None
        return domain

    @staticmethod
    def _has_arrived(lookup: Task) -> bool:
        """A libvirt that hangs has not ended its part."""
        return lookup.wait(ARRIVAL_LIMIT_S) and lookup.result() is not None

    # --- the switch -------------------------------------------------------------------------------------------------

    def _hand_over(self) -> TransferOutcome:
        """The destination has everything. From here on the source never runs again, or the destination never does."""
        self._note_complete()
        reached("handover.complete")
        lookup = Task("find-destination", self._arrived_domain)
        self._take_in_all()
        expected = handover.STOOD_BEFORE if self._was_paused else frozenset({PAUSED_BY_MIGRATION})
        fencer = Fencer(self._process, self._asker, expected, self._commit, lambda: self._has_arrived(lookup))
        fence = fencer.fence(self._seen.source_resumed)
        self._take_in_all()
        if fence is Fence.WORD or (fence is Fence.DEAD and self._seen.source_resumed):
            fence = self._await_word()
        if fence is Fence.DEAD:
            return self._switch(lookup)
        if fence is Fence.RAN_AGAIN:
            return self._settle("libvirt let the guest run again on the source, as the destination's answer was lost")
        if fence is Fence.STANDS:
            return self._settle("something else than its migration has paused the guest on the source")
        if fence is Fence.NOT_ARRIVED:
            return self._settle(f"the destination's libvirt did not end its part of the transfer: {self._why_not_arrived}")
        return self._settle("libvirt on the source could not be asked in the handover")

    def _note_complete(self) -> None:
        self._marks["destination_complete"] = self._seen.complete_s
        if "source_paused" not in self._marks:
            self._marks["source_paused"] = self._seen.source_paused_s or self._seen.complete_s
            self._control.journal.mark(FENCING)
        if self._steering is not None:
            self._steering.end()

    def _take_in_all(self) -> None:
        while self._next(0):
            pass

    def _await_word(self) -> Fence:
        """The source is dead or being killed by libvirt: learn from libvirt that it never ran since it was paused."""
        deadline = native.time.monotonic() + WORD_LIMIT_S
        while (left_s := deadline - native.time.monotonic()) > 0:
            seen = self._seen
            if seen.source_resumed:
                return Fence.RAN_AGAIN
            if seen.died_standing or (seen.returned and seen.error is None):
                return Fence.DEAD
            if seen.over and (self._process is None or not self._process.never_runs_again()):
                return Fence.UNKNOWN
            if seen.over:  # the error came before the event that says how the guest ended
                deadline = min(deadline, native.time.monotonic() + EVENT_LIMIT_S)
            self._next(min(left_s, EVENT_LIMIT_S))
        return Fence.UNKNOWN

    def _commit(self) -> None:
        self._control.journal.mark(FENCED)
        self._mark("fenced")
        reached("handover.fenced")

    def _switch(self, lookup: Task) -> TransferOutcome:
        if not self._control.journal.has(FENCED):
            self._commit()
        reached("handover.killed")
        domain = lookup.result()
        try:
            if domain is None:
                return self._settle("the destination's libvirt did not answer in the handover")
            if not self._was_paused:
                domain.resume()
        except libvirt.libvirtError as error:
            if not is_lost(error):
                self._control.journal.mark(REFUSED)
            return self._settle(str(error))
        self._mark("resumed")
        reached("handover.resumed")
        return TransferOutcome(Verdict.HANDED_OVER, power_state=self._guest.power_state)

    # --- switched by libvirt ------------------------------------------------------------------------------------------

    def _follow(self) -> TransferOutcome:
        """libvirt lets, or is about to let, the destination run: from here on the guest goes on there or nowhere."""
        if not self._control.journal.has(SWITCHED):
            self._control.journal.mark(SWITCHED)
        seen = self._seen
        if seen.source_paused_s:
            self._marks.setdefault("source_paused", seen.source_paused_s)
        if not seen.half_moved:
            self._fence_left_source()
        elif self._steering is not None:
            self._steering.half_moved = True
        settlement = Settlement(self._situation(""))
        self._next(FOLLOW_S)
        while settlement.goes_on():
            self._next(FOLLOW_S)
        if seen.runs_there_s:
            self._marks["resumed"] = seen.runs_there_s
        return self._settle(str(seen.error or ""))

    def _fence_left_source(self) -> None:
        """The destination runs, and all of the guest is there: the source, which libvirt is about to kill, is killed at once.
        Should libvirt have let it run again, it is left to `_settle`."""
        expected, journal = frozenset({PAUSED_BY_MIGRATION}), self._control.journal
        fencer = Fencer(self._process, self._asker, expected, lambda: journal.mark(FENCED), arrived=lambda: True)
        fencer.fence(self._seen.source_resumed)

    # --- the end ----------------------------------------------------------------------------------------------------

    def _settle(self, error: str) -> TransferOutcome:
        LOG.info("%s what became of the guest is to be seen on both hosts: %s", self._plan.label, error or "its transfer is over")
        if self._steering is not None:
            self._steering.end()
        outcome = Settlement(self._situation(error)).reach()
        if outcome.verdict is Verdict.HANDED_OVER:
            self._marks.setdefault("resumed", self._clock())
        return outcome

    def _situation(self, error: str) -> Situation:
        return Situation(
            source=self._source,
            destination=self._destination,
            uuid=self._uuid,
            name=self._name,
            guest=self._guest,
            journal=self._control.journal,
            error=self._why(error),
            aborted=self._control.abort_requested and self._steering is not None and self._steering.aborted,
            abort_reason=self._control.abort_reason,
            was_paused=self._was_paused,
            process=self._process,
            destination_is_dead=self._control.destination_is_dead,
            stream=self._stream() if self._switches_itself else None,
            destination_xml=self._prepared.destination_xml,
        )

    def _why(self, error: str) -> str:
        paused = PAUSED_BY_QEMU if self._seen.io_error else ""
        return "; ".join(filter(None, (paused, self._cause() or error)))

    def _cause(self) -> str:
        """Why we ended it ourselves, if we did: libvirt's own word of an abort says less."""
        timed_out = self._steering.timed_out if self._steering is not None else ""
        return str(self._seen.link_error or "") or timed_out

    def _finished(self, outcome: TransferOutcome) -> TransferOutcome:
        marks = self._marks
        paused_s = marks["resumed"] - marks["source_paused"] if {"resumed", "source_paused"} <= marks.keys() else 0.0
        progress = self._steering.last if self._steering is not None else outcome.progress
        return dataclasses.replace(outcome, marks_s=dict(marks), paused_ms=paused_s * 1000, progress=progress)

    def _mark(self, name: str) -> None:
        self._marks[name] = self._clock()

    def _clean_up(self) -> None:
        """Connections can go when libvirt's last call on them has returned; nobody waits for that."""
        try:
            while self._closing:
                self._closing.pop()()
        finally:
            self.over.set()
