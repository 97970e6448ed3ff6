"""A migration from the call to the verdict, for each order in which its events may come; libvirt is a dictionary."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import pytest

from nova_blockmigrate.exceptions import HypervisorUnavailable
from nova_blockmigrate.objects import PowerState, PreparedDestination, TransferOutcome, Verdict
from nova_blockmigrate.threads import Task
from nova_blockmigrate.virt.driver import TRANSFER
from nova_blockmigrate.virt.libvirt import migration as subject
from nova_blockmigrate.virt.libvirt.handover import PAUSED_BY_IO_ERROR, Fence
from nova_blockmigrate.virt.libvirt.links import DESTINATION, SOURCE
from nova_blockmigrate.virt.libvirt.migration import AUTOSTART, FENCED, PAUSED_BEFORE, PAUSED_BY_QEMU, RAN_BEFORE, LiveMigration
from nova_blockmigrate.virt.libvirt.qemu_process import QemuProcess
from nova_blockmigrate.virt.libvirt.settle import REFUSED
from nova_blockmigrate.virt.libvirt.transfer import TransferSettings
from tests.unit.virt.hosts import (
    GUEST,
    PAUSED_BY_MIGRATION,
    PAUSED_BY_USER,
    PLAN,
    RUNNING,
    FakeHost,
    Journal,
    State,
    error_of,
)

PAUSED_GUEST = dataclasses.replace(GUEST, power_state=PowerState.PAUSED)
SUSPENDED = (SOURCE, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED, 1.0)
RESUMED = (SOURCE, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED, 2.0)
STOPPED = (SOURCE, libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED, 3.0)
COMPLETE = (DESTINATION, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED, 1.5)
DISK_FULL = (SOURCE, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR, 1.0)
RETURNED = ("returned", None, 4.0)
FAILED = ("returned", libvirt.libvirtError("it broke"), 4.0)
NOT_LINKED = ("not linked", HypervisorUnavailable(host="b", uri="", reason="no route"), 1.0)
Item = tuple[Any, ...]


class Control:
    """`virt.driver.TransferControl`; `aborts`: its user has called it off."""

    def __init__(self, journal: Journal, aborts: bool = False) -> None:
        self.journal, self.abort_requested, self.abort_reason = journal, aborts, "its user" if aborts else ""

    destination_is_dead = False

    def mark(self, name: str) -> None: ...


class Side:
    def __init__(self, host: FakeHost) -> None:
        self.host = host

    def domain(self, caller: str = "") -> Any:
        return self.host.find_domain("")


class Links:
    """Both sides at once; what happens is in the queue already."""

    def __init__(self, source: FakeHost, destination: FakeHost) -> None:
        self.source, self.destination = Side(source), Side(destination)

    def link_again(self) -> None: ...

    def close(self) -> None: ...


class Steering:
    def __init__(self) -> None:
        self.aborted = self.yanked = False
        self.timed_out, self.asked = "", []  # type: str, list[str]

    def abort(self, limit_s: float = 0.0) -> None:
        self.asked.append("abort")

    def end(self) -> None: ...


class Asker:
    def __init__(self, answer: State | libvirt.libvirtError | None) -> None:
        self.answer = answer

    def ask(self, _limit_s: float) -> Any:
        return self.answer

    def close(self) -> None: ...


@dataclasses.dataclass
class Play:
    """One migration whose events are given; its parts, for looking at afterwards."""

    migration: LiveMigration
    source: FakeHost
    destination: FakeHost
    journal: Journal
    steering: Steering
    settled: list[str] = dataclasses.field(default_factory=list)


@pytest.fixture
def process() -> Iterator[QemuProcess]:
    """A real process in place of the source's QEMU."""
    sleeper = subprocess.Popen(["sleep", "60"])
    held = QemuProcess(sleeper.pid, os.pidfd_open(sleeper.pid))
    yield held
    sleeper.kill()
    sleeper.wait()
    held.close()


@pytest.fixture
def play(process: QemuProcess, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Play]:
    for name in ("PAUSE_LOOK_S", "EVENT_LIMIT_S"):
        monkeypatch.setattr(subject, name, 0.05)
    monkeypatch.setattr(subject, "WORD_LIMIT_S", 0.5)

    def make(*items: Item, answer: Any = PAUSED_BY_MIGRATION, guest: Any = GUEST, marks: tuple[str, ...] = (TRANSFER,)) -> Play:
        source, destination = FakeHost("a", PAUSED_BY_MIGRATION), FakeHost("b", PAUSED_BY_USER)
        journal, steering = Journal(*marks), Steering()
        hosts: list[Any] = [source, destination]
        control: Any = Control(journal)
        settings, prepared = TransferSettings("qemu+tcp://%s/system", 0, 0), PreparedDestination("b")
        migration = LiveMigration(*hosts, settings, PLAN, guest, prepared, control)
        played = Play(migration, source, destination, journal, steering)
        acting: Any = migration
        acting._links, acting._steering = Links(source, destination), steering
        acting._asker, acting._process = Asker(answer), process
        for item in items:
            acting._queue.put(item)

        def settle(error: str) -> TransferOutcome:
            played.settled.append(error)
            return TransferOutcome(Verdict.UNDECIDED, error)

        monkeypatch.setattr(migration, "_settle", settle)
        return played

    return make


# --- from the first event to the handover, or not -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "items",
    [
        [SUSPENDED, COMPLETE],
        [COMPLETE],  # the source's events come over another connection
        [COMPLETE, SUSPENDED],
        [("linked", None, 1.0)],  # it was complete before its events could be seen
        [SUSPENDED, RESUMED, SUSPENDED, COMPLETE],
        [SUSPENDED, COMPLETE, STOPPED, RETURNED],
    ],
    ids=lambda items: " ".join(map(str, [item[:2] for item in items])),
)
def test_a_complete_copy_is_handed_over_in_whatever_order_that_is_heard(
    play: Callable[..., Play], process: QemuProcess, items: list[Item]
) -> None:
    one = play(*items)
    outcome = one.migration._watch()
    assert (outcome.verdict, one.destination.done) == (Verdict.HANDED_OVER, ["resume"])
    assert process.never_runs_again() and one.journal.has(FENCED)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([FAILED], "it broke"),
        ([SUSPENDED, FAILED], "it broke"),
        ([("job over", None, 1.0)], ""),
        ([NOT_LINKED, FAILED], "it broke"),
    ],
)
def test_a_transfer_that_ends_without_a_complete_copy_is_settled(
    play: Callable[..., Play], process: QemuProcess, items: list[Item], words: str
) -> None:
    one = play(*items)
    one.migration._watch()
    assert one.settled == [words]
    assert not process.has_ended() and one.destination.done == []


def test_without_a_view_of_the_destination_the_transfer_is_aborted(play: Callable[..., Play]) -> None:
    one = play(NOT_LINKED, FAILED)
    one.migration._watch()
    assert one.steering.asked == ["abort"]


# --- the switch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "answer"),
    [
        ([RESUMED], PAUSED_BY_MIGRATION),  # it has run again, whatever libvirt says now
        ([], RUNNING),
        ([], libvirt.libvirtError("out of order")),
        ([], PAUSED_BY_IO_ERROR),  # so may have run
    ],
    ids=["resumed", "runs", "cannot be asked", "its disk is full"],
)
def test_a_source_that_may_run_is_neither_killed_nor_is_the_destination_let_run(
    play: Callable[..., Play], process: QemuProcess, items: list[Item], answer: Any
) -> None:
    one = play(SUSPENDED, *items, answer=answer)
    one.migration._take_in_all()
    one.migration._hand_over()
    assert len(one.settled) == 1 and one.destination.done == []
    assert not process.has_ended() and not process.is_stopped()
    assert not one.journal.has(FENCED)


def test_a_destination_that_has_not_ended_its_part_is_not_let_run(play: Callable[..., Play], process: QemuProcess) -> None:
    one = play(SUSPENDED)
    one.destination.domain_here = None
    one.migration._take_in_all()
    one.migration._hand_over()
    assert len(one.settled) == 1 and not process.has_ended() and not one.journal.has(FENCED)


@pytest.mark.parametrize(
    ("error", "journalled"),
    [(error_of(libvirt.VIR_ERR_OPERATION_FAILED), True), (error_of(libvirt.VIR_ERR_RPC, "connection closed"), False)],
    ids=["refused", "no answer"],
)
def test_only_a_refusal_means_that_the_copy_never_ran(
    play: Callable[..., Play], error: libvirt.libvirtError, journalled: bool
) -> None:
    one = play(SUSPENDED, COMPLETE)
    assert one.destination.domain_here is not None
    one.destination.domain_here.refuses["resume"] = error
    one.migration._watch()
    assert len(one.settled) == 1
    assert one.journal.has(REFUSED) is journalled


@pytest.mark.parametrize(("items", "words"), [([DISK_FULL], f"{PAUSED_BY_QEMU}; it broke"), ([DISK_FULL, RESUMED], "it broke")])
def test_a_guest_whose_disk_stops_it_is_said_to_be_stopped_by_that(
    play: Callable[..., Play], items: list[Item], words: str
) -> None:
    one = play(*items)
    one.migration._take_in_all()
    assert one.migration._why("it broke") == words


@pytest.mark.parametrize("by", [PAUSED_BY_USER, PAUSED_BY_IO_ERROR], ids=["its user", "an error of its disk"])
def test_a_guest_that_was_paused_is_switched_and_stays_paused(
    play: Callable[..., Play], process: QemuProcess, by: tuple[int, int]
) -> None:
    one = play(COMPLETE, answer=by, guest=PAUSED_GUEST)
    outcome = one.migration._watch()
    assert (outcome.verdict, outcome.power_state) == (Verdict.HANDED_OVER, PowerState.PAUSED)
    assert one.destination.done == [] and process.never_runs_again()


@pytest.mark.parametrize(
    ("items", "is_dead", "fence"),
    [
        ([STOPPED], True, Fence.DEAD),
        ([RETURNED], True, Fence.DEAD),
        ([RESUMED], False, Fence.RAN_AGAIN),
        ([RESUMED, STOPPED, RETURNED], True, Fence.RAN_AGAIN),
        ([FAILED, STOPPED], True, Fence.DEAD),  # the error may come before the event
        ([FAILED], True, Fence.UNKNOWN),
        ([FAILED], False, Fence.UNKNOWN),
        ([], True, Fence.UNKNOWN),
    ],
)
def test_libvirts_word_about_a_source_that_it_is_ending(
    play: Callable[..., Play], process: QemuProcess, items: list[Item], is_dead: bool, fence: Fence
) -> None:
    one = play(SUSPENDED, *items)
    if is_dead:
        process.kill()
    assert one.migration._await_word() is fence


# --- before the transfer ------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The journal as libvirt is called."""
    calls: list[tuple[str, ...]] = []

    def start(domain: Any, uri: str, chosen: Any, flags: int, queue: Any) -> Task:
        calls.append(tuple(domain._host.journal.marks))
        return Task("over", lambda: None)

    monkeypatch.setattr(subject.transfer, "start", start)
    return calls


def begin(
    monkeypatch: pytest.MonkeyPatch, state: State, autostart: int = 0, outcome: Verdict = Verdict.STAYED, checked: Any = GUEST
) -> tuple[FakeHost, Journal, LiveMigration]:
    source, destination, journal = FakeHost("a", state), FakeHost("b"), Journal()
    assert source.domain_here is not None
    source.domain_here.starts_at_boot = autostart
    source.journal = journal  # type: ignore[attr-defined]
    hosts: list[Any] = [source, destination]
    control: Any = Control(journal)
    settings = TransferSettings("qemu+tcp://%s/system", 0, 0)
    migration = LiveMigration(*hosts, settings, PLAN, checked, PreparedDestination("b"), control)
    monkeypatch.setattr(migration, "_link", lambda: setattr(migration, "_links", Links(source, destination)))
    monkeypatch.setattr(migration, "_steer_and_watch", lambda watch_end: TransferOutcome(outcome))
    migration.run()
    return source, journal, migration


@pytest.mark.parametrize(("state", "mark", "was_paused"), [(RUNNING, RAN_BEFORE, False), (PAUSED_BY_USER, PAUSED_BEFORE, True)])
@pytest.mark.parametrize("checked", [GUEST, PAUSED_GUEST], ids=["ran when checked", "was paused when checked"])
def test_what_counts_is_the_guest_as_its_transfer_begins(
    monkeypatch: pytest.MonkeyPatch, begun: list[tuple[str, ...]], state: State, mark: str, was_paused: bool, checked: Any
) -> None:
    _, journal, migration = begin(monkeypatch, state, checked=checked)
    assert migration._was_paused is was_paused
    assert begun == [(mark, TRANSFER)]
    unused: Any = None
    control: Any = Control(journal.again())
    restarted = LiveMigration(unused, unused, unused, PLAN, checked, unused, control)
    restarted._recall_state()
    assert restarted._was_paused is was_paused


def test_a_guest_does_not_start_at_boot_while_it_moves_and_does_again_when_it_stays(
    monkeypatch: pytest.MonkeyPatch, begun: list[tuple[str, ...]]
) -> None:
    source, _, _ = begin(monkeypatch, RUNNING, autostart=1)
    assert source.done == ["autostart 0", "autostart 1"]
    assert begun == [(RAN_BEFORE, TRANSFER, AUTOSTART)]


def test_a_guest_that_has_moved_does_not_start_at_its_sources_boot(
    monkeypatch: pytest.MonkeyPatch, begun: list[tuple[str, ...]]
) -> None:
    source, _, _ = begin(monkeypatch, RUNNING, autostart=1, outcome=Verdict.HANDED_OVER)
    assert source.done == ["autostart 0"]


def test_a_guest_that_does_not_start_at_boot_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, begun: list[tuple[str, ...]]
) -> None:
    source, journal, _ = begin(monkeypatch, RUNNING)
    assert source.done == [] and not journal.has(AUTOSTART)
