"""The switch (DESIGN, Handover): the source is stopped, asked about, killed, and only then the destination resumed.

Everything here is ready before the moment comes: the process descriptor, the connections, a thread that asks. Nothing is
logged, and nothing waits longer than it must: the guest stands still.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import libvirt

from nova_blockmigrate.breakpoints import reached
from nova_blockmigrate.concurrency import native
from nova_blockmigrate.threads import Task
from nova_blockmigrate.virt.libvirt.qemu_process import QemuProcess

ASK_LIMIT_S = 0.02
"""libvirt answers within 1 ms, or holds the domain's lock because it is killing the guest by itself."""
STOP_LIMIT_S = 1.0

_ENDING = {libvirt.VIR_DOMAIN_SHUTDOWN, libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED}
PAUSED_BY_MIGRATION = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
PAUSED_BY_USER = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
PAUSED_BY_IO_ERROR = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)
STOOD_BEFORE = frozenset({PAUSED_BY_USER, PAUSED_BY_IO_ERROR})
"""How a guest may have been paused before it was migrated. Of one that ran, an I/O error proves nothing: it may have run again
after its copy was complete, and met the error then."""


class Fence(enum.Enum):
    """What became of the source when it was to be stopped for ever."""

    DEAD = "libvirt called it paused by migration, and it was killed while it stood still"
    WORD = "it is dead or dying; libvirt's word says how it ended"
    RAN_AGAIN = "it ran again: it is the survivor, and goes on"
    STANDS = "something else has paused it: it is the survivor, and goes on standing"
    UNKNOWN = "libvirt cannot be asked: it goes on standing as it stood"
    NOT_ARRIVED = "the destination's libvirt has not ended its part: the source goes on standing as it stood"


class Asker:
    """Asks libvirt for a domain's state, in a thread that waits for the question: a call that hangs hangs there."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain
        self._questions, self._answers = native.queue.SimpleQueue(), native.queue.SimpleQueue()
        Task("ask", self._run)

    def _run(self) -> None:
        while self._questions.get():
            try:
                self._answers.put(tuple(self._domain.state()))
            except libvirt.libvirtError as error:
                self._answers.put(error)

    def ask(self, limit_s: float) -> tuple[int, int] | libvirt.libvirtError | None:
        """State and reason, the error, or None when no answer came within the limit."""
        self._questions.put(True)
        try:
            answer: tuple[int, int] | libvirt.libvirtError = self._answers.get(timeout=limit_s)
        except native.queue.Empty:
            return None
        return answer

    def close(self) -> None:
        self._questions.put(False)


@dataclasses.dataclass
class Fencer:
    """Stops a guest's source copy for ever, on proof that it is not the one that goes on."""

    process: QemuProcess | None
    asker: Asker
    expected: frozenset[tuple[int, int]]
    """What libvirt must say, one of these: paused by migration; or as it was paused before."""
    commit: Callable[[], None]
    """Called when it is decided that the source never runs again, before it is killed: puts that on disk. After a crash
    in between, a QEMU that stands still and this mark say the same as a dead one."""
    arrived: Callable[[], bool]
    """Whether the destination's libvirt keeps its copy whatever happens to that libvirt from now on. May wait a little."""

    def fence(self, ran_again: bool) -> Fence:
        """`ran_again`: a RESUMED event of the source has come already."""
        if self.process is None or ran_again:
            return self._judge(self.asker.ask(ASK_LIMIT_S), ran_again)
        stopped = self.process.stop(STOP_LIMIT_S)
        if not stopped and not self.process.has_ended():
            self.process.resume()
            return Fence.UNKNOWN
        reached("handover.stopped")
        answer = self.asker.ask(ASK_LIMIT_S) if stopped else None
        fence = self._judge(answer, False)
        if fence in (Fence.DEAD, Fence.WORD):
            reached("handover.judged")
            if fence is Fence.DEAD and not self.arrived():
                self.process.resume()
                return Fence.NOT_ARRIVED
            if fence is Fence.DEAD:
                self.commit()
            self.process.kill()
        else:
            self.process.resume()
        return fence

    def _judge(self, answer: tuple[int, int] | libvirt.libvirtError | None, ran_again: bool) -> Fence:
        """What libvirt's answer about a source that stands still means."""
        if ran_again:
            return Fence.RAN_AGAIN
        if answer is None:
            return Fence.WORD
        if isinstance(answer, libvirt.libvirtError):
            return Fence.WORD if answer.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN else Fence.UNKNOWN
        if answer in self.expected:
            return Fence.DEAD if self.process is not None else Fence.WORD
        if answer[0] in _ENDING:
            return Fence.WORD
        return Fence.STANDS if answer[0] == libvirt.VIR_DOMAIN_PAUSED else Fence.RAN_AGAIN
