"""A Nova of one server, for our modules that need one."""

from __future__ import annotations

from collections.abc import Iterator

import fake_nova
import pytest

from nova_blockmigrate import concurrency


@pytest.fixture
def kept() -> fake_nova.Database:
    return fake_nova.database()


@pytest.fixture
def queues() -> fake_nova.Queues:
    return fake_nova.Queues()


@pytest.fixture
def events() -> fake_nova.Events:
    return fake_nova.Events()


@pytest.fixture
def nova(kept: fake_nova.Database, queues: fake_nova.Queues, events: fake_nova.Events) -> Iterator[None]:
    """Import what needs Nova within the test."""
    with fake_nova.installed(kept, queues, events):
        yield


@pytest.fixture
def manager(kept: fake_nova.Database) -> fake_nova.Manager:
    return fake_nova.Manager(kept)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long it would have been."""
    waited: list[float] = []
    monkeypatch.setattr(concurrency, "pause", waited.append)
    return waited
