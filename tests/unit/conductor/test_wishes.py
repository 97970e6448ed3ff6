"""The wishes of a migration's user reach its source, whatever became of the service that heard them first."""

from __future__ import annotations

import types
from typing import Any

import oslo_messaging
import pytest

from nova_blockmigrate.conductor.transferring import Transferring


class Computes:
    """Notes what the source is told; `deaf` as long as it does not answer."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.deaf = False

    def abort_transfer(self, context: Any, host: str, migration_uuid: str, reason: str, source_host: str) -> None:
        self._hear(f"abort at {host}")

    def force_complete(self, context: Any, host: str, migration_uuid: str) -> None:
        self._hear(f"force at {host}")

    def _hear(self, words: str) -> None:
        if self.deaf:
            raise oslo_messaging.MessagingTimeout
        self.told.append(words)


@pytest.fixture
def computes() -> Computes:
    return Computes()


@pytest.fixture
def transferring(computes: Computes) -> Transferring:
    leased: Any = types.SimpleNamespace(around=types.SimpleNamespace(computes=computes), context=lambda migration: None)
    return Transferring(leased)


def row(abort: bool = False, force: bool = False) -> Any:
    return types.SimpleNamespace(
        id=1, uuid="m", instance_uuid="s", source_compute="a", abort_requested=abort, force_complete_requested=force
    )


@pytest.mark.parametrize(("wish", "words"), [("abort", "abort at a"), ("force", "force at a")])
def test_a_source_that_was_restarted_hears_of_it_again(
    transferring: Transferring, computes: Computes, wish: str, words: str
) -> None:
    migration = row(**{wish: True})
    transferring._tell(migration)
    transferring._tell(migration)
    assert computes.told == [words, words]


def test_a_source_that_did_not_hear_it_is_told_later(transferring: Transferring, computes: Computes) -> None:
    computes.deaf = True
    transferring._tell(row(abort=True))
    computes.deaf = False
    transferring._tell(row(abort=True))
    assert computes.told == ["abort at a"]


def test_without_a_wish_nothing_is_told(transferring: Transferring, computes: Computes) -> None:
    transferring._tell(row())
    assert computes.told == []
