"""Nova's records after the verdict: made when everything answers, made again until they are, and never for what is past."""

from __future__ import annotations

import itertools
import types
from typing import Any

import oslo_messaging
import pytest
from fake_nova import Database, Events, Manager, NeutronClientException, PortBindingActivationFailed, Queues, Stored

from nova_blockmigrate.objects import MigrationPlan, PowerState, Server, TransferOutcome, Verdict

PLAN = MigrationPlan(1, "m", Server("s", "instance-1", "vm", 64, 1, 1, None), "a", "b", True)
MOVED = TransferOutcome(Verdict.HANDED_OVER)
STAYED = TransferOutcome(Verdict.STAYED, "the network was cut")


@pytest.fixture
def record(nova: None, kept: Database, manager: Manager, pauses: list[float]) -> Any:
    """Records an outcome; returns what `Ending.record` does."""
    from nova_blockmigrate.nova_driver.answers import Answers
    from nova_blockmigrate.nova_driver.ending import Ending, Move

    def record(outcome: TransferOutcome, **more: Any) -> bool:
        context = types.SimpleNamespace(read_deleted="no")
        instance = kept.instance.obj_clone() if kept.instance else Stored(uuid="s")
        data = types.SimpleNamespace(migration=kept.migrations[0].obj_clone())
        move = Move(context, instance, "b", True, data, manager.post_in_any_case, manager.recover, ["bdm"])
        return Ending("a", manager, Answers("a")).record(move, PLAN, outcome, **more)

    return record


def test_guest_that_moved(record: Any, kept: Database, manager: Manager) -> None:
    assert record(MOVED)
    assert manager.called == ["post"]
    assert (kept.instance.host, kept.migrations[0].status) == ("b", "completed")


def test_guest_that_stayed(record: Any, kept: Database, manager: Manager, events: Events) -> None:
    assert record(STAYED)
    assert manager.called == ["recover as failed"]
    assert events.details == ["the network was cut"]


def test_guest_that_was_shut_down_is_recorded_so(record: Any, manager: Manager) -> None:
    record(TransferOutcome(Verdict.STAYED, "it was shut down", power_state=PowerState.SHUTDOWN))
    assert manager.called == ["recover as failed", "power state 4"]


def test_abort_is_no_failure(record: Any, manager: Manager) -> None:
    record(TransferOutcome(Verdict.STAYED, "asked for", cancelled=True))
    assert manager.called == ["recover as cancelled"]


# --- what is past -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a", "c"])
@pytest.mark.parametrize("task", [None, "migrating"])
def test_old_record_does_not_move_a_server_that_has_moved_on_or_come_back(
    host: str, task: str | None, record: Any, kept: Database, manager: Manager
) -> None:
    kept.instance.host, kept.instance.task_state, kept.migrations[0].status = host, task, "completed"
    kept.migrations.append(Stored(id=2, uuid="m2", status="running"))

    assert record(MOVED)

    assert manager.called == ["allocation"]
    assert (kept.instance.host, kept.instance.task_state) == (host, task)


def test_old_record_of_one_that_stayed_does_not_roll_its_next_migration_back(record: Any, kept: Database, manager: Manager) -> None:
    kept.migrations[0].status = "failed"
    kept.migrations.append(Stored(id=2, uuid="m2", status="running"))

    assert record(STAYED)

    assert manager.called == ["allocation"]
    assert kept.instance.task_state == "migrating"


def test_server_that_was_evacuated_meanwhile_stays_where_it_is(record: Any, kept: Database, manager: Manager) -> None:
    kept.instance.host, kept.instance.task_state = "c", None
    kept.migrations.append(Stored(id=2, uuid="e", status="done"))

    assert record(MOVED)

    assert kept.instance.host == "c"
    assert (kept.migrations[0].status, manager.called) == ("completed", ["allocation"])


def test_service_that_died_after_the_destination_had_recorded_it(record: Any, kept: Database, manager: Manager) -> None:
    kept.instance.host, kept.instance.task_state = "b", None
    assert record(MOVED)
    assert (kept.migrations[0].status, manager.called) == ("completed", ["allocation"])


def test_task_of_a_server_that_was_reset_is_taken_again_on_proof(record: Any, kept: Database, manager: Manager) -> None:
    """As Nova does when the source's service starts while the migration is "accepted"."""
    kept.instance.task_state = None
    proof = iter([False, True])

    assert record(MOVED, has_left=lambda: next(proof))

    assert manager.called == ["post"]
    assert kept.instance.host == "b"


def test_allocation_of_one_that_stayed_is_given_back_though_its_task_was_reset(
    record: Any, kept: Database, manager: Manager
) -> None:
    kept.instance.task_state = None
    assert record(STAYED)
    assert manager.called == ["recover as failed"]


def test_server_that_is_being_deleted_is_waited_for(record: Any, kept: Database, manager: Manager, monkeypatch: Any) -> None:
    from nova_blockmigrate import concurrency

    kept.instance.task_state = "deleting"
    monkeypatch.setattr(concurrency, "pause", lambda seconds: setattr(kept.instance, "deleted", True))

    assert not record(STAYED)

    assert manager.called == ["allocation"]


def test_server_that_was_deleted_leaves_no_allocation(record: Any, kept: Database, manager: Manager) -> None:
    kept.instance.deleted = True
    assert not record(MOVED)
    assert manager.called == ["allocation"]


# --- what fails -------------------------------------------------------------------------------------------------------


def test_database_that_is_away_in_between_is_waited_for(record: Any, kept: Database, manager: Manager) -> None:
    kept.away = [oslo_messaging.MessagingTimeout(), OSError(), RuntimeError("whatever it is")]
    assert record(MOVED)
    assert manager.called == ["post"]


@pytest.mark.parametrize("error", [NeutronClientException(), PortBindingActivationFailed(), oslo_messaging.RemoteError()])
def test_ports_are_bound_again_while_neutron_is_away(
    error: Exception, record: Any, kept: Database, manager: Manager, pauses: list[float]
) -> None:
    manager.errors["post"] = [error, error]
    assert record(MOVED)
    assert manager.called == ["post", "post", "post"]
    assert pauses == [5.0, 10.0]


def test_server_is_recorded_in_the_end_though_neutron_does_not_come_back(
    record: Any, kept: Database, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nova_blockmigrate.nova_driver import ending

    clock = itertools.count(0, ending.PORTS_LIMIT_S / 2)
    monkeypatch.setattr(ending, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    manager.errors["post"] = [NeutronClientException()] * 10
    manager.errors["post in any case"] = [NeutronClientException()]

    assert record(MOVED)

    assert manager.called == ["post", "post in any case", "allocation"]
    assert (kept.instance.host, kept.migrations[0].status) == ("b", "completed")


def test_other_trouble_does_not_keep_a_server_from_being_recorded(record: Any, kept: Database, manager: Manager) -> None:
    manager.errors = {"post": [RuntimeError()], "post in any case": [RuntimeError()]}
    assert record(MOVED)
    assert manager.called == ["post", "post in any case", "allocation"]
    assert kept.instance.host == "b"


def test_instance_not_found_on_the_destination_does_not_mean_that_it_was_deleted(
    record: Any, kept: Database, manager: Manager
) -> None:
    from fake_nova import InstanceNotFound

    manager.errors = {"post": [InstanceNotFound()], "post in any case": [InstanceNotFound()]}
    assert record(MOVED)
    assert kept.instance.host == "b"


@pytest.mark.parametrize(
    "away", [[True], [False, True], [False, True, True], [False, False, True], [False, True, False, True]], ids=str
)
def test_server_that_stayed_has_its_allocation_back_whenever_placement_is_away(
    away: list[bool], record: Any, kept: Database, manager: Manager
) -> None:
    manager.reportclient.away = away
    assert record(STAYED)
    assert manager.reportclient.holder == "s"
    assert manager.called == ["recover as failed"]
    assert kept.migrations[0].status == "failed"


def test_server_that_was_deleted_leaves_no_allocation_though_placement_was_away(
    record: Any, kept: Database, manager: Manager
) -> None:
    kept.instance.deleted = True
    manager.errors["allocation"] = [RuntimeError(), RuntimeError()]
    assert not record(STAYED)
    assert manager.reportclient.holder == ""


def test_services_are_asked_before_anything_is_recorded(record: Any, manager: Manager, queues: Queues) -> None:
    queues.silent = {("compute-alt", "b"): 2, ("conductor", None): 1}
    assert record(MOVED)
    assert manager.called == ["post"]
    assert not any(queues.silent.values())
