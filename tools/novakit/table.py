"""What came of the cases with each driver: kept from run to run, printed, and written to doc/nova-fault-matrix.rst."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from labkit.layout import CACHE, REPOSITORY
from novakit.cases import CASES, Case
from novakit.play import LIMIT_S, Result

DOCUMENT = REPOSITORY / "doc/nova-fault-matrix.rst"
KEPT = CACHE / "nova-faults"
DRIVERS = {"nova": "Nova's driver", "ours": "this driver"}
Results = Mapping[str, Mapping[str, Result]]
"""By driver and case."""

_HEAD = """===========================
Nova's driver and this one
===========================

What becomes of a server when something breaks while it moves, with Nova's own libvirt driver and with this one: the same real
OpenStack, the same two hosts, the same breaks, the same checker. Written by ``{command}``; not to be edited.

{versions}

Each case has a fresh server on one host, which writes records to its disk; its live migration with block migration is slowed
down to {mbit} Mbit/s, something is broken in mid-copy (or where the case says), brought back, and the real world is looked at
until all is right, or Nova says that it is over and nothing changes any more, or {limit:.0f} s are over: how many copies run
(sampled all the time), what both libvirts say, where the disk is and whether every record is on it, what the API, the action's
events and placement say, and what is left on both hosts. *Right* means: the guest runs where the API says (or is SHUTOFF where it
was shut down), with all its data, the migration has the status that is true, a reason is told when it did not move, and nothing is
left anywhere.

"""


def keep(driver: str, result: Result) -> None:
    path = KEPT / driver / f"{_slug(result.name)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(result), indent=1))


def kept() -> dict[str, dict[str, Result]]:
    found: dict[str, dict[str, Result]] = {driver: {} for driver in DRIVERS}
    for driver, own in found.items():
        for case in CASES:
            path = KEPT / driver / f"{_slug(case.name)}.json"
            if path.exists():
                own[case.name] = Result(**json.loads(path.read_text()))
    return found


def cases_of(driver: str) -> list[Case]:
    return [case for case in CASES if driver in case.drivers]


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def words(result: Result | None) -> str:
    if result is None:
        return "not played"
    if result.trouble:
        return f"could not be played: {result.trouble}"
    return f"right: {result.ending}" if result.held else f"WRONG: {result.ending}; {', '.join(result.wrong)}"


def _cell(results: Results, driver: str, case: Case) -> str:
    return words(results[driver].get(case.name)) if driver in case.drivers else "has no such point"


def text(results: Results) -> str:
    """For the terminal."""
    lines = []
    for case in CASES:
        shown = {driver: results[driver][case.name] for driver in DRIVERS if case.name in results[driver]}
        lines += [case.name, *(f"    {DRIVERS[driver]:<14} {words(result)}" for driver, result in shown.items())] if shown else []
    return "\n".join(lines)


def summary(results: Results) -> str:
    """The line of JSON."""
    figures = {}
    for driver, own in results.items():
        played = [result for result in own.values() if not result.trouble]
        figures[driver] = {"cases": len(own), "played": len(played), "right": len([one for one in played if one.held])}
    return json.dumps(figures)


def document(results: Results, versions: str, command: str, mbit: int) -> str:
    head = _HEAD.format(command=command, versions=versions, mbit=mbit, limit=LIMIT_S)
    lines = [head + ".. list-table::", "   :header-rows: 1", "   :widths: 24 38 38", ""]
    lines += ["   * - broken", *(f"     - {title}" for title in DRIVERS.values())]
    for case in CASES:
        lines += [f"   * - {case.name}", *(f"     - {_cell(results, driver, case)}" for driver in DRIVERS)]
    counts = [
        f"{DRIVERS[driver]}: {len([one for one in own.values() if one.held])} of {len(own)} right"
        for driver, own in results.items()
    ]
    return "\n".join(lines) + "\n\n" + "; ".join(counts) + ".\n"
