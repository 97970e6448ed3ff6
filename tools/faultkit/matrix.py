"""What came of all cases: a table for the terminal, a line of JSON, and doc/fault-matrix.rst."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from faultkit.cases import Case
from faultkit.checker import INVARIANTS, Violation
from faultkit.points import POINTS
from faultkit.runner import LIMIT_S, Result
from labkit.layout import CACHE, REPOSITORY

DOCUMENT = REPOSITORY / "doc/fault-matrix.rst"
KEPT = CACHE / "faults/results"
_COLUMNS = ("case", "at", "broken", "away", "ended", "on", "seconds", "held")


def row(result: Result) -> list[str]:
    case = result.case
    held = "yes"
    if result.trouble:
        held = "not played"
    elif result.violations:
        held = "NO: " + ", ".join(sorted({str(each.invariant) for each in result.violations}))
    return [
        case.name,
        case.when,
        case.what,
        f"{case.away_s:.0f} s",
        result.ended,
        result.on,
        str(math.ceil(result.seconds)),
        held,
    ]


def summary(results: Sequence[Result]) -> str:
    """The line of JSON."""
    held = [result for result in results if result.held]
    longest = max((result.seconds for result in held), default=0.0)
    return json.dumps({"cases": len(results), "held": len(held), "longest_s": round(longest, 1)})


def table(results: Sequence[Result]) -> str:
    rows = [list(_COLUMNS), *map(row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows)


def troubles(results: Sequence[Result]) -> list[str]:
    """Why cases did not hold, one line a violation."""
    lines = []
    for result in results:
        lines += [f"{result.case.name}: {each}" for each in result.violations]
        lines += [f"{result.case.name}: could not be played: {result.trouble}"] if result.trouble else []
    return lines


_HEAD = """============
Fault matrix
============

What becomes of a guest and of the system when something breaks in the middle of a live migration. Written by ``tools/test faults``
(:doc:`faults` says how it is run and what the points are); not to be edited.

Each case stops a migration at a named point (or takes it while its disks are being copied), breaks something there, brings it back
after a while, and then looks at the real world until all of this holds. *Seconds* count from the moment when the parts were back;
more than {limit:.0f} count as not held.

"""


def document(results: Sequence[Result]) -> str:
    invariants = "".join(f"{number}. {words}\n" for number, words in INVARIANTS.items())
    held = [result for result in results if result.held]
    longest = max((result.seconds for result in held), default=0.0)
    played = [result for result in results if not result.trouble]
    count = f"{len(results)} cases, {len(played)} played, {len(held)} held; the longest of those took {math.ceil(longest)} s.\n"
    text = _HEAD.format(limit=LIMIT_S) + invariants + f"\n{count}\n" + _rst_table([list(_COLUMNS), *map(row, results)])
    if panics := sum(result.panics for result in results):
        again = "were played anew, as emulation had lost pages of the guest's memory (:doc:`tests`); its console says so"
        text += f"\n{panics} of them {again}.\n"
    lines = troubles(results)
    if lines:
        text += "\nWhat did not hold\n=================\n\n" + "".join(f"- {line}\n" for line in lines)
    points = [["point", "reached by", "what is true there"], *([point.name, point.where, point.meaning] for point in POINTS)]
    return text + "\nThe points\n==========\n\n" + _rst_table(points)


def _rst_table(rows: list[list[str]]) -> str:
    rows = [[cell or "\\" for cell in line] for line in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = " ".join("=" * width for width in widths)
    lines = [" ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule]) + "\n"


def write(results: Sequence[Result], path: Path = DOCUMENT) -> None:
    path.write_text(document(results))


# --- kept from run to run, so that several laboratories can share the cases ---------------------------------------------------


def keep(result: Result, folder: Path = KEPT) -> None:
    """Remember what came of a case, in place of what came of it before."""
    folder.mkdir(parents=True, exist_ok=True)
    violations = [[each.invariant, each.words] for each in result.violations]
    values = {name: getattr(result, name) for name in ("ended", "on", "seconds", "trouble", "panics")}
    _file(folder, result.case).write_text(json.dumps({**values, "violations": violations}, indent=1))


def kept(cases: Sequence[Case], folder: Path = KEPT, document: Path = DOCUMENT) -> list[Result]:
    """What came of each of these cases when it was last played, here or, by the document, elsewhere; cases that never were are left
    out."""
    found = []
    elsewhere = _written(cases, document)
    for case in cases:
        try:
            values = json.loads(_file(folder, case).read_text())
            found.append(Result(case, [Violation(*each) for each in values.pop("violations")], **values))
        except FileNotFoundError:
            found += [elsewhere[case.name]] if case.name in elsewhere else []
    return found


def _written(cases: Sequence[Case], document: Path) -> dict[str, Result]:
    """The document's rows of cases that held, as far as they still say how the case is played."""
    lines = document.read_text().splitlines() if document.exists() else []
    rules = (re.findall("=+", line) for line in lines if set(line) == {"=", " "})
    widths = next((list(map(len, rule)) for rule in rules if len(rule) == len(_COLUMNS)), [])
    starts = [sum(widths[:number]) + number for number in range(len(widths))]
    columns = [slice(start, start + width) for start, width in zip(starts, widths, strict=True)]
    written = {line[columns[0]].strip(): line for line in lines} if columns else {}
    found = {}
    for case in cases:
        cells = [written.get(case.name, "")[column].strip() for column in columns]
        played = Result(case, ended=cells[4], on=cells[5], seconds=float(cells[6])) if cells and cells[6].isdigit() else None
        if played and row(played) == cells:
            found[case.name] = played
    return found


def _file(folder: Path, case: Case) -> Path:
    return folder / f"{case.name.replace(' ', '-')}.json"
