"""The page `doc/checks.rst`, made from the checks themselves: run `python -m nova_blockmigrate.conductor.preflight.table`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nova_blockmigrate.conductor.preflight import CHECKS
from nova_blockmigrate.conductor.preflight.versions import TRAPS

INTRODUCTION = """\
..
    Made by `python -m nova_blockmigrate.conductor.preflight.table > doc/checks.rst`. Change the checks, not this page.

======
Checks
======

Before anything is touched, all of these are asked, and all of them answer: one that fails does not hide the others. Each
answer is *passed*, *failed*, *warning* or *unknown*. What failed and what could not be found out forbids the migration; a
warning does not. The report is kept with the migration, and can be had without migrating: `nova-blockmigrate preflight`.

A check changes nothing. What it needs from a host is read there; two things are left to see: for at most four
seconds the destination listens on a port of the migration range, so that the source can try to connect; and the hash of a base
image whose file is new or was touched is computed again and kept in `state_path`.

"""
TRAPS_TITLE = """
Traps of versions
=================

What the check `versions` knows, by its name in the table of `conductor/preflight/versions.py`:

"""


def document() -> str:
    """The page, as reStructuredText."""
    rows = [(one.id, one.where, one.title, f"{one.error.__name__} ({one.error.code})") for one in CHECKS.values()]
    table = _rst(("Check", "Where", "What it looks at", "Error below microversion 2.34"), rows)
    traps = [(trap.name, trap.why, "forbids" if trap.forbids else "warns", trap.remedy) for trap in TRAPS]
    return INTRODUCTION + table + TRAPS_TITLE + _rst(("Trap", "Why", "It", "What to do"), traps)


def _rst(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    line = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in everything]
    return "\n".join([line, lines[0], line, *lines[1:], line]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
