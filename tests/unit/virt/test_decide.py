"""The table of DESIGN (Reconciliation), row by row, and what must hold for every pair."""

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
PAIRS = list(itertools.product(Copy, Copy, (False, True)))
EXECUTES = {Copy.RUNNING, Copy.RUNNING_JOB}


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


@pytest.mark.parametrize(("source", "destination", "fenced"), PAIRS)
def test_the_destination_starts_only_when_the_source_cannot_run(source: Copy, destination: Copy, fenced: bool) -> None:
    action = decide(Observation(source, fenced=fenced), Observation(destination))
    if action is Action.RESUME_DESTINATION:
        assert source in (Copy.ABSENT, Copy.MIGRATED_AWAY) or (fenced and source not in EXECUTES)
    if action is Action.FENCE_AND_RESUME:
        assert source in (Copy.PAUSED_MIGRATION, Copy.INCOMING)


@pytest.mark.parametrize(("source", "destination", "fenced"), PAIRS)
def test_the_source_starts_only_when_the_destination_cannot_run(source: Copy, destination: Copy, fenced: bool) -> None:
    if decide(Observation(source, fenced=fenced), Observation(destination)) is Action.RESUME_SOURCE:
        assert destination not in {*EXECUTES, Copy.PAUSED_COMPLETE, Copy.PAUSED_BY_USER}
        assert not fenced


@pytest.mark.parametrize(("source", "destination", "fenced"), PAIRS)
def test_a_running_copy_is_never_destroyed_or_fenced(source: Copy, destination: Copy, fenced: bool) -> None:
    action = decide(Observation(source, fenced=fenced), Observation(destination))
    if destination in EXECUTES:
        assert action not in (Action.DESTROY_DESTINATION, Action.RESUME_SOURCE, Action.ROLL_BACK)
    if source in EXECUTES:
        assert action not in (Action.FENCE_AND_RESUME, Action.FENCE_AND_FINISH, Action.FINISH)


@pytest.mark.parametrize(("destination", "fenced"), list(itertools.product(Copy, (False, True))))
def test_nothing_is_done_while_the_source_is_out_of_reach(destination: Copy, fenced: bool) -> None:
    assert decide(Observation(Copy.UNREACHABLE, fenced=fenced), Observation(destination)) is Action.WAIT


@pytest.mark.parametrize("destination", [Copy.SHUT_OFF, Copy.CRASHED])
@pytest.mark.parametrize("source", [Copy.ABSENT, Copy.MIGRATED_AWAY])
def test_a_guest_that_ended_on_the_destination_does_not_go_back_to_stale_disks(source: Copy, destination: Copy) -> None:
    assert decide(Observation(source, fenced=True), Observation(destination)) is Action.FINISH
