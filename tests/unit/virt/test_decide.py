"""The table of DESIGN (Reconciliation), row by row, and what must hold for every pair."""

import dataclasses
import itertools

import pytest

from nova_blockmigrate.objects import Copy, Observation
from nova_blockmigrate.virt.libvirt.decide import Action, decide

ROWS = [
    (Copy.RUNNING_JOB, Copy.INCOMING, Action.WATCH),
    (Copy.PAUSED_MIGRATION_JOB, Copy.PAUSED_COMPLETE, Action.WATCH),
    (Copy.RUNNING, Copy.ABSENT, Action.ROLL_BACK),
    (Copy.RUNNING, Copy.SHUT_OFF, Action.ROLL_BACK),
    (Copy.RUNNING, Copy.INCOMING, Action.DESTROY_DESTINATION),
    (Copy.RUNNING, Copy.PAUSED_COMPLETE, Action.DESTROY_DESTINATION),
    (Copy.RUNNING, Copy.UNREACHABLE, Action.ROLL_BACK),
    (Copy.PAUSED_BY_USER, Copy.ABSENT, Action.ROLL_BACK),
    (Copy.PAUSED_BY_USER, Copy.PAUSED_COMPLETE, Action.DESTROY_DESTINATION),
    (Copy.PAUSED_MIGRATION, Copy.ABSENT, Action.RESUME_SOURCE),
    (Copy.PAUSED_MIGRATION, Copy.INCOMING, Action.RESUME_SOURCE),
    (Copy.PAUSED_MIGRATION, Copy.PAUSED_COMPLETE, Action.FENCE_AND_RESUME),
    (Copy.PAUSED_MIGRATION, Copy.RUNNING, Action.FENCE_AND_FINISH),
    (Copy.PAUSED_MIGRATION, Copy.UNREACHABLE, Action.RESUME_SOURCE),
    (Copy.ABSENT, Copy.PAUSED_COMPLETE, Action.RESUME_DESTINATION),
    (Copy.MIGRATED_AWAY, Copy.PAUSED_COMPLETE, Action.RESUME_DESTINATION),
    (Copy.ABSENT, Copy.RUNNING, Action.FINISH),
    (Copy.MIGRATED_AWAY, Copy.RUNNING, Action.FINISH),
    (Copy.ABSENT, Copy.SHUT_OFF, Action.FINISH),
    (Copy.ABSENT, Copy.ABSENT, Action.ROLL_BACK),
    (Copy.MIGRATED_AWAY, Copy.ABSENT, Action.WAIT),
    (Copy.SHUT_OFF, Copy.INCOMING, Action.DESTROY_DESTINATION),
    (Copy.SHUT_OFF, Copy.ABSENT, Action.ROLL_BACK),
    (Copy.CRASHED, Copy.PAUSED_COMPLETE, Action.DESTROY_DESTINATION),
    (Copy.RUNNING, Copy.RUNNING, Action.ALARM),
    (Copy.UNREACHABLE, Copy.PAUSED_COMPLETE, Action.WAIT),
    (Copy.UNREACHABLE, Copy.RUNNING, Action.WAIT),
]
FENCED_ROWS = [
    (Copy.SHUT_OFF, Copy.PAUSED_COMPLETE, Action.RESUME_DESTINATION),
    (Copy.CRASHED, Copy.PAUSED_COMPLETE, Action.RESUME_DESTINATION),
    (Copy.CRASHED, Copy.RUNNING, Action.FINISH),
    (Copy.ABSENT, Copy.SHUT_OFF, Action.FINISH),
    (Copy.ABSENT, Copy.ABSENT, Action.WAIT),
    (Copy.PAUSED_MIGRATION, Copy.PAUSED_COMPLETE, Action.RESUME_DESTINATION),
    (Copy.PAUSED_MIGRATION_JOB, Copy.RUNNING, Action.FINISH),
    (Copy.PAUSED_MIGRATION, Copy.UNREACHABLE, Action.WAIT),
    (Copy.RUNNING, Copy.RUNNING, Action.ALARM),
]
NEVER_RAN_ROWS = [
    (Copy.CRASHED, Copy.ABSENT, Action.ROLL_BACK),
    (Copy.CRASHED, Copy.SHUT_OFF, Action.ROLL_BACK),
    (Copy.ABSENT, Copy.CRASHED, Action.ROLL_BACK),
    (Copy.PAUSED_MIGRATION, Copy.INCOMING, Action.DESTROY_DESTINATION),
    (Copy.CRASHED, Copy.PAUSED_COMPLETE, Action.RESUME_DESTINATION),
    (Copy.CRASHED, Copy.UNREACHABLE, Action.WAIT),
]
ALARMED_ROWS = [
    (Copy.RUNNING, Copy.PAUSED_COMPLETE, Action.WAIT),
    (Copy.PAUSED_BY_USER, Copy.RUNNING, Action.WAIT),
    (Copy.PAUSED_BY_USER, Copy.PAUSED_COMPLETE, Action.WAIT),
    (Copy.PAUSED_BY_USER, Copy.ABSENT, Action.WAIT),
    (Copy.SHUT_OFF, Copy.PAUSED_COMPLETE, Action.WAIT),
    (Copy.ABSENT, Copy.PAUSED_COMPLETE, Action.WAIT),
    (Copy.RUNNING, Copy.UNREACHABLE, Action.WAIT),
    # a person has ended one of them, and lets the other one run
    (Copy.RUNNING, Copy.SHUT_OFF, Action.ROLL_BACK),
    (Copy.RUNNING, Copy.ABSENT, Action.ROLL_BACK),
    (Copy.SHUT_OFF, Copy.RUNNING, Action.FINISH),
    (Copy.ABSENT, Copy.RUNNING, Action.FINISH),
    # a person has let both run
    (Copy.RUNNING, Copy.RUNNING, Action.ALARM),
]
HALF, BROKEN = Copy.POST_COPY, Copy.POST_COPY_BROKEN
HALF_MOVED_ROWS = [
    (HALF, Copy.INCOMING, Action.WATCH),
    (HALF, HALF, Action.WATCH),
    (HALF, Copy.UNREACHABLE, Action.WAIT),
    (BROKEN, Copy.UNREACHABLE, Action.WAIT),
    (BROKEN, Copy.INCOMING, Action.WAIT),
    (BROKEN, HALF, Action.RECOVER),
    (HALF, BROKEN, Action.RECOVER),
    (BROKEN, BROKEN, Action.RECOVER),
    (HALF, Copy.RUNNING, Action.FENCE_AND_FINISH),
    (BROKEN, Copy.RUNNING, Action.FENCE_AND_FINISH),
    (Copy.CRASHED, HALF, Action.WAIT),
    (Copy.CRASHED, BROKEN, Action.GIVE_UP),
    (Copy.ABSENT, BROKEN, Action.GIVE_UP),
    (Copy.MIGRATED_AWAY, HALF, Action.WAIT),
    (Copy.MIGRATED_AWAY, BROKEN, Action.WAIT),
    (HALF, Copy.CRASHED, Action.WATCH),
    (BROKEN, Copy.CRASHED, Action.GIVE_UP),
    (BROKEN, Copy.ABSENT, Action.GIVE_UP),
    (Copy.UNREACHABLE, BROKEN, Action.WAIT),
    (Copy.RUNNING, HALF, Action.ALARM),
]
SWITCHED_ROWS = [
    (Copy.PAUSED_MIGRATION_JOB, Copy.RUNNING, Action.WATCH),
    (Copy.PAUSED_MIGRATION, Copy.RUNNING, Action.FENCE_AND_FINISH),
    (Copy.PAUSED_MIGRATION, Copy.UNREACHABLE, Action.WAIT),
    (Copy.PAUSED_MIGRATION, Copy.CRASHED, Action.GIVE_UP),
    (Copy.PAUSED_MIGRATION, Copy.INCOMING, Action.WAIT),
    (Copy.MIGRATED_AWAY, Copy.RUNNING, Action.FINISH),
    (Copy.MIGRATED_AWAY, Copy.SHUT_OFF, Action.FINISH),
    (Copy.CRASHED, Copy.ABSENT, Action.GIVE_UP),
    (Copy.RUNNING, Copy.RUNNING, Action.ALARM),
    (Copy.RUNNING, Copy.UNREACHABLE, Action.WAIT),
]
SELF_SWITCHING_ROWS = [
    (Copy.RUNNING_JOB, Copy.UNREACHABLE, Action.WATCH),
    (Copy.RUNNING, Copy.UNREACHABLE, Action.WAIT),
    (Copy.PAUSED_MIGRATION, Copy.UNREACHABLE, Action.WAIT),
    (Copy.SHUT_OFF, Copy.UNREACHABLE, Action.WAIT),
    (Copy.RUNNING, Copy.INCOMING, Action.DESTROY_DESTINATION),
    (Copy.PAUSED_MIGRATION, Copy.ABSENT, Action.RESUME_SOURCE),
    (Copy.PAUSED_MIGRATION, Copy.RUNNING, Action.FENCE_AND_FINISH),
]
SOURCES = [
    Observation(copy, fenced=fenced, alarmed=alarmed)
    for copy, fenced, alarmed in itertools.product(Copy, (False, True), (False, True))
]
DESTINATIONS = [Observation(copy, never_ran=never_ran) for copy, never_ran in itertools.product(Copy, (False, True))]
PAIRS = list(itertools.product(SOURCES, DESTINATIONS))
EXECUTES = {Copy.RUNNING, Copy.RUNNING_JOB}
STARTS = {Action.RESUME_SOURCE, Action.RESUME_DESTINATION, Action.FENCE_AND_RESUME}
DESTROYS = {Action.DESTROY_DESTINATION, Action.FENCE_AND_RESUME, Action.FENCE_AND_FINISH}
HALF_MOVED = {HALF, BROKEN}


@pytest.mark.parametrize(("source", "destination", "action"), ROWS)
def test_each_row_of_the_table(source: Copy, destination: Copy, action: Action) -> None:
    assert decide(Observation(source), Observation(destination)) is action


@pytest.mark.parametrize(("source", "destination", "action"), FENCED_ROWS)
def test_each_row_for_a_source_that_was_fenced(source: Copy, destination: Copy, action: Action) -> None:
    assert decide(Observation(source, fenced=True), Observation(destination)) is action


@pytest.mark.parametrize(("source", "destination", "action"), NEVER_RAN_ROWS)
def test_a_destination_lost_before_it_ever_ran_leaves_the_sources_disks_the_last_word(
    source: Copy, destination: Copy, action: Action
) -> None:
    assert decide(Observation(source, fenced=True), Observation(destination, never_ran=True)) is action


def test_it_is_the_same_when_libvirt_gave_the_source_up_by_itself() -> None:
    lost = Observation(Copy.ABSENT, never_ran=True)
    assert decide(Observation(Copy.MIGRATED_AWAY), lost) is Action.ROLL_BACK


@pytest.mark.parametrize(("source", "destination", "action"), ALARMED_ROWS)
@pytest.mark.parametrize("fenced", [False, True])
def test_after_an_alarm_a_person_decides(source: Copy, destination: Copy, action: Action, fenced: bool) -> None:
    assert decide(Observation(source, fenced=fenced, alarmed=True), Observation(destination)) is action


@pytest.mark.parametrize(("source", "destination", "action"), HALF_MOVED_ROWS)
@pytest.mark.parametrize("switched", [False, True], ids=["seen by libvirt's word only", "journalled"])
def test_each_row_for_a_guest_whose_memory_follows_it(source: Copy, destination: Copy, action: Action, switched: bool) -> None:
    assert decide(Observation(source, self_switching=True, switched=switched), Observation(destination)) is action


@pytest.mark.parametrize(("source", "destination", "action"), SWITCHED_ROWS)
def test_each_row_for_a_guest_that_was_seen_running_at_its_destination(source: Copy, destination: Copy, action: Action) -> None:
    assert decide(Observation(source, self_switching=True, switched=True), Observation(destination)) is action


@pytest.mark.parametrize(("source", "destination", "action"), SELF_SWITCHING_ROWS)
def test_a_destination_out_of_reach_may_run_where_libvirt_switches_by_itself(
    source: Copy, destination: Copy, action: Action
) -> None:
    assert decide(Observation(source, self_switching=True), Observation(destination)) is action


def test_once_the_destination_was_seen_running_the_guest_never_goes_back() -> None:
    for source, destination in PAIRS:
        if not source.alarmed:
            action = decide(dataclasses.replace(source, self_switching=True, switched=True), destination)
            assert action not in (Action.RESUME_SOURCE, Action.ROLL_BACK, Action.DESTROY_DESTINATION, Action.FENCE_AND_RESUME)


def test_neither_half_of_a_guest_is_ended_while_the_other_may_live() -> None:
    for source, destination in PAIRS:
        action = decide(dataclasses.replace(source, self_switching=True), destination)
        if source.copy in HALF_MOVED and destination.copy in HALF_MOVED and not source.fenced and not source.alarmed:
            assert action in (Action.WATCH, Action.RECOVER)
        if destination.copy in HALF_MOVED:
            assert action not in (Action.FENCE_AND_FINISH, Action.FENCE_AND_RESUME)
        if action is Action.GIVE_UP:
            source_is_dead = source.fenced or source.copy in (Copy.ABSENT, Copy.SHUT_OFF, Copy.CRASHED)
            assert source_is_dead or destination.copy not in {*EXECUTES, *HALF_MOVED, Copy.UNREACHABLE}


def test_the_destination_starts_only_when_the_source_cannot_run() -> None:
    for source, destination in PAIRS:
        action = decide(source, destination)
        if action is Action.RESUME_DESTINATION:
            assert source.copy in (Copy.ABSENT, Copy.MIGRATED_AWAY) or (source.fenced and source.copy not in EXECUTES)
        if action is Action.FENCE_AND_RESUME:
            assert source.copy in (Copy.PAUSED_MIGRATION, Copy.INCOMING)


def test_the_source_starts_only_when_the_destination_cannot_run() -> None:
    for source, destination in PAIRS:
        if decide(source, destination) is Action.RESUME_SOURCE:
            assert destination.copy not in {*EXECUTES, Copy.PAUSED_COMPLETE, Copy.PAUSED_BY_USER}
            assert not source.fenced


def test_a_running_copy_is_never_destroyed_or_fenced() -> None:
    for source, destination in PAIRS:
        action = decide(source, destination)
        if destination.copy in EXECUTES:
            assert action not in (Action.DESTROY_DESTINATION, Action.RESUME_SOURCE, Action.ROLL_BACK)
        if source.copy in EXECUTES:
            assert action not in (Action.FENCE_AND_RESUME, Action.FENCE_AND_FINISH, Action.FINISH)


def test_both_halves_of_a_guest_that_somebody_moves_by_post_copy_are_left_alone() -> None:
    for source, destination in PAIRS:
        if {source.copy, destination.copy} & {Copy.POST_COPY, Copy.POST_COPY_BROKEN}:
            assert decide(source, destination) is Action.WAIT


def test_what_cannot_be_seen_is_neither_started_nor_destroyed() -> None:
    for source, destination in PAIRS:
        action = decide(source, destination)
        if source.copy is Copy.UNREACHABLE:
            assert action is Action.WAIT
        if destination.copy is Copy.UNREACHABLE:
            assert action not in {Action.RESUME_DESTINATION, Action.DESTROY_DESTINATION, Action.FINISH, *DESTROYS}


def test_nothing_is_started_or_destroyed_after_an_alarm() -> None:
    for source, destination in PAIRS:
        if source.alarmed:
            assert decide(source, destination) not in STARTS | DESTROYS


def test_a_source_that_was_fenced_gets_its_guest_back_only_when_the_other_copy_never_ran() -> None:
    for source, destination in PAIRS:
        if source.fenced and source.copy not in EXECUTES and not destination.never_ran:
            assert decide(source, destination) not in (Action.ROLL_BACK, Action.DESTROY_DESTINATION, Action.RESUME_SOURCE)


@pytest.mark.parametrize("destination", [Copy.SHUT_OFF, Copy.CRASHED])
@pytest.mark.parametrize("source", [Copy.ABSENT, Copy.MIGRATED_AWAY])
def test_a_guest_that_ended_on_the_destination_does_not_go_back_to_stale_disks(source: Copy, destination: Copy) -> None:
    assert decide(Observation(source, fenced=True), Observation(destination)) is Action.FINISH
