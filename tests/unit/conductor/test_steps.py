"""The table of steps holds together."""

from __future__ import annotations

from nova_blockmigrate.compute.migration import MigrationJobs
from nova_blockmigrate.conductor import steps
from nova_blockmigrate.conductor.live_migrate import LiveMigrateTask
from nova_blockmigrate.conductor.steps import STEPS, Where


def test_no_step_may_go_back_once_one_may_not() -> None:
    assert [step.may_go_back for step in STEPS] == sorted((step.may_go_back for step in STEPS), reverse=True)


def test_nothing_after_the_point_of_no_return_has_an_undo() -> None:
    assert not [step.name for step in STEPS if step.undo and not step.may_go_back]


def test_every_step_has_its_work_and_every_job_of_a_host_exists_there() -> None:
    for step in STEPS:
        assert step.status.is_final or hasattr(LiveMigrateTask, f"_{step.name}")
        if step.where is not Where.CONDUCTOR:
            assert step.name in MigrationJobs.NAMES
            assert step.undo is None or step.undo in MigrationJobs.NAMES


def test_jobs_of_a_host_are_methods_of_theirs() -> None:
    assert all(callable(getattr(MigrationJobs, name)) for name in MigrationJobs.NAMES)


def test_undoing_goes_backwards_and_begins_with_the_step_that_failed() -> None:
    undone = [step.name for step in steps.undoing(steps.BY_NAME["transfer"])]

    assert undone == ["transfer", "prepare_destination", "queue"]


def test_a_failed_check_undoes_nothing() -> None:
    assert steps.undoing(steps.BY_NAME["check"]) == ()


def test_the_last_step_follows_itself() -> None:
    assert steps.after(STEPS[-1]) is STEPS[-1]
