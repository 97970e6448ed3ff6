"""What is left to do after the switch, when hosts are silent, dead, or the server is gone."""

from __future__ import annotations

import types
from typing import Any

import pytest

from nova_blockmigrate.conductor import hosts
from nova_blockmigrate.conductor.finishing import Finishing

SILENT = hosts.HostSilent("compute2 did not answer for 10 s (finish_destination).")
UNSAFE = hosts.JobFailed("not safe elsewhere: compute2 cannot be reached")


class Leased:
    """Stands in for LeasedMigration: one answer for each question, the last one again and again."""

    def __init__(self, *answers: Any, home: str | None = "compute2", deleted: bool = False, dead: bool = False) -> None:
        self._answers, self._dead = list(answers), dead
        self.row = types.SimpleNamespace(host=home, deleted_at="today" if deleted else None)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.written: dict[str, Any] = {}
        self.rung = 0
        self.around = types.SimpleNamespace(volumes=self)

    def ask(
        self, migration: Any, where: Any, job: str, arguments: dict[str, Any], patience_s: Any = -1, instance: Any = None
    ) -> Any:
        self.asked.append((job, arguments))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def server(self, migration: Any) -> Any:
        return self.row

    def write(self, **columns: Any) -> None:
        self.written |= columns

    def is_declared_dead(self, host: str | None) -> bool:
        return self._dead

    def ring(self) -> None:
        self.rung += 1

    def complete(self, server_uuid: str, host: str) -> None:
        """Of the volumes."""

    take = complete

    def tell_of_departure(self, migration: Any) -> None:
        """Of the ports."""


MIGRATION: Any = types.SimpleNamespace(
    id=7, instance_uuid="uuid", source_compute="compute1", dest_compute="compute2", guest={"uuid": "uuid"}
)


def finishing(leased: Any) -> Finishing:
    return Finishing(leased, leased)


def test_a_destination_that_is_silent_is_named_and_gives_its_slots_back() -> None:
    leased = Leased(SILENT)

    with pytest.raises(hosts.HostSilent):
        finishing(leased).finish_destination(MIGRATION)

    assert leased.written == {"reason": str(SILENT), "holds_slot": False} and leased.rung == 1


def test_a_destination_that_answers_again_leaves_no_reason() -> None:
    leased = Leased(SILENT, {"progress": None})

    assert finishing(leased).finish_destination(MIGRATION) == {"reason": None}
    assert leased.written == {"reason": str(SILENT)}


def test_nobody_waits_for_a_destination_whose_service_is_forced_down() -> None:
    leased = Leased(SILENT, dead=True)

    assert "forced down" in finishing(leased).finish_destination(MIGRATION)["reason"]
    assert [job for job, _ in leased.asked] == ["finish_destination"]


@pytest.mark.parametrize("gone", [{"deleted": True}, {"home": "compute3"}], ids=["deleted", "moved on"])
def test_nothing_is_finished_for_a_server_that_is_there_no_more(gone: dict[str, Any]) -> None:
    leased = Leased(None, **gone)

    assert finishing(leased).finish_destination(MIGRATION) == {"reason": None}
    assert [job for job, _ in leased.asked] == ["release_destination"]


@pytest.mark.parametrize(
    ("gone", "home"),
    [({"deleted": True}, ""), ({"home": "compute3"}, "compute3"), ({}, "compute2")],
    ids=["deleted", "moved", "there"],
)
def test_the_source_hears_where_the_server_is_by_now(gone: dict[str, Any], home: str) -> None:
    leased = Leased(None, **gone)

    finishing(leased).clean_source(MIGRATION)

    assert leased.asked == [("clean_source", {"guest": {"uuid": "uuid"}, "home": home})]


def test_a_source_that_stays_away_is_named_in_the_reason_of_a_migration_that_is_completed() -> None:
    leased = Leased(hosts.HostSilent("compute1 did not answer for 60 s (clean_source)."))

    assert finishing(leased).clean_source(MIGRATION)["reason"].startswith("compute1 did not answer")


def test_a_source_that_cannot_see_the_guest_elsewhere_is_asked_again() -> None:
    with pytest.raises(hosts.JobFailed, match="not safe"):
        finishing(Leased(UNSAFE)).clean_source(MIGRATION)


def test_a_source_keeps_its_disks_when_the_destination_is_dead_by_an_operators_word() -> None:
    reason = finishing(Leased(UNSAFE, dead=True)).clean_source(MIGRATION)["reason"]

    assert reason.startswith("compute1 keeps the guest's disks until it is seen on compute2")
