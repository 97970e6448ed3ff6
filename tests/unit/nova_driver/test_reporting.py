"""What users see of a transfer."""

from __future__ import annotations

import threading
import types
from typing import Any

from fake_nova import Events, Stored

from nova_blockmigrate.objects import TransferProgress

PROGRESS = TransferProgress(memory_total_bytes=100, memory_processed_bytes=50, memory_remaining_bytes=50)


class Row(Stored):
    def save(self, *_: Any, **__: Any) -> None:
        self.saved.set()
        if self.fails:
            raise OSError("the broker is away")


def row(fails: bool = False, **content: Any) -> Row:
    return Row(saved=threading.Event(), fails=fails, **content)


def test_progress_is_saved_while_it_runs(nova: None, monkeypatch: Any) -> None:
    from nova_blockmigrate.nova_driver import reporting

    monkeypatch.setattr(reporting, "STEP_S", 0.001)
    instance, migration = row(uuid="s"), row(uuid="m")
    transfers: Any = types.SimpleNamespace(progress=lambda uuid: PROGRESS)
    with reporting.saving_progress(transfers, instance, migration, 0.001):
        assert instance.saved.wait(30)
        assert migration.saved.wait(30)
    assert not hasattr(instance, "progress")  # others save that object: it is not touched


def test_progress_that_cannot_be_saved_hinders_nothing(nova: None, monkeypatch: Any) -> None:
    from nova_blockmigrate.nova_driver import reporting

    monkeypatch.setattr(reporting, "STEP_S", 0.001)
    migration = row(fails=True, uuid="m")
    transfers: Any = types.SimpleNamespace(progress=lambda uuid: PROGRESS)
    with reporting.saving_progress(transfers, row(uuid="s"), migration, 0.001):
        assert migration.saved.wait(30)
        migration.saved.clear()
        assert migration.saved.wait(30)


def test_reason_is_told_where_its_user_looks(nova: None, events: Events) -> None:
    from nova_blockmigrate.nova_driver import reporting

    reporting.tell_why(None, "a", Stored(uuid="s"), "the disk is full")
    assert events.details == ["the disk is full"]
