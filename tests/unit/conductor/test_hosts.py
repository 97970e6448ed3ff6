"""Asking hosts: answers may be late or lost, a host's own word counts."""

from __future__ import annotations

import threading
from collections.abc import Callable

import oslo_messaging
import pytest

from nova_blockmigrate.conductor import hosts
from nova_blockmigrate.objects import StepReport, StepState

RUNNING = StepReport(StepState.RUNNING)
DONE = StepReport(StepState.DONE, result=7)


def asking(answers: list[StepReport | Exception], patience_s: float | None = 5.0) -> hosts.Asking:
    def call() -> StepReport:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return hosts.Asking("compute1", "transfer", call, threading.Event(), patience_s)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "PAUSE_S", 0.0)


@pytest.mark.parametrize(
    "answers",
    [
        [DONE],
        [RUNNING, RUNNING, DONE],
        [oslo_messaging.MessagingTimeout("lost"), DONE],
        [RUNNING, oslo_messaging.MessageDeliveryFailure("broker away"), RUNNING, DONE],
    ],
)
def test_the_result_comes_whatever_answers_were_lost(answers: list[StepReport | Exception]) -> None:
    assert hosts.ask_until_done(asking(answers)) == 7


def test_a_failure_is_told_in_the_hosts_words() -> None:
    with pytest.raises(hosts.JobFailed, match="no space left"):
        hosts.ask_until_done(asking([StepReport(StepState.FAILED, error="no space left")]))


def test_a_silent_host_is_given_up_when_patience_ends() -> None:
    with pytest.raises(hosts.HostSilent, match="compute1 did not answer"):
        hosts.ask_until_done(asking([oslo_messaging.MessagingTimeout("lost")], patience_s=0.0))


def test_a_broker_that_is_away_says_nothing_of_the_host() -> None:
    answers: list[StepReport | Exception] = [OSError("refused"), oslo_messaging.MessageDeliveryFailure("away"), DONE]
    assert hosts.ask_until_done(asking(answers, patience_s=0.0)) == 7


def test_progress_is_passed_on() -> None:
    seen: list[StepReport] = []
    question = asking([RUNNING, DONE])
    on_progress: Callable[[StepReport], None] = seen.append

    hosts.ask_until_done(hosts.Asking(question.host, question.job, question.call, question.stopping, None, on_progress))

    assert seen == [RUNNING]


def test_a_stopping_conductor_leaves_the_job_alone() -> None:
    question = asking([DONE])
    question.stopping.set()

    with pytest.raises(hosts.Stopping):
        hosts.ask_until_done(question)
