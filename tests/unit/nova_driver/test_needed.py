"""A Nova that is not as it is needed is refused, with what differs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from nova_blockmigrate.nova_driver import needed


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **more: Any) -> Any:
        return function(*arguments, **more)

    return wrapper


class Driver:
    def moved(self, context: Any, instance: Any) -> None: ...

    @decorated
    def wrapped(self, context: Any) -> None: ...

    @staticmethod
    def static(dest: str) -> None: ...


@pytest.mark.parametrize("version", ["34.0.0", "34.1.2"])
def test_known_version_is_taken(version: str) -> None:
    assert needed.problem_of_version(version) == ""


@pytest.mark.parametrize("version", ["33.0.1", "35.0.0", "3.4"])
def test_unknown_version_is_refused_with_the_way_back(version: str) -> None:
    problem = needed.problem_of_version(version)
    assert version in problem
    assert "libvirt.LibvirtDriver" in problem


def test_methods_as_they_are_needed() -> None:
    assert needed.problems(Driver, {"moved": "context instance", "wrapped": "context", "static": "dest"}) == []


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"moved": "context instance dest"}, "Driver.moved takes (context, instance), not (context, instance, dest)"),
        ({"wrapped": "ctxt"}, "Driver.wrapped takes (context), not (ctxt)"),
        ({"gone": "context"}, "Driver.gone is missing"),
    ],
)
def test_what_differs_is_told(methods: dict[str, str], words: str) -> None:
    assert needed.problems(Driver, methods) == [words]


def test_names_that_are_missing_are_told() -> None:
    assert needed.missing(Driver, ["moved", "gone"]) == ["Driver.gone is missing"]
    assert needed.missing({"filename": 1}, ["filename", "migration"]) == ["dict.migration is missing"]
