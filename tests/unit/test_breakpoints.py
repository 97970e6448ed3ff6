"""Points at which fault tests hold a service still: off by default, and declared exactly as they are in the code."""

from __future__ import annotations

import pathlib
import re
import threading
from collections.abc import Iterator

import pytest

from nova_blockmigrate import breakpoints
from nova_blockmigrate.compute.migration import MigrationJobs
from nova_blockmigrate.conductor import steps

PACKAGE = pathlib.Path(breakpoints.__file__).parent


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    tmp_path.chmod(0o700)
    breakpoints.set_up(str(tmp_path))
    yield tmp_path
    breakpoints.set_up(None)


def used_names() -> set[str]:
    """Names in the code, those with a variable part as they are written."""
    pattern = re.compile(r'\breached\(f?"([^"]+)"\)')
    return {name for path in PACKAGE.rglob("*.py") for name in pattern.findall(path.read_text())}


def expanded(name: str) -> set[str]:
    values = {
        "{step.name}": [step.name for step in steps.STEPS if not step.status.is_final],
        "{job}": sorted(MigrationJobs.NAMES),
        "{kind}": breakpoints.KINDS,
        "{artefact.kind}": breakpoints.KINDS,
    }
    for variable, instead in values.items():
        if variable in name:
            return {name.replace(variable, value) for value in instead}
    return {name}


def test_every_point_in_the_code_is_declared_and_every_declared_one_is_in_the_code() -> None:
    assert set().union(*map(expanded, used_names())) == set(breakpoints.BY_NAME)


def test_names_are_unique() -> None:
    assert len(breakpoints.BY_NAME) == len(breakpoints.POINTS)


def test_a_point_holds_who_reaches_it_once_until_it_is_released(directory: pathlib.Path) -> None:
    (directory / "clean.proved.armed").touch()
    thread = threading.Thread(target=breakpoints.reached, args=("clean.proved",))
    thread.start()
    held = directory / "clean.proved.reached"
    while not held.exists():
        assert thread.is_alive()

    breakpoints.reached("clean.proved")  # somebody else passes
    assert thread.is_alive()

    held.unlink()
    thread.join(10)
    assert not thread.is_alive()
    breakpoints.reached("clean.proved")
    assert list(directory.iterdir()) == []


def test_nothing_is_looked_for_unless_a_directory_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "clean.proved.armed").touch()
    breakpoints.set_up("")
    breakpoints.reached("clean.proved")
    assert (tmp_path / "clean.proved.armed").exists()


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_directory_that_others_may_write_is_refused(tmp_path: pathlib.Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(ValueError, match="nobody else may write"):
        breakpoints.set_up(str(tmp_path))


def test_a_directory_that_is_not_there_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        breakpoints.set_up(str(tmp_path / "missing"))
