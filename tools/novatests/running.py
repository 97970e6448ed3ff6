"""Runs tests, and compares what came of them with the list of those that cannot pass.

They run in a process of their own, one after the other: a test that uses up its time ends that process, as what it leaves hanging
would spoil the next ones, and another goes on behind it.
"""

import faulthandler
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

LIST = Path(__file__).parent / "cannot-pass.txt"
"""A line each: the test's id, a space, and why it cannot pass. Lines that begin with # are comments."""
LIMIT_S, LISTED_LIMIT_S = 120.0, 10.0
"""A test of Nova's own transfer leaves our driver waiting for what is not there; for those listed that need not be long."""
OVERDUE = "it used up its time"


def cannot_pass() -> dict[str, str]:
    lines = [line.strip() for line in LIST.read_text().splitlines()]
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return {name: reason for name, reason in pairs}


# --- the process that runs them -------------------------------------------------------------------------------------------


def run_here(tests: Sequence[unittest.TestCase], path: Path) -> None:
    """Append a line of JSON for each test to `path`: its id, and what it said when it failed."""
    expected = cannot_pass()
    with path.open("a", buffering=1) as results:
        for test in tests:
            limit_s = LISTED_LIMIT_S if test.id() in expected else LIMIT_S
            watch = threading.Timer(limit_s, _give_up, (test.id(), path))
            watch.daemon = True
            watch.start()
            text = _failure(test)
            watch.cancel()
            results.write(json.dumps([test.id(), text]) + "\n")
    sys.stdout.flush()
    os._exit(0)  # whatever threads the tests have left are not waited for


def _give_up(name: str, path: Path) -> None:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        text = f"{OVERDUE}\n{file.read()}"
    with path.open("a") as results:
        results.write(json.dumps([name, text]) + "\n")
    os._exit(1)


def _failure(test: unittest.TestCase) -> str | None:
    """What a test says when it fails; None when it passes or is skipped."""
    result = unittest.TestResult()
    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:
        test.run(result)
    finally:
        sys.stdout = stdout
    troubles = [text for _, text in (*result.failures, *result.errors)]
    return None if result.wasSuccessful() else "\n".join(troubles) or "it passed where it was expected to fail"


# --- the process that judges ----------------------------------------------------------------------------------------------


def run(theirs: Sequence[str], ours: Sequence[str], command: Sequence[str], everything: bool) -> int:
    """Print what came of the tests of these ids; 0 when exactly those failed that are listed. `command` runs those that it is
    given, one a line of its input, and writes to the file that is its last argument."""
    began, expected = time.monotonic(), cannot_pass()
    failed: dict[str, str] = {}
    for name, text in _results([*ours, *theirs], command):
        print(f"{'ok' if text is None else 'FAILED':<6} {name}", flush=True)
        if text is not None:
            failed[name] = text
    figures = _judge(set(theirs), set(ours), failed, expected, everything)
    figures["seconds"] = round(time.monotonic() - began)
    print(json.dumps(figures))
    return 0 if figures["as_listed"] and (theirs or ours) else 1


def _results(names: Sequence[str], command: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """One that used up its time has a second try, in a process where nothing ran before, and that is told: the lock with which
    Nova's fixtures switch between cells' databases can be waited for in a circle, when many threads are left by earlier tests."""
    expected, overdue = cannot_pass(), set()
    for name, text in _first_results(names, command):
        if text is not None and text.startswith(OVERDUE) and name not in expected:
            print(f"again  {name}", flush=True)
            overdue.add(name)
        else:
            yield name, text
    for name in sorted(overdue):
        yield from _first_results([name], command)


def _first_results(names: Sequence[str], command: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    waiting = list(names)
    while waiting:
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as file:
            subprocess.run([*command, file.name], input="\n".join(waiting), text=True, capture_output=True, check=False)
            done = [json.loads(line) for line in file]
        yield from done or [(waiting[0], "the process that ran it ended before it")]
        seen = {name for name, _ in done} or {waiting[0]}
        waiting = [name for name in waiting if name not in seen]


def _judge(
    theirs: set[str], ours: set[str], failed: Mapping[str, str], expected: Mapping[str, str], everything: bool
) -> dict[str, object]:
    wrong = {name: text for name, text in failed.items() if name not in expected}
    for name, text in wrong.items():
        print(f"\n=== {name}\n{text}")
    passed_after_all = [name for name in expected if name in theirs and name not in failed]
    unknown = [name for name in expected if everything and name not in theirs]
    for name in passed_after_all:
        print(f"{name}: is listed as one that cannot pass, and passes")
    for name in unknown:
        print(f"{name}: is listed as one that cannot pass, and there is no such test")
    return {
        "nova_tests": len(theirs),
        "passed": len(theirs - set(failed)),
        "cannot_pass": len([name for name in failed if name in expected]),
        "failed": len(wrong.keys() & theirs),
        "own_tests": len(ours),
        "own_failed": len(wrong.keys() & ours),
        "as_listed": not (wrong or passed_after_all or unknown),
    }
