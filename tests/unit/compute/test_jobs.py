"""Jobs: started once, asked after as often as one likes."""

from __future__ import annotations

import threading

from nova_blockmigrate import exceptions
from nova_blockmigrate.compute.jobs import Jobs
from nova_blockmigrate.objects import StepState

KEY = ("uuid", "transfer")
LONG_S = 30.0


def test_a_short_job_is_answered_at_once_with_its_result() -> None:
    report = Jobs().run(KEY, lambda: {"bytes": 1}, LONG_S)

    assert (report.state, report.result) == (StepState.DONE, {"bytes": 1})


def test_asking_again_finds_the_same_job_running() -> None:
    jobs, go_on, runs = Jobs(), threading.Event(), []

    def work() -> str:
        runs.append(1)
        go_on.wait(LONG_S)
        return "over"

    assert jobs.run(KEY, work, 0.01).state is StepState.RUNNING
    assert jobs.run(KEY, work, 0.01).state is StepState.RUNNING
    go_on.set()

    assert jobs.run(KEY, work, LONG_S).result == "over"
    assert runs == [1]


def test_errors_become_words_in_the_report() -> None:
    def refuse() -> None:
        raise exceptions.NotEnoughMemory(host="compute2", free_mib=1, needed_mib=256)

    report = Jobs().run(KEY, refuse, LONG_S)

    assert report.state is StepState.FAILED
    assert report.error == "compute2 has 1 MiB of memory free of claims, 256 MiB are needed."


def test_a_crash_of_a_job_is_reported_too() -> None:
    report = Jobs().run(KEY, lambda: 1 // 0, LONG_S)

    assert report.state is StepState.FAILED
    assert report.error.startswith("ZeroDivisionError")


def test_a_job_whose_end_was_told_runs_anew_when_asked_for_again() -> None:
    jobs, runs = Jobs(), []

    for _ in range(2):
        jobs.run(KEY, lambda: runs.append(1), LONG_S)

    assert runs == [1, 1]
