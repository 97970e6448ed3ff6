"""What is done when a transfer did not end by the plain handover: on what two hosts say, with libvirt as a dictionary."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import libvirt
import pytest

from nova_blockmigrate.objects import PowerState, TransferOutcome, Verdict
from nova_blockmigrate.virt.libvirt import settle
from nova_blockmigrate.virt.libvirt.settle import ALARM, FENCED, REFUSED, RESUMING, Settlement, Situation
from nova_blockmigrate.virt.libvirt.transfer import HURRIED
from tests.unit.virt.hosts import (
    CRASHED,
    DESTROYED,
    GUEST,
    MIGRATED,
    PAUSED_BY_MIGRATION,
    PAUSED_BY_USER,
    PLAN,
    RUNNING,
    SHUT_DOWN,
    FakeHost,
    Journal,
    State,
    error_of,
)


@pytest.fixture(autouse=True)
def without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "PATIENCE_S", 0.0)
    monkeypatch.setattr(settle, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(settle.qemu_log, "was_migrated", lambda name: False)
    monkeypatch.setattr(settle.guests, "undefine", lambda domain: domain.undefineFlags(0))


class LivingProcess:
    """A QEMU that is not dead."""

    def never_runs_again(self) -> bool:
        return False


def reach(source: FakeHost, destination: FakeHost, journal: Journal, **values: Any) -> TransferOutcome:
    first: Any = source
    second: Any = destination
    guest = GUEST if not values.get("was_paused") else dataclasses.replace(GUEST, power_state=PowerState.PAUSED)
    situation = Situation(first, second, PLAN.server.uuid, PLAN.server.domain_name, guest, journal, **values)
    return Settlement(situation).reach()


@pytest.mark.parametrize(
    ("here", "there", "done_here", "done_there", "verdict"),
    [
        (RUNNING, None, [], [], Verdict.STAYED),
        (RUNNING, PAUSED_BY_USER, [], ["destroy", "undefine"], Verdict.STAYED),
        (RUNNING, PAUSED_BY_MIGRATION, [], ["destroy", "undefine"], Verdict.STAYED),
        (PAUSED_BY_MIGRATION, None, ["resume"], [], Verdict.STAYED),
        (PAUSED_BY_MIGRATION, PAUSED_BY_MIGRATION, ["resume"], ["destroy", "undefine"], Verdict.STAYED),
        (PAUSED_BY_USER, PAUSED_BY_USER, [], ["destroy", "undefine"], Verdict.STAYED),
        (MIGRATED, PAUSED_BY_USER, [], ["resume"], Verdict.HANDED_OVER),
        (None, PAUSED_BY_USER, [], ["resume"], Verdict.HANDED_OVER),
        (None, RUNNING, [], [], Verdict.HANDED_OVER),
        (MIGRATED, RUNNING, [], [], Verdict.HANDED_OVER),
        (MIGRATED, None, [], [], Verdict.UNDECIDED),
        (SHUT_DOWN, None, [], [], Verdict.STAYED),
        (SHUT_DOWN, PAUSED_BY_USER, [], ["destroy", "undefine"], Verdict.STAYED),
        (SHUT_DOWN, RUNNING, [], [], Verdict.HANDED_OVER),
        (CRASHED, PAUSED_BY_MIGRATION, [], ["destroy", "undefine"], Verdict.STAYED),
    ],
)
def test_what_is_done_on_what_the_hosts_say(
    here: State | None, there: State | None, done_here: list[str], done_there: list[str], verdict: Verdict
) -> None:
    source, destination = FakeHost("a", here), FakeHost("b", there)
    outcome = reach(source, destination, Journal())
    assert (source.done, destination.done, outcome.verdict) == (done_here, done_there, verdict)


@pytest.mark.parametrize("here", [RUNNING, PAUSED_BY_MIGRATION, PAUSED_BY_USER, MIGRATED, None])
def test_while_the_source_is_out_of_reach_nothing_is_done(here: State | None) -> None:
    source, destination = FakeHost("a", here), FakeHost("b", PAUSED_BY_USER)
    source.reachable = False
    outcome = reach(source, destination, Journal())
    assert (source.done, destination.done, outcome.verdict) == ([], [], Verdict.UNDECIDED)


def test_a_source_that_waits_is_ended_before_the_destination_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = FakeHost("a", PAUSED_BY_MIGRATION), FakeHost("b", PAUSED_BY_USER)
    journal = Journal()
    # its QEMU cannot be found, so libvirt is asked; the next look comes a moment later
    monkeypatch.setattr(settle, "PATIENCE_S", 5.0)
    monkeypatch.setattr(settle.QemuProcess, "find", lambda name, uuid: None)
    outcome = reach(source, destination, journal)
    assert outcome.verdict is Verdict.HANDED_OVER
    assert (source.done, destination.done) == (["destroy"], ["resume"])
    assert journal.has(FENCED)


@pytest.mark.parametrize("here", [PAUSED_BY_MIGRATION, PAUSED_BY_USER])
def test_a_source_that_waits_is_ended_when_the_destination_runs(monkeypatch: pytest.MonkeyPatch, here: State) -> None:
    source, destination = FakeHost("a", here), FakeHost("b", RUNNING)
    journal = Journal()
    monkeypatch.setattr(settle, "PATIENCE_S", 5.0)
    monkeypatch.setattr(settle.QemuProcess, "find", lambda name, uuid: None)
    outcome = reach(source, destination, journal)
    assert (outcome.verdict, source.done, destination.done) == (Verdict.HANDED_OVER, ["destroy"], [])
    assert journal.has(FENCED)


# --- an operator says that the destination is dead -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "marks", "done"), [(PAUSED_BY_MIGRATION, (), ["resume"]), (MIGRATED, (FENCED,), []), (SHUT_DOWN, (FENCED,), [])]
)
def test_the_guest_is_here_again_when_its_destination_is_dead(here: State, marks: tuple[str, ...], done: list[str]) -> None:
    source, destination = FakeHost("a", here), FakeHost("b", PAUSED_BY_USER)
    destination.reachable = False
    outcome = reach(source, destination, Journal(*marks), destination_is_dead=True)
    assert (outcome.verdict, source.done, destination.done) == (Verdict.STAYED, done, [])
    assert settle.LOST in outcome.reason


def test_a_guest_that_libvirt_has_forgotten_is_defined_again_when_its_destination_is_dead() -> None:
    source, destination, defined = FakeHost("a"), FakeHost("b", PAUSED_BY_USER), list[str]()
    source.connection = lambda: SimpleNamespace(defineXML=defined.append)  # type: ignore[attr-defined]
    destination.reachable = False
    outcome = reach(source, destination, Journal(FENCED), destination_is_dead=True)
    assert (outcome.verdict, outcome.power_state, defined) == (Verdict.STAYED, PowerState.SHUTDOWN, [GUEST.xml])


def test_nobody_has_to_believe_that_a_destination_is_dead_that_answers() -> None:
    source, destination = FakeHost("a", MIGRATED), FakeHost("b", RUNNING)
    outcome = reach(source, destination, Journal(FENCED), destination_is_dead=True)
    assert (outcome.verdict, source.done, destination.done) == (Verdict.HANDED_OVER, [], [])


def test_without_that_word_a_complete_copy_that_is_out_of_reach_is_waited_for() -> None:
    source, destination = FakeHost("a", MIGRATED), FakeHost("b", PAUSED_BY_USER)
    destination.reachable = False
    outcome = reach(source, destination, Journal(FENCED))
    assert (outcome.verdict, source.done, destination.done) == (Verdict.UNDECIDED, [], [])


def test_a_guest_that_was_paused_arrives_paused() -> None:
    source, destination = FakeHost("a", MIGRATED), FakeHost("b", PAUSED_BY_USER)
    outcome = reach(source, destination, Journal(), was_paused=True)
    assert (destination.done, outcome.power_state) == ([], PowerState.PAUSED)


# --- two running copies -------------------------------------------------------------------------------------------------


def test_a_second_copy_that_no_handover_let_run_is_suspended_and_nothing_is_deleted() -> None:
    source, destination, journal = FakeHost("a", RUNNING), FakeHost("b", RUNNING), Journal()
    outcome = reach(source, destination, journal)
    assert (source.done, destination.done, outcome.verdict) == ([], ["suspend"], Verdict.UNDECIDED)
    assert "a person" in outcome.reason and journal.has(ALARM)


def test_a_source_that_somebody_started_after_the_handover_is_the_second_copy() -> None:
    """Its QEMU is a new one, and lives: the journal tells which copy the handover let run."""
    source, destination = FakeHost("a", RUNNING), FakeHost("b", RUNNING)
    process: Any = LivingProcess()
    outcome = reach(source, destination, Journal(FENCED), process=process)
    assert (source.done, destination.done, outcome.verdict) == (["suspend"], [], Verdict.UNDECIDED)


@pytest.mark.parametrize("marks", [(), (FENCED,)])
def test_after_an_alarm_nothing_is_destroyed_or_started_also_by_a_restarted_service(marks: tuple[str, ...]) -> None:
    source, destination, journal = FakeHost("a", RUNNING), FakeHost("b", RUNNING), Journal(*marks)
    reach(source, destination, journal)
    source.done.clear()
    destination.done.clear()
    for _ in range(3):
        journal = journal.again()
        assert reach(source, destination, journal).verdict is Verdict.UNDECIDED
    assert (source.done, destination.done) == ([], [])


@pytest.mark.parametrize(
    ("here", "there", "verdict"),
    [(RUNNING, None, Verdict.STAYED), (RUNNING, DESTROYED, Verdict.STAYED), (DESTROYED, RUNNING, Verdict.HANDED_OVER)],
)
def test_a_person_decides_by_ending_one_copy_and_letting_the_other_one_run(
    here: State, there: State | None, verdict: Verdict
) -> None:
    source, destination = FakeHost("a", here), FakeHost("b", there)
    assert reach(source, destination, Journal(ALARM)).verdict is verdict
    assert (source.done, destination.done) == ([], [])


# --- a destination that does not let its copy run -----------------------------------------------------------------------


def test_a_copy_that_was_refused_and_then_lost_leaves_the_source_the_last_word_also_after_a_restart() -> None:
    source, destination = FakeHost("a", CRASHED), FakeHost("b", None)
    outcome = reach(source, destination, Journal(FENCED, REFUSED).again())
    assert (outcome.verdict, outcome.power_state) == (Verdict.STAYED, PowerState.CRASHED)


@pytest.mark.parametrize("marks", [(FENCED,), (FENCED, REFUSED, RESUMING), (REFUSED, FENCED)])
def test_a_copy_that_may_have_run_and_was_lost_is_not_rolled_back(marks: tuple[str, ...]) -> None:
    source, destination = FakeHost("a", CRASHED), FakeHost("b", None)
    assert reach(source, destination, Journal(*marks)).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("before", "code", "after"),
    [
        ((FENCED, REFUSED), libvirt.VIR_ERR_OPERATION_FAILED, REFUSED),
        ((FENCED, REFUSED), libvirt.VIR_ERR_RPC, RESUMING),  # the answer was lost: it may run
        ((FENCED,), libvirt.VIR_ERR_OPERATION_FAILED, FENCED),  # of the first try nothing is known
    ],
)
def test_a_refusal_counts_when_every_try_was_refused(before: tuple[str, ...], code: int, after: str) -> None:
    source, destination, journal = FakeHost("a", CRASHED), FakeHost("b", PAUSED_BY_USER), Journal(*before)
    assert destination.domain_here is not None
    destination.domain_here.refuses["resume"] = error_of(code)
    assert reach(source, destination, journal).verdict is Verdict.UNDECIDED
    assert journal.latest(FENCED, RESUMING, REFUSED) == after


# --- a guest that was paused to get to its end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "was_paused", "done"),
    [((HURRIED,), False, ["resume"]), ((HURRIED,), True, []), ((), False, [])],
    ids=["we paused it", "its user had", "its user did meanwhile"],
)
def test_a_guest_that_we_paused_goes_on_when_it_stays(marks: tuple[str, ...], was_paused: bool, done: list[str]) -> None:
    source, destination = FakeHost("a", PAUSED_BY_USER), FakeHost("b", None)
    outcome = reach(source, destination, Journal(*marks), was_paused=was_paused)
    assert (source.done, outcome.verdict) == (done, Verdict.STAYED)
    assert outcome.power_state is (PowerState.RUNNING if done else PowerState.PAUSED)
