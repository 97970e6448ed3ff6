"""Whether Nova's own parts answer."""

from __future__ import annotations

import types
from typing import Any

import oslo_messaging
import pytest
from fake_nova import Database, Queues, Stored

from nova_blockmigrate.objects import MigrationPlan, Server

PLAN = MigrationPlan(1, "m", Server("s", "instance-1", "vm", 64, 1, 1, None), "a", "b", True)
CONTEXT = types.SimpleNamespace(read_deleted="no")


@pytest.fixture
def answers(nova: None, pauses: list[float]) -> Any:
    """Of the destination's host."""
    from nova_blockmigrate.nova_driver.answers import Answers

    return Answers("b")


def test_destination_is_asked_on_both_queues(answers: Any, queues: Queues) -> None:
    answers.wait_for(CONTEXT, "s", "b")
    assert queues.asked == [("conductor", None), ("compute", "b"), ("compute-alt", "b")]


def test_older_destination_is_asked_on_the_queue_that_it_has(nova: None, queues: Queues) -> None:
    from nova_blockmigrate.nova_driver.answers import Answers

    versions: list[str] = []
    queues.silent = {("compute-alt", "b"): 10**9}

    Answers("a", lambda context, version: bool(versions.append(version))).wait_for(CONTEXT, "s", "b")

    assert queues.asked[-1] == ("compute", "b")
    assert versions == ["6.5"]


def test_who_is_away_is_waited_for_with_longer_pauses(answers: Any, queues: Queues, pauses: list[float]) -> None:
    queues.silent = {("conductor", None): 3}
    answers.wait_for(CONTEXT, "s")
    assert pauses == [0.5, 1.0, 2.0]


def test_deleted_server_needs_nobody(answers: Any, kept: Database) -> None:
    kept.instance.deleted = True
    answers.wait_for(CONTEXT, "s", "b")


def test_guest_that_may_be_standing_waits_for_nobody(answers: Any, kept: Database, queues: Queues) -> None:
    queues.silent = {("conductor", None): 1}
    assert answers.standing_if_known(CONTEXT, "s", "m") is None
    kept.away = [oslo_messaging.MessagingTimeout()]
    assert answers.standing_if_known(CONTEXT, "s", "m") is None
    assert answers.standing_if_known(CONTEXT, "s", "m").status == "running"


def test_evacuated_guest_is_not_coming_any_more(answers: Any, kept: Database) -> None:
    kept.instance.task_state = "rebuilding"
    assert answers.end_of(PLAN) is None
    kept.instance.host, kept.instance.task_state = "c", None
    kept.migrations.append(Stored(id=2, uuid="e", status="done", migration_type="evacuation"))
    assert answers.end_of(PLAN) == "gone"
    kept.migrations[0].status = "failed"  # what was copied here may be the last of its data
    assert answers.end_of(PLAN) == "gone"


def test_guest_that_stayed_and_has_moved_on_since_has_nothing_here(answers: Any, kept: Database) -> None:
    kept.instance.host, kept.instance.task_state = "c", None
    kept.migrations[0].status = "failed"
    kept.migrations.append(Stored(id=2, uuid="n", status="completed", migration_type="live-migration"))
    assert answers.end_of(PLAN) == "stayed"


@pytest.mark.parametrize("task", ["migrating", None])
def test_guest_is_coming_though_its_task_was_reset(task: str | None, answers: Any, kept: Database) -> None:
    kept.instance.task_state = task
    assert answers.end_of(PLAN) == "under way"


def test_deleted_guest(answers: Any, kept: Database) -> None:
    kept.instance.deleted = True
    assert answers.end_of(PLAN) == "deleted"
    kept.instance = None
    assert answers.end_of(PLAN) == "gone"


@pytest.mark.parametrize(
    ("host", "status", "end"),
    [
        ("a", "running", "under way"),
        ("a", "failed", "stayed"),
        ("a", "cancelled", "stayed"),
        ("a", "error", "gone"),
        ("b", "running", "arrived"),
        ("b", "completed", "arrived"),
        ("c", "running", "gone"),
        (None, "completed", "gone"),
    ],
)
def test_how_it_ended(host: str | None, status: str, end: str | None, answers: Any, kept: Database) -> None:
    kept.instance.host, kept.migrations[0].status = host, status
    assert answers.end_of(PLAN) == end


def test_server_that_is_here_is_here_though_its_migration_was_purged(answers: Any, kept: Database) -> None:
    kept.instance.host, kept.migrations = "b", []
    assert answers.end_of(PLAN) == "arrived"


def test_nobody_answers(answers: Any, kept: Database) -> None:
    kept.away = [OSError()]
    assert answers.end_of(PLAN) is None


def test_broker_that_is_away_keeps_no_guest_waiting_for_long(answers: Any, queues: Queues, kept: Database) -> None:
    queues.silent = {("conductor", None): 1}
    kept.away = [AssertionError("a long call")]
    assert answers.end_of(PLAN) is None
