"""What is being prepared can be called off at any moment, and is never undone while it still goes on."""

from __future__ import annotations

import threading

import pytest

from nova_blockmigrate.compute.preparations import Preparation, Preparations
from nova_blockmigrate.exceptions import MigrationAborted, StorageError


def test_one_that_was_called_off_does_not_begin() -> None:
    preparation = Preparation()
    preparation.call_off()
    with pytest.raises(MigrationAborted), preparation.running():
        pytest.fail("it began")


def test_what_takes_long_is_cut_and_its_failure_is_the_abort() -> None:
    preparation, fetching, cut = Preparation(), threading.Event(), threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        try:
            with preparation.running(), preparation.cut_by(cut.set):
                fetching.set()
                assert cut.wait(30)
                raise StorageError(host="b", action="fetch", reason="the server went away")
        except MigrationAborted as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert fetching.wait(30)
    preparation.call_off()
    thread.join(30)
    assert len(errors) == 1


def test_undoing_waits_for_what_still_goes_on() -> None:
    preparation, making, go_on = Preparation(), threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> None:
        with pytest.raises(MigrationAborted), preparation.running():
            making.set()
            assert go_on.wait(30)
            order.append("made")

    def undo() -> None:
        with preparation.ended():
            order.append("undone")

    threads = [threading.Thread(target=work)]
    threads[0].start()
    assert making.wait(30)
    threads.append(threading.Thread(target=undo))
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert order == ["made", "undone"]


def test_a_failure_of_its_own_stays_what_it_was() -> None:
    with pytest.raises(StorageError), Preparation().running():
        raise StorageError(host="b", action="create", reason="full")


def test_each_migration_has_its_own() -> None:
    known = Preparations()
    known.of("one").call_off()
    with known.of("two").running():
        pass
    known.forget("one")
    with known.of("one").running():
        pass
