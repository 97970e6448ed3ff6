"""What the cases that break things under Nova call right, and what not, in the words of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labkit.guest import Verdict
from novakit import judge, table
from novakit.cases import CASES
from novakit.cloud import DESTINATION, SOURCE
from novakit.judge import COMPLETED, FAILED, Expected
from novakit.play import Result
from novakit.world import World

WHOLE = Verdict(1, 200, 0, 0)
MOVED = World(
    status="ACTIVE",
    task=None,
    host=DESTINATION,
    migration=COMPLETED,
    reasons="",
    domains={SOURCE: "", DESTINATION: "running"},
    disks={SOURCE: False, DESTINATION: True},
    leftovers={SOURCE: (), DESTINATION: ("domain 1", "/var/lib/nova/instances/1/disk")},
    allocated=frozenset({DESTINATION}),
    migration_holds=frozenset(),
    records=WHOLE,
)
STAYED = replace(
    MOVED,
    host=SOURCE,
    migration=FAILED,
    reasons="the destination's QEMU died",
    domains={SOURCE: "running", DESTINATION: ""},
    disks={SOURCE: True, DESTINATION: False},
    leftovers={SOURCE: MOVED.leftovers[DESTINATION], DESTINATION: ()},
    allocated=frozenset({SOURCE}),
)
STAYS = Expected((FAILED,))


def test_guest_that_moved_and_left_nothing_is_right() -> None:
    assert judge.wrong(MOVED, Expected(), 100) == []
    assert judge.ending(MOVED) == "ACTIVE on the destination, completed"


def test_guest_that_stayed_with_a_reason_is_right() -> None:
    assert judge.wrong(STAYED, STAYS, 100) == []
    assert judge.ending(STAYED) == "ACTIVE on the source, failed, reason told"


def test_guest_that_was_shut_down_is_right_where_it_is() -> None:
    off = replace(STAYED, status="SHUTOFF", domains={SOURCE: "shut off", DESTINATION: ""})
    assert judge.wrong(off, Expected((FAILED,), "SHUTOFF"), 100) == []


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (replace(MOVED, domains={SOURCE: "running", DESTINATION: "running"}), "the guest runs on both hosts"),
        (replace(MOVED, domains={SOURCE: "", DESTINATION: "paused"}), "the guest does not run"),
        (replace(STAYED, domains=MOVED.domains), "the database names the source, the guest runs on the destination"),
        (replace(MOVED, disks={SOURCE: True, DESTINATION: False}), "no disk on the destination, where the server is"),
        (
            replace(MOVED, records=Verdict(1, 90, 0, 0)),
            "data of the guest is lost: 90 records are on its disk, and 100 had been written",
        ),
        (replace(MOVED, status="MIGRATING", task="migrating"), "server MIGRATING (migrating)"),
        (replace(MOVED, migration="error"), "migration error"),
        (replace(STAYED, reasons=""), "no reason told"),
        (replace(MOVED, leftovers={SOURCE: ("/x/disk",), DESTINATION: ()}), "disk left on the source"),
        (replace(MOVED, leftovers={SOURCE: ("domain 1",), DESTINATION: ()}), "domain left on the source"),
        (replace(MOVED, migration_holds=frozenset({SOURCE})), "allocation of the migration left"),
        (replace(MOVED, allocated=frozenset({SOURCE})), "allocated on source"),
    ],
)
def test_what_is_wrong_is_named(world: World, words: str) -> None:
    assert words in judge.wrong(world, STAYS if world.host == SOURCE else Expected(), 100)


def test_a_migration_that_says_it_completed_while_the_server_stayed_is_wrong() -> None:
    assert judge.wrong(replace(STAYED, migration=COMPLETED), Expected((COMPLETED, FAILED)), 100)


def test_both_columns_stand_in_the_document() -> None:
    name = CASES[0].name
    results = {"nova": {name: Result(name, "ERROR on the source", ["no reason told"])}, "ours": {name: Result(name, "ACTIVE")}}
    text = table.document(results, "Nova 34.", "tools/test nova-faults", 12)
    assert "     - WRONG: ERROR on the source; no reason told\n     - right: ACTIVE" in text
    assert text.count("not played") == sum(len(case.drivers) for case in CASES) - 2
    assert text.count("has no such point") == len([case for case in CASES if case.drivers == ("ours",)])
    assert "Nova's driver: 0 of 1 right; this driver: 1 of 1 right." in text
