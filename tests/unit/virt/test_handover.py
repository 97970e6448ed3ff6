"""The fence: a source copy that is not proven to be over goes on, and one that is never runs again."""

import os
import subprocess

import libvirt
import pytest

from nova_blockmigrate.virt.libvirt import observe
from nova_blockmigrate.virt.libvirt.handover import PAUSED_BY_IO_ERROR, PAUSED_BY_MIGRATION, STOOD_BEFORE, Fence, Fencer
from nova_blockmigrate.virt.libvirt.qemu_process import QemuProcess

RUNNING = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED)
SHUT_OFF = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)


class AskerThatSays:
    """Stands for a libvirt that answers with what it was given."""

    def __init__(self, answer):
        self.answer = answer

    def ask(self, _limit_s):
        return self.answer


@pytest.fixture
def process():
    """A real process in place of a QEMU: what is signalled here is signals."""
    sleeper = subprocess.Popen(["sleep", "60"])
    held = QemuProcess(sleeper.pid, os.pidfd_open(sleeper.pid))
    yield held
    sleeper.kill()
    sleeper.wait()
    held.close()


def fencer(process, answer, arrived=True, expected=frozenset({PAUSED_BY_MIGRATION})):
    commits = []
    made = Fencer(process, AskerThatSays(answer), expected, lambda: commits.append(process.has_ended()), lambda: arrived)
    return made, commits


def test_a_source_that_waits_is_killed_after_it_is_on_disk_that_it_shall_be(process):
    made, commits = fencer(process, PAUSED_BY_MIGRATION)
    assert made.fence(ran_again=False) is Fence.DEAD
    assert commits == [False]
    assert process.ends_within(5)


def test_a_source_goes_on_when_the_destination_could_still_lose_its_copy(process):
    made, commits = fencer(process, PAUSED_BY_MIGRATION, arrived=False)
    assert made.fence(ran_again=False) is Fence.NOT_ARRIVED
    assert not commits and not process.has_ended() and not process.is_stopped()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RUNNING, Fence.RAN_AGAIN),
        (libvirt.libvirtError("no answer"), Fence.UNKNOWN),
        (PAUSED_BY_IO_ERROR, Fence.STANDS),  # it may have run after its copy was complete
    ],
    ids=["it runs again", "libvirt is out of order", "its disk is full"],
)
def test_a_source_goes_on_when_nothing_proves_that_it_is_over(process, answer, expected):
    made, commits = fencer(process, answer)
    assert made.fence(ran_again=False) is expected
    assert not commits and not process.has_ended() and not process.is_stopped()


def test_a_source_that_an_error_of_its_disk_had_paused_before_may_leave_it(process):
    made, commits = fencer(process, PAUSED_BY_IO_ERROR, expected=STOOD_BEFORE)
    assert made.fence(ran_again=False) is Fence.DEAD
    assert commits == [False] and process.ends_within(5)


@pytest.mark.parametrize("answer", [None, SHUT_OFF], ids=["libvirt holds the domain", "libvirt has ended it"])
def test_a_source_that_libvirt_is_ending_needs_its_word(process, answer):
    made, commits = fencer(process, answer)
    assert made.fence(ran_again=False) is Fence.WORD
    assert not commits and process.ends_within(5)


class IncomingDomain:
    """A complete copy, paused by its user as libvirt calls it; `error`: what asking for its job raises."""

    def __init__(self, error):
        self.error = error

    def state(self):
        return [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]

    def jobStats(self):
        if self.error is not None:
            raise self.error
        return {}


def error_of(code):
    error = libvirt.libvirtError("refused")
    error.err = (code, 0, "refused", 0, None, None, None, 0, 0)
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, True), (error_of(libvirt.VIR_ERR_OPERATION_UNSUPPORTED), False), (error_of(libvirt.VIR_ERR_OPERATION_INVALID), False)],
    ids=["over", "goes on", "has ended"],
)
def test_a_copy_is_complete_when_libvirt_has_ended_its_part(error, expected):
    assert observe.incoming_job_is_over(IncomingDomain(error)) is expected
