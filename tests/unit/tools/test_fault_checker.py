"""What the fault tests call consistent, and what not: each way to break an invariant is seen, and named."""

from dataclasses import replace

import pytest

from faultkit import checker, matrix
from faultkit.breaks import Kill
from faultkit.cases import CASES, Case
from faultkit.checker import CANCELLED, COMPLETED, FAILED, Expected, Said, Setting
from faultkit.points import BY_NAME
from faultkit.runner import Result
from faultkit.world import Database, HostWorld, Volume, World
from labkit.guest import Verdict
from labkit.sampler import Sample, report

BEFORE = {"boot_id": "b", "record": 100, "record_errors": 0}
SETTING = Setting("compute1", "compute2", BEFORE)
THERE = HostWorld("compute2", "running", True, True, True, ("domain (running)", "tap tap1", "file /disk"), owns=True)
EMPTY = HostWorld("compute1")
MOVED = World(
    {"compute1": EMPTY, "compute2": THERE},
    Database("ACTIVE", "compute2", None, COMPLETED),
    {"boot_id": "b", "record": 120, "record_errors": 0},
)
STAYED = World(
    {"compute1": replace(THERE, name="compute1"), "compute2": replace(EMPTY, name="compute2")},
    Database("ACTIVE", "compute1", None, FAILED, reasons=("The destination's QEMU died.",)),
    MOVED.guest,
)


def numbers(world: World, expected: Expected | None = None) -> set[int]:
    return {found.invariant for found in checker.judge(world, SETTING, expected or Expected())}


def test_a_guest_that_moved_and_left_nothing_is_consistent():
    assert numbers(MOVED) == set()


@pytest.mark.parametrize(
    ("volume", "invariants"),
    [
        (Volume(("compute2",), ("compute2",), ("compute2",)), set()),
        (Volume(("compute1", "compute2"), ("compute2",), ("compute2",)), {6}),
        (Volume(("compute2",), ("compute2",), ("compute1", "compute2")), {6}),
        (Volume(("compute2",), ("compute1", "compute2"), ("compute2",)), {6}),
        (Volume(("compute1",), (), ("compute1",)), {2}),
    ],
)
def test_a_volume_is_the_surviving_hosts_alone(volume, invariants):
    assert numbers(replace(MOVED, volume=volume)) == invariants


def test_a_guest_that_stayed_with_a_reason_is_consistent():
    assert numbers(STAYED, Expected((FAILED,), reason="qemu")) == set()


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        ({"domain": "paused"}, 2),
        ({"domain": None}, 2),
        ({"persistent": False}, 2),
        ({"has_disk": False}, 3),
        ({"owns": False}, 6),
        ({"records": ("x.jsonl",)}, 6),
        ({"foreign_is_safe": False}, 3),
    ],
)
def test_what_is_wrong_where_the_guest_is(change, invariant):
    world = replace(MOVED, hosts={**MOVED.hosts, "compute2": replace(THERE, **change)})
    assert numbers(world) == {invariant}


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        ({"process_runs": True}, 1),
        ({"belongings": ("tap tap1",)}, 6),
        ({"owns": True}, 6),
        ({"records": ("x.jsonl",)}, 6),
        ({"debris": ("export of a base still served (1)",)}, 6),
    ],
)
def test_what_is_wrong_where_the_guest_is_not(change, invariant):
    world = replace(MOVED, hosts={**MOVED.hosts, "compute1": replace(EMPTY, **change)})
    assert numbers(world) == {invariant}


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        ({"host": "compute1"}, 4),
        ({"status": "ERROR"}, 5),
        ({"task_state": "migrating"}, 6),
        ({"unfinished": 1}, 6),
        ({"held": ("migration 1 is over and holds a slot or an owner",)}, 6),
        ({"migration": FAILED}, 5),
    ],
)
def test_what_is_wrong_in_the_database(change, invariant):
    assert numbers(replace(MOVED, database=replace(MOVED.database, **change))) == {invariant}


@pytest.mark.parametrize(
    "guest", [None, {**BEFORE, "record": 120, "boot_id": "other"}, BEFORE, {**BEFORE, "record": 120, "record_errors": 1}]
)
def test_a_guest_that_did_not_go_on(guest):
    assert numbers(replace(MOVED, guest=guest)) == {2}


def test_a_transfer_must_not_fail_because_of_the_control_plane():
    assert numbers(STAYED, Expected(control_plane_only=True)) == {8}


@pytest.mark.parametrize("reasons", [(), ("Traceback (most recent call last): …",), ("It was so.",)])
def test_a_reason_must_be_there_and_readable(reasons):
    world = replace(STAYED, database=replace(STAYED.database, reasons=reasons))
    assert numbers(world, Expected((FAILED, CANCELLED))) == {7}


def test_a_guest_that_ended_need_not_answer():
    off = replace(STAYED, guest=None, database=replace(STAYED.database, status="SHUTOFF"))
    off.hosts["compute1"] = replace(off.hosts["compute1"], domain="shut off")
    assert numbers(off, Expected((FAILED,), power="SHUTOFF")) == set()


@pytest.mark.parametrize(
    ("verdict", "holds"), [(Verdict(1, 120, 0, 0), True), (Verdict(1, 120, 1, 0), False), (Verdict(1, 90, 0, 0), False)]
)
def test_records_must_be_whole_and_reach_what_was_seen(verdict, holds):
    assert (checker.judge_records(verdict, 110) == []) is holds


def sample(host: str, at: float, state: int) -> Sample:
    return Sample(host, at, at + 0.001, state, 1, state == 1)


def test_two_copies_at_once_are_seen():
    samples = [sample(host, at / 100, 1) for at in range(10) for host in ("compute1", "compute2")]
    assert [found.invariant for found in checker.judge_samples(report(samples), samples, [])] == [1]


@pytest.mark.parametrize(("task_state", "violations"), [(None, [4]), ("migrating", [])])
def test_a_host_that_the_database_names_must_have_the_guest_unless_it_is_under_way(task_state, violations):
    samples = [sample("compute1", at / 100, -1) for at in range(30)]
    said = [Said(0.15, 0.16, "compute1", task_state)]
    assert [found.invariant for found in checker.judge_samples(report(samples), samples, said)] == violations


def test_cases_have_names_of_their_own_and_points_that_are_there():
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.point for case in CASES if case.point} <= set(BY_NAME)


def test_there_are_enough_cases_and_a_dozen_for_every_run():
    assert len(CASES) >= 60
    assert sum(case.in_every_run for case in CASES) >= 12


def test_results_are_kept_for_other_runs(tmp_path):
    case = Case("a case")
    result = Result(case, [checker.Violation(6, "a tap is left")], FAILED, "source", 60.0)
    matrix.keep(result, tmp_path)
    assert matrix.kept([case, Case("another")], tmp_path, tmp_path / "no document") == [result]


def test_what_the_document_says_of_cases_that_held_elsewhere_needs_not_be_played_again(tmp_path):
    broken = (Kill("conductor"),)
    held = Result(Case("good", "handover.fenced", broken), [], COMPLETED, "destination", 4.0)
    failed = Result(Case("bad", "", broken), [checker.Violation(6, "a tap is left")], FAILED, "source", 60.0)
    changed = Result(Case("changed", "", broken), [], COMPLETED, "destination", 4.0)
    document, nothing_here = tmp_path / "matrix.rst", tmp_path / "results"
    matrix.write([held, failed, changed], document)
    assert matrix.kept([held.case, failed.case, Case("changed", "", broken, away_s=90)], nothing_here, document) == [held]


def test_the_last_line_counts_what_held_and_the_document_says_what_did_not():
    results = [
        Result(Case("good"), [], COMPLETED, "destination", 4.2),
        Result(Case("bad"), [checker.Violation(6, "a tap is left")], FAILED, "source", 60.0),
    ]
    assert matrix.summary(results) == '{"cases": 2, "held": 1, "longest_s": 4.2}'
    assert "bad: 6 (nothing left behind): a tap is left" in matrix.document(results)
