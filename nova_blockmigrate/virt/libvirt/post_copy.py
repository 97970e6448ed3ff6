"""Transfers that may go on by post-copy: libvirt switches these by itself, and the memory may follow the guest.

Such a transfer cannot be begun with VIR_MIGRATE_PAUSED, so the handover with its proof is not to be had: libvirt lets the
destination run, and would let the source run again if the answer to that were lost. What is done instead is in `migration.py`:
as soon as the destination is heard to run, that is written down, and the source is fenced, unless it must serve the memory.

Measured with libvirt 9.0 and QEMU 7.2. In post-copy the source is paused/POSTCOPY, the destination running/POSTCOPY. When the two
libvirts lose each other for half a minute the source becomes paused/POSTCOPY_FAILED, though QEMU's own stream lives on (TCP is
patient): libvirt then refuses to restore it, and ends both sides rightly when QEMU is done. Only when QEMU has given the stream up
the destination is running/POSTCOPY_FAILED (virtual CPUs stand where they need a page), and VIR_MIGRATE_POSTCOPY_RESUME is what
restores it. That cannot succeed while the destination's QEMU waits for a page in its main loop: its monitor is silent then.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import libvirt
import libvirt_qemu

from nova_blockmigrate.concurrency import native
from nova_blockmigrate.objects import Copy, Observation
from nova_blockmigrate.threads import Task, call_within
from nova_blockmigrate.virt.libvirt.host import Host, close_connection
from nova_blockmigrate.virt.libvirt.observe import classify

WARNING = (
    "[libvirt] live_migration_permit_post_copy is on: libvirt switches every running guest that leaves this host by itself, as it "
    "cannot combine post-copy with a destination that waits. That a guest never runs on two hosts is not proven for these: when "
    "the network between the hosts fails in the moment of the switch, both may run until it is noticed. And a guest whose source "
    "or destination dies while its memory follows is lost as a running guest. See doc/failure.rst."
)
SWITCHES_ITSELF, SWITCHED = "switches itself", "switched"
"""Marks in the journal: the transfer was begun like that; the destination was seen running, so the source never runs again."""
HALF_MOVED = frozenset({Copy.POST_COPY, Copy.POST_COPY_BROKEN})
DEAD = frozenset({Copy.ABSENT, Copy.SHUT_OFF, Copy.CRASHED})
"""A source that has the guest's memory no more, without a word of its libvirt that all of it has gone."""
HALF_LOST = "the guest has ended: one of its two hosts lost its half of it while its memory followed it"
ANSWER_S = 3.0
"""A stream that cannot be restored is refused within this time; else the call lasts until all memory has gone."""
SILENCE_S = 6.0
"""How long a destination's QEMU is waited for whose source is dead, each time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
COMPLETED = "completed"
_BROKEN = "postcopy-paused"
_STREAM_LIVES = frozenset({"postcopy-active", "postcopy-recover", COMPLETED})
_ENDED = frozenset({Copy.SHUT_OFF, Copy.CRASHED, Copy.MIGRATED_AWAY})
_GONE = {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID}


def is_half_moved(domain: Any) -> bool:
    """Whether the source's domain has left by post-copy, whether its memory flows or not."""
    return _copy(domain) in HALF_MOVED


def stream_state(host: Host, uuid: str, limit_s: float = ANSWER_S) -> str:
    """QEMU's name for the state of the memory stream that leaves a source, or comes to a destination.

    :raises TimeoutError: QEMU does not answer.
    """
    domain = host.domain(uuid)
    question = json.dumps({"execute": "query-migrate"})
    with host.errors("ask QEMU for its memory stream"):
        answer = json.loads(call_within(limit_s, lambda: libvirt_qemu.qemuMonitorCommand(domain, question, 0)))
    return str(answer.get("return", {}).get("status", ""))


def lost_half(destination: Host, uuid: str, half: Observation) -> Observation:
    """A destination's half whose source is dead, as its QEMU knows it: broken, though libvirt may not have heard of that.

    QEMU cannot tell libvirt, or answer, while its main loop waits for a page that will never come; with all its memory it answers.
    """
    if half.copy is not Copy.POST_COPY:
        return half
    try:
        is_broken = stream_state(destination, uuid, SILENCE_S) == _BROKEN
    except TimeoutError:
        is_broken = True
    return dataclasses.replace(half, copy=Copy.POST_COPY_BROKEN) if is_broken else half


def _copy(domain: Any) -> Copy:
    state, reason = domain.state()
    return classify(state, reason, job_active=False, is_destination=False)


# --- a broken stream ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Stream:
    """How the memory stream of one guest is restored: by the call that began it, with one flag more."""

    source: Host
    uuid: str
    uri: str
    parameters: dict[str, Any]
    flags: int

    def restore(self) -> str:
        """See that the memory flows; why it does not, in words, or "". One attempt is made at a time, with longer and longer pauses
        in between."""
        if self.lives():
            return ""
        attempt = _attempts.get(self.uuid)
        if attempt is None or attempt.may_be_repeated:
            attempt = _attempts[self.uuid] = _Attempt(self, attempt)
        attempt.task.wait(ANSWER_S)
        return "" if self.lives() else attempt.trouble or "libvirt is about to restore the memory stream"

    def lives(self) -> bool:
        """QEMU's own word: libvirt may have given up what its QEMU has not.

        :raises TimeoutError: QEMU does not answer.
        """
        return stream_state(self.source, self.uuid) in _STREAM_LIVES

    def resume(self) -> None:
        connection = self.source.open()
        try:
            domain = connection.lookupByUUIDString(self.uuid)
            domain.migrateToURI3(self.uri, self.parameters, self.flags | libvirt.VIR_MIGRATE_POSTCOPY_RESUME)
        finally:
            close_connection(connection)


class _Attempt:
    """One call; it lasts as long as the memory flows, whoever made it."""

    def __init__(self, stream: Stream, before: _Attempt | None) -> None:
        self.trouble = ""
        self.pause_s: float = FIRST_PAUSE_S if before is None else min(before.pause_s * 2, LONGEST_PAUSE_S)
        self._stream, self._not_before = stream, 0.0
        self.task = Task("restore-stream", self._run)

    @property
    def may_be_repeated(self) -> bool:
        return self.task.wait(0) and native.time.monotonic() >= self._not_before

    def _run(self) -> None:
        try:
            self._stream.resume()
        except Exception as error:  # noqa: BLE001 - the border of a thread: who asks next hears of it
            self.trouble = f"the memory stream is broken and cannot be restored yet: {error}"
        self._not_before = native.time.monotonic() + self.pause_s


_attempts: dict[str, _Attempt] = {}
"""The last attempt for each guest, by its UUID."""


def forget(uuid: str) -> None:
    """The guest's transfer is over."""
    _attempts.pop(uuid, None)


# --- a half that is done, or dead -------------------------------------------------------------------------------------


def end_half(host: Host, uuid: str) -> None:
    """Kill what is left of a guest whose other half is dead; where there is nothing, nothing is done.

    :raises HypervisorError: it runs whole: then it is no half.
    """
    domain = host.find_domain(uuid)
    if domain is None:
        return
    with host.errors("end the half of a guest whose other half is dead"):
        try:
            copy = _copy(domain)
            if copy in _ENDED:
                return
            if copy is Copy.RUNNING:
                raise libvirt.libvirtError(f"{domain.name()} runs on {host.name}")
            domain.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _GONE:
                raise


def keep_known(host: Host, uuid: str, xml: str) -> None:
    """See that the destination, whose disks are the last word, knows a guest that died before libvirt had made it persistent."""
    if host.find_domain(uuid) is None:
        with host.errors("define the guest that has ended"):
            host.connection().defineXML(xml)
