"""Run Nova's tests of live migration, and ours that need Nova's objects, and compare with what is known not to pass.

`--list` only names them; `--with-novas` runs them with Nova's own driver, to tell what fails without us; words choose tests whose
id has one of them.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "true")  # native threads, Nova's default

import nova.tests.unit  # noqa: F401  # makes Nova ready for tests; first, as there

from novatests import adapter, running, selection

OWN = Path(__file__).resolve().parents[2] / "tests/nova_adapter"
NOVAS, CHILD = "--with-novas", "--child"


def main(arguments: list[str]) -> int:
    if NOVAS not in arguments:
        adapter.put_ours()
    adapter.give_paths(str(Path(sys.prefix) / "etc/nova"))
    theirs = {test.id(): test for test in selection.chosen()}
    ours = {test.id(): test for test in selection.own(str(OWN))} if NOVAS not in arguments else {}
    if CHILD in arguments:
        wanted = sys.stdin.read().split()
        running.run_here([{**ours, **theirs}[name] for name in wanted], Path(arguments[-1]))
    words = [word for word in arguments if not word.startswith("-")]
    chosen, own = [[name for name in names if not words or any(word in name for word in words)] for names in (theirs, ours)]
    if "--list" in arguments:
        print("\n".join((*chosen, *own)))
        return 0
    command = [sys.executable, "-m", "novatests", CHILD, *(word for word in arguments if word == NOVAS)]
    return running.run(chosen, own, command, everything=not words)


sys.exit(main(sys.argv[1:]))
