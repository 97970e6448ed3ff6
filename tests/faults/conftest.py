"""Plays the cases of `faultkit.cases` on one laboratory after the other, and tells in the end what came of all of them."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))

RESULTS = pytest.StashKey[list[Any]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-run", action="store_true", help="only the dozen cases that every run plays")
    parser.addoption("--write-matrix", action="store_true", help="write doc/fault-matrix.rst when all cases were played")
    parser.addoption("--missing", action="store_true", help="only what has not held, or was not played, in earlier runs")
    parser.addoption("--part", default="", help="K/N: only the Kth of N shares; results of the others are kept from their own runs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from faultkit import matrix
    from faultkit.cases import CASES

    if "case" in metafunc.fixturenames:
        chosen = [case for case in CASES if case.in_every_run or not metafunc.config.getoption("--every-run")]
        if metafunc.config.getoption("--missing"):
            held = {result.case for result in matrix.kept(CASES) if result.held}
            chosen = [case for case in chosen if case not in held]
        number, _, count = metafunc.config.getoption("--part").partition("/")
        chosen = chosen[int(number) - 1 :: int(count)] if count else chosen
        metafunc.parametrize("case", chosen, ids=lambda case: case.name)


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> list[Any]:
    return pytestconfig.stash[RESULTS]


@pytest.fixture(scope="session")
def stage() -> Iterator[Any]:
    """A laboratory whose services can be held at points (`faultkit.stage.Stage`)."""
    from faultkit.stage import Stage
    from labkit.lab import Lab
    from labkit.services import Options

    if os.geteuid() != 0:
        pytest.fail("the laboratory needs root: it makes namespaces and mounts")
    state = pathlib.Path(os.environ.get("NBM_LAB") or tempfile.mkdtemp(prefix="nbm-test-", dir="/var/tmp"))
    chosen = {"concurrency": os.environ["NBM_LAB_CONCURRENCY"]} if "NBM_LAB_CONCURRENCY" in os.environ else {}
    made = Stage(Lab(state), Options(breakpoints=True, **chosen))
    try:
        yield made
    finally:
        made.lab.down()
        shutil.rmtree(state, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    from faultkit import matrix
    from faultkit.cases import CASES

    results = config.stash[RESULTS]
    if not results:
        return
    terminalreporter.section("fault matrix")
    for line in (matrix.table(results), *matrix.troubles(results)):
        terminalreporter.write_line(line)
    if config.getoption("--write-matrix"):
        results = matrix.kept(CASES)
        if len(results) == len(CASES):
            matrix.write(results)
        else:
            terminalreporter.write_line(f"doc/ is left as it is: {len(results)} of {len(CASES)} cases were played")
    terminalreporter.write_line(matrix.summary(results))
    if summary := os.environ.get("NBM_FAULTS_SUMMARY"):
        pathlib.Path(summary).write_text(matrix.summary(results) + "\n")
