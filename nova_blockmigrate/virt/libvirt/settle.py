"""When a transfer ended otherwise than by the plain handover: look at both hosts, decide by the table, act, look again.

Nothing is started unless the other copy is proven dead, and what cannot be known is left alone (`UNDECIDED`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import libvirt

from nova_blockmigrate.breakpoints import reached
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.exceptions import BlockMigrateError, HypervisorError
from nova_blockmigrate.objects import Copy, GuestDescription, Observation, PowerState, TransferOutcome, Verdict
from nova_blockmigrate.threads import in_parallel
from nova_blockmigrate.virt.driver import Journal
from nova_blockmigrate.virt.libvirt import guest as guests
from nova_blockmigrate.virt.libvirt import post_copy, qemu_log
from nova_blockmigrate.virt.libvirt.decide import Action, decide
from nova_blockmigrate.virt.libvirt.handover import PAUSED_BY_MIGRATION, STOOD_BEFORE, Asker, Fence, Fencer
from nova_blockmigrate.virt.libvirt.host import Host
from nova_blockmigrate.virt.libvirt.observe import observe
from nova_blockmigrate.virt.libvirt.qemu_process import QemuProcess
from nova_blockmigrate.virt.libvirt.transfer import HURRIED

ANSWER_LIMIT_S = 5.0
"""How long a host may take to say what it has: the guest may be standing meanwhile."""
PATIENCE_S = 20.0
"""How long to look again before saying that it is not known."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
FENCED = "fenced"
RESUMING, REFUSED = "resuming again", "resume refused"
"""The destination's libvirt may have let its copy run; it has said that it did not."""
ALARM = "alarm"
"""Two copies were found running. What is found later is a person's work, and nobody else's."""
A_PERSON_DECIDES = (
    "two copies of the guest ran; nothing is deleted until a person has decided which one lives: end the other one "
    "(virsh destroy), and let this one run (virsh resume)"
)

LOST = "its destination is dead, says an operator: the guest is here as it was when it was to run there"

_SAID_AT_ONCE = {Action.ALARM, Action.RECOVER}
_STAYED = {Action.ROLL_BACK, Action.DESTROY_DESTINATION, Action.RESUME_SOURCE}
_ENDED = {
    PowerState.SHUTDOWN: "the guest was shut down while it was copied",
    PowerState.CRASHED: "the guest died while it was moved",
}


@dataclasses.dataclass(frozen=True)
class Situation:
    """What is known when the looking begins."""

    source: Host
    destination: Host
    uuid: str
    name: str
    guest: GuestDescription
    journal: Journal
    error: str = ""
    aborted: bool = False
    abort_reason: str = ""
    was_paused: bool = False
    process: QemuProcess | None = None
    destination_is_dead: bool = False
    """An operator vouches for that, should its libvirt be out of reach, and wants the guest back."""
    stream: post_copy.Stream | None = None
    """How the guest's memory is sent, when libvirt switches the guest by itself."""
    destination_xml: str = ""

    @property
    def never_resumed(self) -> bool:
        """The destination's libvirt refused to resume its copy, whenever it was asked."""
        return self.journal.latest(FENCED, RESUMING, REFUSED) == REFUSED

    @property
    def fenced(self) -> bool:
        """The mark alone is no proof: it is made before the kill."""
        return self.journal.has(FENCED) and (self.process is None or self.process.never_runs_again())


class Settlement:
    """Brings one migration to a verdict."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._trouble = ""
        self._is_lost = False
        """The destination cannot be reached, and is dead by an operator's word."""

    def reach(self) -> TransferOutcome:
        """Observe, decide and act until it is settled, or patience ends."""
        pause_s = FIRST_PAUSE_S
        deadline = native.time.monotonic() + PATIENCE_S
        before = None
        while True:
            source, destination = self._look()
            action = decide(source, destination)
            reached("settle.decided")
            try:
                # both hosts are not looked at in the same moment: a guest that looks dead once may just have arrived
                is_sure = action is not Action.GIVE_UP or before is action
                outcome = self._act(action, source, destination) if is_sure else None
            except (libvirt.libvirtError, BlockMigrateError, TimeoutError) as error:
                outcome, self._trouble = None, str(error)
            if outcome is not None:
                return outcome
            if native.time.monotonic() > deadline or action in _SAID_AT_ONCE or source.alarmed:
                return self._undecided(action, source, destination)
            before = action
            native.time.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def goes_on(self) -> bool:
        """Whether there is nothing to do but to wait: the guest's memory follows it."""
        action = decide(*self._look())
        stream = self._situation.stream
        if action is Action.RECOVER and stream is not None:
            with contextlib.suppress(BlockMigrateError, TimeoutError):
                return stream.lives()
        return action is Action.WATCH

    def _look(self) -> tuple[Observation, Observation]:
        situation = self._situation
        looks: list[Callable[[], Observation]] = [
            lambda: observe(situation.source, situation.uuid, False, situation.fenced, ANSWER_LIMIT_S),
            lambda: observe(situation.destination, situation.uuid, True, False, ANSWER_LIMIT_S),
        ]
        source, destination = in_parallel(looks)
        if source.copy is Copy.SHUT_OFF and qemu_log.was_migrated(situation.name):
            source = dataclasses.replace(source, copy=Copy.MIGRATED_AWAY, detail=f"{source.detail}; its log says migrated")
        source = dataclasses.replace(
            source,
            alarmed=situation.journal.has(ALARM),
            self_switching=situation.stream is not None,
            switched=situation.journal.has(post_copy.SWITCHED),
        )
        if source.copy in post_copy.DEAD:
            destination = post_copy.lost_half(situation.destination, situation.uuid, destination)
        self._is_lost = situation.destination_is_dead and destination.copy is Copy.UNREACHABLE and not source.switched
        if self._is_lost:
            return source, dataclasses.replace(destination, copy=Copy.ABSENT, never_ran=True)
        return source, dataclasses.replace(destination, never_ran=situation.never_resumed)

    def _act(self, action: Action, source: Observation, destination: Observation) -> TransferOutcome | None:
        """The verdict, or None: look again."""
        match action:
            case Action.ROLL_BACK:
                return self._stayed(self._let_go_on(source))
            case Action.DESTROY_DESTINATION:
                self._destroy_destination()
                return self._stayed(self._let_go_on(source))
            case Action.RESUME_SOURCE:
                return self._resume_source(destination)
            case Action.FENCE_AND_RESUME | Action.FENCE_AND_FINISH:
                self._fence(source)
            case Action.RESUME_DESTINATION:
                return self._resume_destination(source)
            case Action.FINISH:
                return self._handed_over(destination.power_state)
            case Action.RECOVER:
                self._restore_stream()
            case Action.GIVE_UP:
                return self._give_up()
            case Action.ALARM:
                self._alarm()
        return None

    # --- the guest stays --------------------------------------------------------------------------------------------

    def _let_go_on(self, source: Observation) -> Observation:
        """libvirt lets a guest go on that we paused in its transfer, unless the pause came a moment after the transfer's end."""
        situation = self._situation
        if source.copy is not Copy.PAUSED_BY_USER or situation.was_paused or not situation.journal.has(HURRIED):
            return source
        with situation.source.errors("let the guest go on"):
            situation.source.domain(situation.uuid, situation.name).resume()
        return observe(situation.source, situation.uuid, is_destination=False)

    def _stayed(self, source: Observation) -> TransferOutcome:
        power_state = source.power_state
        if source.copy is Copy.ABSENT:
            power_state = PowerState.SHUTDOWN
            self._define_source_again()
        reason = LOST if self._is_lost else _ENDED.get(power_state, "")
        cancelled = self._situation.aborted and not reason
        if cancelled:
            reason = self._situation.abort_reason or "the migration was aborted"
        elif self._situation.error:
            reason = f"{reason}: {self._situation.error}" if reason else self._situation.error
        return TransferOutcome(Verdict.STAYED, reason or "the transfer did not go on", cancelled, power_state=power_state)

    def _define_source_again(self) -> None:
        """The guest is dead, its disks are here, but libvirt has forgotten it (it was transient)."""
        with self._situation.source.errors("define the guest again"):
            self._situation.source.connection().defineXML(self._situation.guest.xml)

    def _destroy_destination(self) -> None:
        destroy_copy(self._situation.destination, self._situation.uuid)

    def _resume_source(self, destination: Observation) -> TransferOutcome | None:
        situation = self._situation
        if destination.copy is not Copy.UNREACHABLE and not self._is_lost:
            self._destroy_destination()
        domain = situation.source.domain(situation.uuid, situation.name)
        with situation.source.errors("resume the guest"):
            domain.resume()
        return self._stayed(observe(situation.source, situation.uuid, is_destination=False))

    # --- the guest moves --------------------------------------------------------------------------------------------

    def _fence(self, source: Observation) -> None:
        """Kill a source that is paused as it was seen to be; the next look sees what came of it."""
        situation = self._situation
        if source.copy in post_copy.HALF_MOVED:
            if post_copy.stream_state(situation.source, situation.uuid) == post_copy.COMPLETED:
                post_copy.end_half(situation.source, situation.uuid)
            return
        paused = STOOD_BEFORE if source.copy is Copy.PAUSED_BY_USER else frozenset({PAUSED_BY_MIGRATION})
        domain = situation.source.domain(situation.uuid, situation.name)
        process = situation.process or QemuProcess.find(situation.name, situation.uuid)
        if process is None:
            self._fence_by_libvirt(domain, paused)
            return
        asker = Asker(domain)
        try:
            fencer = Fencer(process, asker, paused, lambda: situation.journal.mark(FENCED), arrived=lambda: True)
            if fencer.fence(ran_again=False) is Fence.DEAD:
                process.ends_within(LONGEST_PAUSE_S)
        finally:
            asker.close()

    def _fence_by_libvirt(self, domain: Any, paused: frozenset[tuple[int, int]]) -> None:
        if tuple(domain.state()) in paused:
            domain.destroy()
            self._situation.journal.mark(FENCED)

    def _resume_destination(self, source: Observation) -> TransferOutcome | None:
        if not source.fenced:
            self._situation.journal.mark(FENCED)
        if not self._situation.was_paused:
            self._let_destination_run()
        return self._handed_over(self._situation.guest.power_state)

    def _let_destination_run(self) -> None:
        journal, refused_before = self._situation.journal, self._situation.never_resumed
        if refused_before:
            journal.mark(RESUMING)  # if we die now, it may have run
        try:
            resume_destination(self._situation.destination, self._situation.uuid)
        except HypervisorError:
            if refused_before:
                journal.mark(REFUSED)
            raise

    def _handed_over(self, power_state: PowerState) -> TransferOutcome:
        post_copy.forget(self._situation.uuid)
        if not self._situation.journal.has(FENCED):
            self._situation.journal.mark(FENCED)
        reason = "" if power_state in (PowerState.RUNNING, PowerState.PAUSED) else "the guest has ended on the destination"
        return TransferOutcome(Verdict.HANDED_OVER, reason, power_state=power_state)

    # --- half of the guest has moved ----------------------------------------------------------------------------------

    def _restore_stream(self) -> None:
        if self._situation.stream is not None:
            self._trouble = self._situation.stream.restore()

    def _give_up(self) -> TransferOutcome:
        """The guest has ended with one of its halves. It ran on the destination last: its disks there are the last word."""
        situation = self._situation
        situation.journal.mark(post_copy.SWITCHED)
        situation.journal.mark(FENCED)
        post_copy.end_half(situation.source, situation.uuid)
        post_copy.end_half(situation.destination, situation.uuid)
        post_copy.keep_known(situation.destination, situation.uuid, situation.destination_xml or situation.guest.xml)
        return TransferOutcome(Verdict.HANDED_OVER, post_copy.HALF_LOST, power_state=PowerState.CRASHED)

    # --- not known --------------------------------------------------------------------------------------------------

    def _alarm(self) -> None:
        """Two copies run: stop the one that no handover let run. Nothing is deleted; a person decides.

        Before a handover lets the destination run it journals that the source never runs again: what runs there nevertheless was
        started by somebody else. Where libvirt switches by itself, it has let the source run when the destination did already."""
        situation = self._situation
        situation.journal.mark(ALARM)
        is_stale = situation.journal.has(FENCED) or situation.stream is not None
        host = situation.source if is_stale else situation.destination
        domain = host.domain(situation.uuid, situation.name)
        with host.errors("suspend a second running copy"):
            domain.suspend()

    def _undecided(self, action: Action, source: Observation, destination: Observation) -> TransferOutcome:
        to_do = A_PERSON_DECIDES if self._situation.journal.has(ALARM) else f"to do: {action}"
        parts = [f"source: {source.detail}", f"destination: {destination.detail}", to_do]
        parts += [part for part in (self._trouble, self._situation.error) if part]
        return TransferOutcome(Verdict.UNDECIDED, "; ".join(parts), power_state=source.power_state)


def destroy_copy(host: Host, uuid: str) -> None:
    """Kill a copy that does not run, and forget its definition.

    :raises HypervisorError: it runs: it is not a copy that waits.
    """
    domain = host.find_domain(uuid)
    if domain is None:
        return
    with host.errors("destroy an incoming copy"):
        with contextlib.suppress(libvirt.libvirtError):  # it may be ending by itself
            is_half = post_copy.is_half_moved(domain)
            if is_half or domain.state()[0] in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
                raise HypervisorError(action=f"destroy {domain.name()}", reason=f"it runs on {host.name}")
            domain.destroy()
        guests.undefine(domain)
    if host.find_domain(uuid) is not None:
        raise HypervisorError(action="destroy an incoming copy", reason=f"{host.name} still lists it")


def resume_destination(host: Host, uuid: str) -> None:
    """Let the destination's copy run; one that runs is fine."""
    domain = host.domain(uuid)
    with host.errors("resume the guest on the destination"):
        if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            domain.resume()
