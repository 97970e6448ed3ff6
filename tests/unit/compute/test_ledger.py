"""The record of a migration on a host: what it says survives, in whatever instant the service dies."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import resource
from collections.abc import Iterator

import pytest

from nova_blockmigrate.compute.ledger import HostRecord, Records
from nova_blockmigrate.objects import Artefact, MigrationPlan, Server

SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "instance-00000001", "lm001", 256, 1, 1, None)
PLAN = MigrationPlan(1, "0b0a9b3e-5f0f-4a8e-8f0b-3d8f0e5a7c11", SERVER, "compute1", "compute2", True)


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "ledger"


def test_what_was_listed_marked_and_kept_is_there_after_a_restart(directory: pathlib.Path) -> None:
    record = Records(directory).open(PLAN, "destination")
    with record.entry("directory", "/instances/x"):
        pass
    with record.entry("file", "/instances/x/disk"):
        pass
    record.mark("fencing")
    record.keep("outcome", {"verdict": "stayed"})

    again = Records(directory).get(PLAN.migration_uuid)

    assert again is not None
    assert again.artefacts() == [Artefact("directory", "/instances/x"), Artefact("file", "/instances/x/disk")]
    assert again.has("fencing") and not again.has("fenced")
    assert again.kept("outcome") == {"verdict": "stayed"}
    assert again.kept("role") == "destination"


def test_an_artefact_is_on_disk_before_it_is_made_and_stays_listed_when_making_it_fails(directory: pathlib.Path) -> None:
    record = Records(directory).open(PLAN, "destination")

    with pytest.raises(OSError, match="no space"), record.entry("file", "/disk"):
        seen_by_a_restart = Records(directory).get(PLAN.migration_uuid)
        assert seen_by_a_restart is not None
        assert seen_by_a_restart.artefacts() == [Artefact("file", "/disk")]
        raise OSError("no space")

    assert record.artefacts() == [Artefact("file", "/disk")]


def test_making_an_artefact_again_lists_it_once(directory: pathlib.Path) -> None:
    record = Records(directory).open(PLAN, "destination")
    for _ in range(2):
        with record.entry("file", "/disk"):
            pass

    record.forget(Artefact("file", "/disk"))

    assert record.artefacts() == []


def test_a_line_that_a_crash_cut_in_half_is_passed_over(directory: pathlib.Path) -> None:
    record = Records(directory).open(PLAN, "source")
    record.mark("fencing")
    with record.path.open("ab") as file:
        file.write(b'{"mark": "fenc')

    again = Records(directory).get(PLAN.migration_uuid)

    assert again is not None
    assert again.has("fencing") and not again.has("fenced")


def test_what_is_written_after_a_cut_line_is_read_again(directory: pathlib.Path) -> None:
    record = Records(directory).open(PLAN, "source")
    with record.path.open("ab") as file:
        file.write(b'{"mark": "fenc')
    Records(directory).open(PLAN, "source").mark("fenced")

    again = Records(directory).get(PLAN.migration_uuid)

    assert again is not None
    assert again.has("fenced")


def test_a_closed_record_leaves_no_file(directory: pathlib.Path) -> None:
    records = Records(directory)
    records.open(PLAN, "source")

    records.close(PLAN.migration_uuid)
    records.close(PLAN.migration_uuid)

    assert list(directory.rglob("*.jsonl")) == []
    assert records.get(PLAN.migration_uuid) is None


def test_plans_are_found_by_role(directory: pathlib.Path) -> None:
    records = Records(directory)
    records.open(PLAN, "destination")

    assert records.plans("destination") == [PLAN]
    assert records.plans("source") == []


def test_what_was_made_for_a_migration_belongs_to_the_server_once_it_has_arrived(directory: pathlib.Path) -> None:
    records = Records(directory)
    with records.open(PLAN, "destination").entry("file", "/disk"):
        pass

    records.settle(PLAN)
    records.settle(PLAN)

    again = Records(directory)
    assert again.get(PLAN.migration_uuid) is None
    assert again.of_server(SERVER.uuid).artefacts() == [Artefact("file", "/disk")]


def test_a_settling_that_a_crash_cut_short_ends_the_same(directory: pathlib.Path) -> None:
    records = Records(directory)
    with records.open(PLAN, "destination").entry("directory", "/x"), records.open(PLAN, "destination").entry("file", "/x/disk"):
        pass
    with records.of_server(SERVER.uuid).entry("directory", "/x"):
        pass  # as far as the first try came

    after_the_crash = Records(directory)
    after_the_crash.settle(PLAN)

    assert after_the_crash.of_server(SERVER.uuid).artefacts() == [Artefact("directory", "/x"), Artefact("file", "/x/disk")]


def test_an_artefact_that_another_ledger_lists_too_is_shared(directory: pathlib.Path) -> None:
    records = Records(directory)
    migration, server = records.open(PLAN, "destination"), records.of_server("another")
    with migration.entry("base", "/base"), migration.entry("file", "/disk"), server.entry("base", "/base"):
        pass

    assert migration.is_shared(Artefact("base", "/base")) and server.is_shared(Artefact("base", "/base"))
    assert not migration.is_shared(Artefact("file", "/disk"))


def test_a_server_that_is_gone_leaves_no_ledger(directory: pathlib.Path) -> None:
    records = Records(directory)
    records.of_server(SERVER.uuid)

    records.close_server(SERVER.uuid)
    records.close_server(SERVER.uuid)

    assert list(directory.rglob("*.jsonl")) == []


def test_a_base_is_listed_as_long_as_any_guest_has_it(directory: pathlib.Path) -> None:
    records = Records(directory)
    with records.open(PLAN, "destination").entry("base", "/base"):
        pass
    records.settle(PLAN)
    assert records.lists_base("/base") and not records.lists_base("/other")

    records.close_server(SERVER.uuid)
    assert not records.lists_base("/base")


def test_a_server_of_which_nothing_was_listed_has_no_file(directory: pathlib.Path) -> None:
    ledger = Records(directory).of_server(SERVER.uuid)
    assert list(directory.rglob("*.jsonl")) == []

    with ledger.entry("file", "/disk"):
        assert Records(directory).of_server(SERVER.uuid).artefacts() == [Artefact("file", "/disk")]


def test_what_is_said_after_all_was_forgotten_makes_no_file(directory: pathlib.Path) -> None:
    records = Records(directory)
    ledger = records.of_server(SERVER.uuid)
    records.close_server(SERVER.uuid)

    ledger.mark("late")

    assert list(directory.rglob("*.jsonl")) == []


def test_a_full_disk_refuses_what_must_be_kept_and_remembers_marks(tmp_path: pathlib.Path) -> None:
    record = Records(tmp_path).open(PLAN, "source")
    size = record.path.stat().st_size
    with no_file_larger_than(size + 10):
        with pytest.raises(OSError, match=r"space|large"):
            record.keep("arguments", {"guest": "x" * 100})
        record.mark("fenced")
        record.remember("outcome", {"verdict": "stayed"})
    assert record.has("fenced") and record.kept("outcome") == {"verdict": "stayed"}
    assert record.kept("arguments") is None
    record.keep("after", 1)
    assert HostRecord(record.path).kept("after") == 1


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What a full disk does, nearly: a write beyond is cut, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 60], ids=["none", "for a line"])
def test_a_record_for_which_there_is_no_room_is_not_begun(tmp_path: pathlib.Path, room: int) -> None:
    records = Records(tmp_path)
    with no_file_larger_than(room), pytest.raises(OSError, match=r"space|large"):
        records.open(PLAN, "destination")
    assert records.all() == {} and list(tmp_path.glob("*.jsonl")) == []


def test_a_full_disk_keeps_nobody_from_clearing_up(tmp_path: pathlib.Path) -> None:
    records, artefact = Records(tmp_path), Artefact("file", "/disk")
    record = records.open(PLAN, "destination")
    with record.entry(artefact.kind, artefact.name):
        pass
    with no_file_larger_than(record.path.stat().st_size):
        record.forget(artefact)
    assert record.artefacts() == []
    records.close(PLAN.migration_uuid)
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_record_that_a_crash_left_without_its_plan_goes(tmp_path: pathlib.Path) -> None:
    HostRecord(tmp_path / "m.jsonl").keep("role", "destination")
    assert Records(tmp_path).all() == {} and list(tmp_path.glob("*.jsonl")) == []


def test_plans_are_listed_while_other_threads_open_and_close_records(
    directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(directory)
    records.open(PLAN, "source")
    records.open(dataclasses.replace(PLAN, migration_uuid="another"), "source")
    kept = HostRecord.kept

    def meanwhile(record: HostRecord, name: str) -> object:
        records.close("another")
        return kept(record, name)

    monkeypatch.setattr(HostRecord, "kept", meanwhile)
    assert PLAN in records.plans("source")
